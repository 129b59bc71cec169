"""The wheel holds segloss alone, and a loss needs torch alone."""

import subprocess
import sys
import zipfile

import segloss
from segloss_tests import ROOT
from segloss_tests.release import TRIED, missing

ALONE = """
import sys, importlib.abc
import torch, torch._dynamo  # with all that torch itself brings in

allowed = {name.partition(".")[0] for name in sys.modules} | {"segloss"} | set(sys.stdlib_module_names)

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in allowed:
            raise ModuleNotFoundError(f"{name} is not for the losses", name=name)

sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
for name in list(sys.modules):
    if name.partition(".")[0] in ("numpy", "torchmetrics", "scipy"):
        del sys.modules[name]
allowed -= {"numpy", "torchmetrics", "scipy"}
import segloss
assert segloss.__file__.startswith(sys.argv[1]), segloss.__file__
z = torch.randn(2, 3, 4, 4, requires_grad=True)
t = torch.randint(0, 3, (2, 4, 4))
for name in segloss.LOSSES:
    segloss.build_loss(name, num_classes=3, class_counts=[5, 3, 1])(segloss.AdaptiveClassWeight(3)(z), t).backward()
try:
    segloss.SegmentationScores
except ImportError as error:
    assert "segloss[scores]" in str(error), error
else:
    raise AssertionError("scores came without torchmetrics")
"""


def test_the_wheel_holds_segloss_alone_and_needs_torch_alone(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-build-isolation", "--no-deps", "--no-index", "-q",
         "--wheel-dir", str(tmp_path)],
        check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "unpacked")
    assert {name.split("/")[0].split("-")[0] for name in names} == {"segloss"}
    assert "segloss/py.typed" in names
    found = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path / "unpacked")], cwd=tmp_path, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr


def test_what_a_release_tries_passes():
    """But for where it is installed, which `make release` sees."""
    here = TRIED.replace("sys.prefix", repr(str(ROOT))).replace('version("segloss")', "segloss.__version__")
    found = subprocess.run([sys.executable, "-c", here, segloss.__version__], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert f"{len(segloss.LOSSES)} losses" in found.stdout


def test_what_is_missing_for_a_release():
    log = "# Changelog\n\n## 1.2.0 (2026-11-29)\n\n## 1.1.0 (2026-01-02)\n"
    assert [*missing("1.2.0", log, "", ["v1.1.0"])] == []
    (heading,) = missing("1.3.0", log, "", [])
    assert "'## 1.3.0 (YYYY-MM-DD)'" in heading
    assert "it is: 1.2.0 (2026-11-29)" in heading
    (heading,) = missing("1.2.0", log.replace("2026-11-29", "unreleased"), "", [])
    assert "1.2.0 (unreleased)" in heading
    changed, tagged = missing("1.2.0", log, " M segloss/base.py\n?? new.py\n", ["v1.2.0"])
    assert "segloss/base.py new.py" in changed
    assert "__version__" in tagged


def test_examples_in_docstrings():
    import doctest
    import importlib

    for path in sorted((ROOT / "segloss").glob("*.py")):
        module = importlib.import_module(f"segloss.{path.stem}" if path.stem != "__init__" else "segloss")
        assert doctest.testmod(module).failed == 0, path


QUICK = """
import sys
import torch

before = set(sys.modules)
import models, segloss

segloss.build_loss("dfl", num_classes=3, class_weights="inverse_frequency", class_counts=[5, 3, 1])
assert set(models.MODELS) >= {"deeplabv3plus", "fastfcn", "vgg19_fcn"}
own = {"models", "segloss", "safetensors", *sys.stdlib_module_names}
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before} - own))
"""


def test_importing_models_and_losses_is_quick():
    """The libraries of networks, scores and tests take seconds; they wait until something of theirs is needed."""
    found = subprocess.run([sys.executable, "-c", QUICK], cwd=ROOT, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
