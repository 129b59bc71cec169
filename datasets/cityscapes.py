"""Cityscapes: street scenes of 50 cities, fine annotations, 19 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .case import IGNORE, Case, Decoded, Kind, Part, Pixels
from .errors import DataError
from .formats import is_still, without_suffix
from .labels import LabelMap, Labels, Values, background_of, label_map
from .still import find_images, read_mask, read_rgb, same_size

CLASSES = {
    "road": 7,
    "sidewalk": 8,
    "building": 11,
    "wall": 12,
    "fence": 13,
    "pole": 17,
    "traffic light": 19,
    "traffic sign": 20,
    "vegetation": 21,
    "terrain": 22,
    "sky": 23,
    "person": 24,
    "rider": 25,
    "car": 26,
    "truck": 27,
    "bus": 28,
    "train": 31,
    "motorcycle": 32,
    "bicycle": 33,
}
"""The labelId of each class in the order of the trainIds, as in the official scripts."""
VOID = {
    "unlabeled": 0,
    "ego vehicle": 1,
    "rectification border": 2,
    "out of roi": 3,
    "static": 4,
    "dynamic": 5,
    "ground": 6,
    "parking": 9,
    "rail track": 10,
    "guard rail": 14,
    "bridge": 15,
    "tunnel": 16,
    "polegroup": 18,
    "caravan": 29,
    "trailer": 30,
}
"""The labelIds that the official evaluation ignores."""
OWN = {
    "labelIds": LabelMap({name: [value] for name, value in CLASSES.items()}, ignore=list(VOID.values())),
    "labelTrainIds": LabelMap({name: [i] for i, name in enumerate(CLASSES)}, ignore=[IGNORE], refuse_binary=False),
}
PARTS: dict[Part, Part] = {"train": "train", "val": "test"}
"""The folders that have public labels, and the part that each is: the labels of Cityscapes' own test are secret."""


class Cityscapes:
    """`root/leftImg8bit/{train,val}/CITY/*_leftImg8bit.png`, `root/gtFine/{train,val}/CITY/*_gtFine_labelIds.png`.

    A case is an image; its group is the city. In the official split the 500 images of `val` are the test part, as in
    the literature, and validation takes cities from `train`: the checkpoint is never chosen on what is reported. The
    folder `test` is not read, since its masks are empty.

    Args:
        root: the folder that holds `leftImg8bit` and `gtFine`.
        ids: which masks are read: `labelIds` as downloaded, or the `labelTrainIds` that the official scripts make.
        labels: other classes: a name to one or several values of these masks; null for the 19 classes.
        ignore: further values of pixels that do not count.

    Raises:
        ValueError: see `LabelMap`; colours.
    """

    channels = 3
    reads = "images (.png, .jpg, .tif, .bmp)"
    assumes_spacing = False
    kind: Kind = "still"
    normalise = "imagenet"

    def __init__(
        self,
        root: str,
        ids: Literal["labelIds", "labelTrainIds"] = "labelIds",
        labels: Labels | None = None,
        ignore: Values | None = None,
    ) -> None:
        self.root = Path(root)
        self.ids = ids
        self.labels = label_map(OWN[ids], labels, ignore, values_only=True)
        self.classes = self.labels.classes
        self.background = background_of(self.classes)

    def resolved(self) -> dict[str, Any]:
        """Nothing: no file of the data set says anything in place of the configuration."""
        return {}

    def cases(self) -> list[Case]:
        """List the images of `train` and `val`; a `DataError` for a missing folder, image or mask."""
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; set data.root to the folder with leftImg8bit and gtFine")
        return [case for folder in PARTS for city in self._cities(folder) for case in self._of(folder, city)]

    def sources(self, case: Case) -> list[Path]:
        """The image and its mask."""
        return [case.image, case.mask]

    def is_image(self, path: Path) -> bool:
        """Whether a file is an image by its name."""
        return is_still(path) and "_gtFine_" not in path.name

    def output_name(self, image: Path, relative: str) -> tuple[str, str]:  # noqa: ARG002
        """Its own name."""
        return without_suffix(relative)

    def read_image(self, path: Path) -> Pixels:
        """Decode an image."""
        return Pixels(read_rgb(path))

    def read(self, case: Case) -> Decoded:
        """Decode an image and its mask; a `DataError` where trainIds stand in place of labelIds too."""
        image, raw = self.read_image(case.image), read_mask(case.mask, coloured=False)
        same_size(image.array, raw, case.image, case.mask)
        if self.ids == "labelIds":
            _refuse_train_ids(raw, case.mask)
        return Decoded(image, self.labels(raw, case.mask))

    def _cities(self, folder: Part) -> list[str]:
        parent = self.root / "leftImg8bit" / folder
        if not parent.is_dir():
            raise DataError(f"{parent}: no such folder; set data.root to the folder with leftImg8bit and gtFine")
        cities = sorted(path.name for path in parent.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not cities:
            raise DataError(f"{parent}: no folder of a city here; expected CITY/*_leftImg8bit.png")
        return cities

    def _of(self, folder: Part, city: str) -> list[Case]:
        cases = []
        annotations = self.root / "gtFine" / folder / city
        ending = f"_gtFine_{self.ids}.png"
        for stem, image in find_images(self.root / "leftImg8bit" / folder / city).items():
            name = stem.removesuffix("_leftImg8bit")
            if name == stem:
                raise DataError(f"{image}: expected a name that ends in _leftImg8bit.png; rename or remove the file")
            mask = annotations / f"{name}{ending}"
            if not mask.is_file():
                raise DataError(f"{image}: no mask {mask}; {self._remedy(annotations, name)}")
            cases.append(Case(name, city, image, mask, PARTS[folder]))
        named = {case.id for case in cases}
        for mask in sorted(annotations.glob(f"*{ending}")):
            if mask.name.removesuffix(ending) not in named:
                wanted = self.root / "leftImg8bit" / folder / city
                raise DataError(f"{mask}: no image of this name in {wanted}; add it or remove the mask")
        return cases

    def _remedy(self, annotations: Path, name: str) -> str:
        for other in OWN:
            if other != self.ids and (annotations / f"{name}_gtFine_{other}.png").is_file():
                return f"there are {other}: set data.ids: {other}"
        return "add it or remove the image"


def to_label_ids(train_ids: NDArray[Any]) -> NDArray[np.uint8]:
    """TrainIds as the labelIds that the evaluation server expects.

    Args:
        train_ids: class indices 0..18 of any shape, 255 for void, which becomes unlabeled (0).

    Raises:
        ValueError: another value.
    """
    foreign = sorted(set(np.unique(train_ids).tolist()) - set(range(len(CLASSES))) - {IGNORE})
    if foreign:
        raise ValueError(f"train_ids must be in 0..18 or 255, got {', '.join(map(str, foreign[:5]))}")
    table = np.zeros(256, dtype=np.uint8)
    table[: len(CLASSES)] = list(CLASSES.values())
    label_ids: NDArray[np.uint8] = table[train_ids]
    return label_ids


def _refuse_train_ids(raw: NDArray[Any], path: Path) -> None:
    """Raise a `DataError` where a mask of labelIds holds what only trainIds hold.

    LabelIds have no 255, and no street scene is made of ids up to 18 with most of it void (0..6): those are road,
    sidewalk and buildings as trainIds.
    """
    void = int((raw <= VOID["ground"]).sum())
    has_void = bool((raw == IGNORE).any())
    rest = raw[raw != IGNORE]
    if not (rest <= len(CLASSES) - 1).all() or not (has_void or 2 * void > raw.size):
        return
    told = f"{void} of {raw.size} pixels up to 6" + (", and 255" if has_void else "")
    raise DataError(
        f"{path}: holds no id above 18 ({told}): trainIds where labelIds are expected; put the labelIds back, or name "
        "the files *_gtFine_labelTrainIds.png and set data.ids: labelTrainIds"
    )
