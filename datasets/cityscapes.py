"""Cityscapes: street scenes of 50 cities, fine annotations, 19 classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

from .case import IGNORE, Case, Decoded, Part
from .errors import DataError
from .folder import Stills
from .formats import is_still
from .labels import LabelMap, Labels, Values, label_map
from .listing import Listing
from .pattern import Pattern
from .still import read_mask, same_size

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
PARTS: dict[str, Part] = {"train": "train", "val": "test"}
"""The folders that have public labels, and the part that each is: the labels of Cityscapes' own test are secret."""


class Cityscapes(Stills):
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

    layout = "leftImg8bit and gtFine, in both train and val, in these CITY/*_leftImg8bit.png"

    def __init__(
        self,
        root: str,
        ids: Literal["labelIds", "labelTrainIds"] = "labelIds",
        labels: Labels | None = None,
        ignore: Values | None = None,
    ) -> None:
        super().__init__(
            root,
            Pattern("images", "leftImg8bit/{part}/{name}_leftImg8bit.*", is_still, depth=2, parts=[*PARTS]),
            Pattern("masks", f"gtFine/{{part}}/{{name}}_gtFine_{ids}.png", is_still, depth=2, parts=[*PARTS]),
            label_map(OWN[ids], labels, ignore, values_only=True),
        )
        self.ids = ids

    def cases(self, listing: Listing | None = None) -> list[Case]:
        """List the images of `train` and `val`; a `DataError` for a missing folder, image or mask."""
        for other in OWN:
            if self._has_masks(other) and not self._has_masks(self.ids):
                raise DataError(f"{self.root}: no *_gtFine_{self.ids}.png; there are {other}: set data.ids: {other}")
        return super().cases(listing)

    def case(self, name: str, image: Path, mask: Path) -> Case:
        """An image, of the city whose folder it lies in."""
        folder, city, stem = name.split("/")
        return Case(stem, city, image, mask, PARTS[folder])

    def is_worth_naming(self, path: Path) -> bool:
        """Whether a file is an image by its name: masks of other kinds come with every image."""
        return self.is_image(path)

    def is_image(self, path: Path) -> bool:
        """Whether a file is an image by its name."""
        return is_still(path) and "_gtFine_" not in path.name

    def read(self, case: Case) -> Decoded:
        """Decode an image and its mask; a `DataError` where trainIds stand in place of labelIds too."""
        image, raw = self.read_image(case.image), read_mask(case.mask, coloured=False)
        same_size(image.array, raw, case.image, case.mask)
        if self.ids == "labelIds":
            _refuse_train_ids(raw, case.mask)
        return Decoded(image, self.labels(raw, case.mask))

    def _has_masks(self, ids: str) -> bool:
        return any((self.root / "gtFine").glob(f"*/*/*_gtFine_{ids}.png"))


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
    held = f"{void} of {raw.size} pixels up to 6" + (", and 255" if has_void else "")
    raise DataError(
        f"{path}: holds no id above 18 ({held}): trainIds where labelIds are expected; put the labelIds back, or name "
        "the files *_gtFine_labelTrainIds.png and set data.ids: labelTrainIds"
    )
