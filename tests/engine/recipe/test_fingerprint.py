"""The figures of a fingerprint, on volumes drawn by hand."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from datasets import Case, Decoded, NiftiFolder, Pixels, Promise12, Volume, write_volume
from datasets.geometry import Geometry
from engine.recipe.fingerprint import measured


def drawn(*parts):
    mask = np.zeros((4, 16, 16), np.uint8)
    for at, rows, columns in parts:
        mask[at, rows, columns] = 1
    return mask


@pytest.mark.parametrize(
    ("parts", "share"),
    [
        # 12 voxels, 12 in the next slice that touch them by a corner, and 6 apart: 24 of 30
        ([(0, slice(2, 5), slice(2, 6)), (1, slice(5, 8), slice(6, 10)), (3, slice(12, 14), slice(10, 13))], 0.8),
        ([(0, slice(2, 5), slice(2, 6)), (1, slice(5, 8), slice(6, 10))], 1.0),
        ([(0, slice(2, 5), slice(2, 6)), (2, slice(2, 5), slice(2, 6))], 0.5),  # an empty slice between them
        ([], None),
    ],
)
def test_the_share_of_the_largest_part_in_3d(tmp_path, parts, share):
    whole = drawn((1, slice(4, 9), slice(4, 9)))
    for at, mask in enumerate((whole, drawn(*parts)) if parts else (drawn(), drawn())):
        image = np.random.default_rng(at).integers(0, 900, mask.shape).astype(np.int16)
        for name, array in (("", image), ("_segmentation", mask)):
            write_volume(Volume(array, np.diag([-1.0, -1.0, 3.0, 1.0])), tmp_path / f"Case0{at}{name}.mhd")
    adapter = Promise12(str(tmp_path))
    found = measured(adapter, adapter.cases())
    assert found.whole == (None if share is None else pytest.approx(share))
    assert found.holding == (0 if share is None else 2)


def test_how_many_cases_hold_the_rarest_class(tmp_path):
    """Four volumes, of which all hold the first class and one the second."""
    for number in range(4):
        mask = drawn((1, slice(4, 9), slice(4, 9)), *([(2, slice(11, 14), slice(11, 14))] if number == 2 else []))
        mask[2] *= 2
        image = np.random.default_rng(number).integers(0, 900, mask.shape).astype(np.int16)
        for folder, array in (("images", image), ("masks", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            write_volume(Volume(array, np.diag([-1.0, -1.0, 3.0, 1.0])), tmp_path / f"{folder}/p{number}.mha")
    labels = {"background": 0, "organ": 1, "lesion": 2}
    adapter = NiftiFolder(str(tmp_path), "images/{name}.mha", "masks/{name}.mha", labels)
    assert measured(adapter, adapter.cases()).holding == 1


class Still(NamedTuple):
    """An adapter whose images are noise; those of even numbers have a spacing."""

    kind: str = "still"
    classes: tuple[str, ...] = ("background", "car")
    background: str = "background"

    def read(self, case):
        array = np.random.default_rng(0).integers(0, 255, (1, 16, 16, 3)).astype(np.uint8)
        geometry = Geometry((1, 16, 16), np.eye(4)) if int(case.id[-1]) % 2 == 0 else None
        return Decoded(Pixels(array, geometry), drawn((0, slice(2, 5), slice(2, 6)))[:1])


def frames(of_part):
    return [
        Case(name, name, Path(name), Path(name), part)
        for part, drives in of_part.items()
        for drive in drives
        for name in (f"{drive}_{number}" for number in range(10))
    ]


def test_the_groups_of_each_part():
    """Of frames whose names begin alike a drive is one group, however many frames of it validate."""
    found = measured(Still(), frames({"train": ["0001TP", "0006R0"], "val": ["0016E5"], "test": ["Seq05VD"]}))
    assert found.group == "^[^_]+"
    assert found.parts == {"train": 20, "val": 10, "test": 10, "": 0}
    assert found.part_groups == {"train": 2, "val": 1, "test": 1, "": 0}


def test_spacings_are_of_all_cases_or_of_none():
    """Rules multiply them by the sizes of the cases."""
    cases = frames({None: ["a1", "a2"]})
    assert measured(Still(), cases).spacings is None
    even = [case for case in cases if int(case.id[-1]) % 2 == 0]
    assert measured(Still(), even).spacings.tolist() == [[1, 1, 1]] * 10
