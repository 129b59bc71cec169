PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
LOCK := requirements.lock
TOOLS := .venv-tools

.PHONY: demo ablation test slow lint types docs site mutants soak nightly setup lock licences audit release clean

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

mutants: $(READY)  ## break losses, scores, statistics, splits, checkpoints and geometry, and see the tests catch it (an hour)
	OMP_NUM_THREADS=1 $(BIN)/python tests/segloss_tests/mutate.py

soak: $(READY)  ## kill runs, wear loaders out, damage files (make soak SECONDS=3600 for longer)
	$(BIN)/python tests/segloss_tests/soak.py table --count 100
	$(BIN)/python tests/segloss_tests/soak.py loader --epochs 10000
	$(BIN)/python tests/segloss_tests/soak.py start --patients 2000
	$(BIN)/python tests/segloss_tests/fuzz.py --seconds $(or $(SECONDS),600)

nightly: slow mutants soak  ## all that `make test` leaves out, for a night (make nightly SECONDS=7200 fuzzes for two hours)

release: $(READY)  ## build sdist and wheel, try the wheel with torch alone, and stop before anything is uploaded
	PYTHONPATH=. $(BIN)/python tests/segloss_tests/release.py

setup: $(READY)

$(READY): pyproject.toml $(LOCK)
	$(PYTHON) -c 'import sys; sys.exit("segloss needs Python 3.11 or newer; give one as: make PYTHON=python3.11") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --require-hashes --requirement $(LOCK)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	touch $(READY)

$(TOOLS)/ready:
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip install --disable-pip-version-check --quiet 'uv>=0.8' 'pip-audit>=2.9,<3'
	touch $@

lock: $(TOOLS)/ready  ## write requirements.lock anew (make lock UPGRADE=--upgrade for the newest of everything)
	$(TOOLS)/bin/uv pip compile pyproject.toml --extra train --extra dev --universal --python-version 3.11 \
	    --generate-hashes --quiet --custom-compile-command "make lock" $(UPGRADE) --output-file $(LOCK)

licences: $(READY)  ## list the licences of what is installed
	$(BIN)/python -m docs.licences

audit: $(TOOLS)/ready  ## ask PyPI for known vulnerabilities of what is locked (needs a network)
	$(TOOLS)/bin/pip-audit --strict --disable-pip --require-hashes --requirement $(LOCK)

clean:  ## remove the environment and the caches, not the runs
	rm -rf $(VENV) $(TOOLS) .pytest_cache .mypy_cache .ruff_cache build dist site
