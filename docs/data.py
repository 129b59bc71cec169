"""Makes the pictures of docs/data.md from files in the layouts it describes: `make docs`.

Each shows, from left to right, an image, its mask as it lies on disk, and the classes it is decoded to; light grey is ignored.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

import datasets
from datasets.camvid701 import COLOURS
from datasets.cityscapes import CLASSES, VOID
from datasets.phantom import SPACING, make_patient
from datasets.still import read_mask
from engine.pictures.palette import palette

FOLDER = Path(__file__).parent / "data"
Picture = NDArray[np.uint8]
SIZE = (96, 160)
LOOK = {
    "Sky": (190, 210, 230),
    "Building": (120, 100, 90),
    "Tree": (60, 95, 50),
    "Road": (90, 90, 95),
    "LaneMkgsDriv": (205, 205, 200),
    "Sidewalk": (150, 145, 140),
    "Column_Pole": (70, 70, 70),
    "SignSymbol": (190, 60, 50),
    "Car": (40, 60, 130),
    "Pedestrian": (160, 80, 60),
    "Bicyclist": (150, 140, 50),
    "Void": (25, 25, 25),
}
"""The things of a street, by CamVid's names, and the colour they are painted in."""
SEGNET = {"Sidewalk": "pavement", "LaneMkgsDriv": "road", "Column_Pole": "pole", "SignSymbol": "sign"}
CITY = {
    "LaneMkgsDriv": "road",
    "Column_Pole": "pole",
    "SignSymbol": "traffic sign",
    "Tree": "vegetation",
    "Pedestrian": "person",
    "Bicyclist": "rider",
    "Void": "ego vehicle",
}


def street() -> tuple[Picture, NDArray[np.str_]]:
    """A street, `(rows, columns, 3)`, and the name of the thing at each pixel, `(rows, columns)`."""
    names = list(LOOK)
    canvas = np.zeros(SIZE, np.uint8)

    def paint(name: str, *corners: tuple[int, int]) -> None:
        cv2.fillPoly(canvas, [np.array(corners, np.int32)], names.index(name))

    paint("Building", (0, 8), (60, 24), (60, 62), (0, 70))
    paint("Building", (100, 26), (160, 4), (160, 70), (100, 62))
    paint("Tree", (62, 30), (78, 26), (88, 36), (98, 32), (100, 62), (62, 62))
    paint("Sidewalk", (0, 68), (60, 60), (66, 60), (0, 90))
    paint("Sidewalk", (100, 60), (160, 68), (160, 90), (96, 60))
    paint("Road", (62, 60), (98, 60), (160, 82), (160, 96), (0, 96), (0, 82))
    paint("LaneMkgsDriv", (79, 62), (81, 62), (84, 96), (76, 96))
    paint("Column_Pole", (46, 22), (48, 22), (48, 70), (46, 70))
    paint("SignSymbol", (42, 16), (52, 16), (52, 26), (42, 26))
    paint("Car", (98, 66), (104, 60), (122, 60), (130, 67), (130, 78), (98, 78))
    paint("Pedestrian", (24, 52), (30, 52), (31, 76), (23, 76))
    paint("Bicyclist", (62, 58), (67, 58), (68, 72), (61, 72))
    paint("Void", (0, 90), (160, 90), (160, 96), (0, 96))
    rng = np.random.default_rng(0)
    light = cv2.GaussianBlur(rng.normal(0, 60, SIZE), (0, 0), 6)[..., None] + rng.normal(0, 6, (*SIZE, 3))
    painted = np.array(list(LOOK.values()))[canvas] + light
    return cv2.GaussianBlur(np.clip(painted, 0, 255).astype(np.uint8), (0, 0), 0.6).astype(np.uint8), np.array(names)[
        canvas
    ]


def camvid(root: Path) -> datasets.Adapter:
    """One frame in SegNet's layout, in each part."""
    image, things = street()
    classes = [*datasets.CamVid("").classes, "void"]
    values = {name: classes.index(SEGNET.get(name, name.lower())) for name in LOOK}
    mask = _looked_up(things, values)
    for part in ("train", "val", "test"):
        _save(root / part / f"0001TP_{part}.png", image)
        _save(root / f"{part}annot" / f"0001TP_{part}.png", mask)
    return datasets.CamVid(str(root))


def camvid701(root: Path) -> datasets.Adapter:
    """One frame of the original form."""
    image, things = street()
    _save(root / "701_StillsRaw_full/0001TP_006690.png", image)
    _save(root / "LabeledApproved_full/0001TP_006690_L.png", _looked_up(things, {n: COLOURS[n][0] for n in LOOK}))
    return datasets.CamVid701(str(root))


def cityscapes(root: Path) -> datasets.Adapter:
    """One image of train and one of val."""
    image, things = street()
    mask = _looked_up(things, {name: {**CLASSES, **VOID}[CITY.get(name, name.lower())] for name in LOOK})
    for part, city in (("train", "aachen"), ("val", "munster")):
        stem = f"{part}/{city}/{city}_000000_000019"
        _save(root / f"leftImg8bit/{stem}_leftImg8bit.png", image)
        _save(root / f"gtFine/{stem}_gtFine_labelIds.png", mask)
    return datasets.Cityscapes(str(root))


def folder(root: Path) -> datasets.Adapter:
    """One grey image with a mask of 0 and 255."""
    rng = np.random.default_rng(1)
    field = cv2.GaussianBlur(rng.normal(0, 1, SIZE), (0, 0), 9)
    mask = (field > np.quantile(field, 0.93)).astype(np.uint8)
    grey = 110 + 60 * cv2.GaussianBlur(rng.normal(0, 4, SIZE), (0, 0), 3) + 50 * mask + rng.normal(0, 12, SIZE)
    _save(root / "images/a.png", np.clip(grey, 0, 255).astype(np.uint8))
    _save(root / "masks/a.png", mask * np.uint8(255))
    return datasets.Folder(str(root), {"background": 0, "object": 255})


def phantom(root: Path) -> datasets.Adapter:
    """Three patients of the synthetic MRI."""
    return datasets.Phantom(str(root), patients=3)


def nifti(root: Path) -> datasets.Adapter:
    """A synthetic patient with two zones, laid out as nnU-Net has it and stored slice by slice from the side."""
    image, gland = make_patient(np.random.default_rng([0, 0]))
    inner = np.stack([cv2.erode(plane, np.ones((3, 3), np.uint8), iterations=5) for plane in gland])
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    for name, array in (("imagesTr/p0_0000", image), ("labelsTr/p0", gland + inner)):
        (root / name).parent.mkdir()
        datasets.write_volume(datasets.Volume(array, affine).reordered("PIL"), root / f"{name}.nii.gz")
    content = {"channel_names": {"0": "T2"}, "labels": {"background": 0, "peripheral": 1, "central": 2}}
    (root / "dataset.json").write_text(json.dumps(content | {"file_ending": ".nii.gz"}))
    return datasets.NiftiFolder(str(root))


def trus(root: Path) -> datasets.Adapter:
    """Three patients of the synthetic ultrasound, read from DICOM with its field of view."""
    made = datasets.Phantom(str(root), patients=3, form="us_volume")
    made.cases()
    return datasets.Trus(str(made.root), field_of_view=True)


PICTURES: dict[str, Callable[[Path], datasets.Adapter]] = {
    "camvid": camvid,
    "camvid701": camvid701,
    "cityscapes": cityscapes,
    "folder": folder,
    "nifti": nifti,
    "phantom": phantom,
    "trus": trus,
}


def picture(name: str) -> Picture:
    """The picture of one data set, `(rows, columns, 3)`."""
    with tempfile.TemporaryDirectory() as root:
        adapter = PICTURES[name](Path(root))
        case = adapter.cases()[0]
        decoded = adapter.read(case)
        volume = adapter.kind == "volume"
        index = int((decoded.mask % datasets.IGNORE > 0).sum((1, 2)).argmax()) if volume else 0
        image, mask = decoded.image.array[index], decoded.mask[index]
        on_disk = mask * (mask != datasets.IGNORE) if volume else read_mask(case.mask, name == "camvid701")[0]
    if image.dtype != np.uint8:
        image = np.clip(image / np.percentile(image, 99.5) * 255, 0, 255).astype(np.uint8)
    if on_disk.ndim == 2:
        on_disk = (on_disk.astype(float) * 255 / max(int(on_disk.max()), 1)).astype(np.uint8)
    colours = np.round(np.vstack([palette(len(adapter.classes)), np.ones((256 - len(adapter.classes), 3))]) * 255)
    if (background := datasets.background_index(adapter.classes)) is not None:
        colours[background] = 40
    colours[datasets.IGNORE] = 215
    gap = np.full((image.shape[0], 6, 3), 255, np.uint8)
    panels = [_rgb(image), gap, _rgb(on_disk), gap, colours.astype(np.uint8)[mask]]
    return np.repeat(np.repeat(np.concatenate(panels, axis=1), 2, 0), 2, 1)


def main() -> None:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name in PICTURES:
        Image.fromarray(picture(name)).save(FOLDER / f"{name}.png", optimize=True)


def _looked_up(things: NDArray[np.str_], table: dict[str, Any]) -> Picture:
    names = sorted(table)
    return np.array([table[name] for name in names], np.uint8)[np.searchsorted(names, things)]


def _rgb(image: NDArray[Any]) -> Picture:
    grey = image.reshape(*image.shape[:2], -1)
    return np.asarray(np.repeat(grey, 3, axis=2) if grey.shape[2] == 1 else grey, dtype=np.uint8)


def _save(path: Path, pixels: Picture) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


if __name__ == "__main__":
    main()
