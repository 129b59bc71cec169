PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready

.PHONY: demo ablation test slow lint types docs site mutants soak setup clean

demo: $(READY)  ## train and score on synthetic MRI
	$(BIN)/python train_seg.py train configs/demo.yaml

ablation: $(READY)  ## compare four arms on synthetic MRI
	$(BIN)/python train_seg.py ablate configs/demo_ablation.yaml

test: $(READY)  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(READY)  ## run the tests that `make test` leaves out
	$(BIN)/python -m pytest -n 2 -m slow

lint: $(READY)  ## check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)  ## check types
	$(BIN)/mypy

docs: $(READY)  ## make the pages that are made from the code
	$(BIN)/python -W ignore -m docs.losses
	$(BIN)/python -m docs.data
	$(BIN)/python -W ignore -m docs.models
	$(BIN)/python -W ignore -m docs.configuration
	$(BIN)/python -m docs.architecture

site: $(READY)  ## build the pages into site/, where a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict

mutants: $(READY)  ## break every loss and see the tests catch it (some minutes)
	OMP_NUM_THREADS=1 $(BIN)/python tests/segloss_tests/mutate_losses.py

soak: $(READY)  ## kill runs, wear loaders out, damage files (make soak SECONDS=3600 for longer)
	$(BIN)/python tests/segloss_tests/soak.py kills --count 20
	$(BIN)/python tests/segloss_tests/soak.py grid --count 10
	$(BIN)/python tests/segloss_tests/soak.py loader --epochs 10000
	$(BIN)/python tests/segloss_tests/soak.py start --patients 2000
	$(BIN)/python tests/segloss_tests/fuzz.py --seconds $(or $(SECONDS),600)

setup: $(READY)

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("segloss needs Python 3.11 or newer; give one as: make PYTHON=python3.11") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable '.[train,dev]'
	touch $(READY)

clean:  ## remove the environment and the caches, not the runs
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache build dist site
