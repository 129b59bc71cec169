"""What importing the package, and building an adapter, must not import: each takes up to seconds."""

import subprocess
import sys

import pytest

from segloss_tests import ROOT

SLOW = ("SimpleITK", "nibabel", "pydicom", "highdicom", "albumentations", "scipy", "torch", "torchvision", "pandas")
LABELS = '{"background": 0, "gland": 1}'
ADAPTERS = {
    "camvid": 'CamVid("data")',
    "camvid701": 'CamVid701("data")',
    "cifar10": 'Cifar10("data")',
    "cifar100": 'Cifar100("data")',
    "cityscapes": 'Cityscapes("data")',
    "dicom": f'Dicom("data", labels={LABELS})',
    "folder": f'Folder("data", {LABELS})',
    "nifti": f'NiftiFolder("data", "{{name}}.nii", "{{name}}_seg.nii", {LABELS})',
    "phantom": "Phantom()",
    "phantom of DICOM": 'Phantom(form="mr_series")',
    "pictures": 'Pictures("data", ["cat", "dog"])',
    "promise12": 'Promise12("data")',
    "shapes": "Shapes()",
    "trus": 'Trus("data")',
}


def imported(code):
    """The slow modules that a fresh process has after some code."""
    code = f"{code}\nimport sys; print(*sorted({SLOW} & sys.modules.keys()))".replace(str(SLOW), str(set(SLOW)))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_every_adapter_is_built_without_a_slow_module():
    made = "; ".join(f"datasets.{call}.classes" for call in ADAPTERS.values())
    assert imported(f"import datasets; {made}") == []


def test_the_list_holds_every_adapter():
    import datasets

    assert {name.split()[0] for name in ADAPTERS} == datasets.ADAPTERS.keys()


def test_stills_are_read_without_the_libraries_of_volumes(camvid):
    code = f"import datasets; a = datasets.CamVid({str(camvid)!r}); [a.read(case) for case in a.cases()]"
    assert imported(code) == []


@pytest.mark.parametrize(
    ("use", "needs"),
    [("TRANSFORMS['HorizontalFlip']", "albumentations"), ("Samples", "torch")],
)
def test_what_is_asked_for_is_imported(use, needs):
    assert needs in imported(f"import datasets; datasets.{use}")


def test_the_public_names_are_there():
    import datasets

    assert datasets.__all__ == sorted(datasets.__all__, key=lambda name: (not name.isupper(), name))
    for name in datasets.__all__:
        assert getattr(datasets, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Smaples'"):
        _ = datasets.Smaples
