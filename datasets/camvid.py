"""CamVid in the layout of SegNet: 367 training, 101 validation and 233 test frames, 11 classes and void."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .case import PARTS, Case, Decoded, Kind, Pixels
from .errors import DataError
from .formats import is_still, without_suffix
from .labels import LabelMap, Labels, Values, background_of, label_map
from .still import find_images, read_rgb, with_mask

OWN = LabelMap(
    {
        "sky": [0],
        "building": [1],
        "pole": [2],
        "road": [3],
        "pavement": [4],
        "tree": [5],
        "sign": [6],
        "fence": [7],
        "car": [8],
        "pedestrian": [9],
        "bicyclist": [10],
    },
    ignore=[11],
)


class CamVid:
    """`root/{train,val,test}` with frames, `root/{train,val,test}annot` with masks of the same names.

    A case is a frame; its group is the video sequence, what stands before the first underscore. Two of the four
    sequences stand in several parts of the official split.

    Args:
        root: the folder that holds `train`, `trainannot`, …
        labels: other classes: a name to one or several mask values, or to RGB colours `[[r, g, b], …]`; null for the
            data set's own.
        ignore: further mask values, or colours, of pixels that do not count.

    Raises:
        ValueError: see `LabelMap`.
    """

    channels = 3
    reads = "images (.png, .jpg, .tif, .bmp)"
    assumes_spacing = False
    kind: Kind = "still"
    normalise = "imagenet"

    def __init__(self, root: str, labels: Labels | None = None, ignore: Values | None = None) -> None:
        self.root = Path(root)
        self.labels = label_map(OWN, labels, ignore)
        self.classes = self.labels.classes
        self.background = background_of(self.classes)

    def resolved(self) -> dict[str, Any]:
        """Nothing: no file of the data set says anything in place of the configuration."""
        return {}

    def cases(self) -> list[Case]:
        """List the frames of all three parts; a `DataError` for a missing folder, image or mask."""
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; set data.root to the folder with train, trainannot, val, …")
        if (self.root / "701_StillsRaw_full").is_dir() and not (self.root / "trainannot").is_dir():
            raise DataError(
                f"{self.root}: CamVid in its original form, with 701_StillsRaw_full; use data.name: camvid701"
            )
        cases: list[Case] = []
        for part in PARTS:
            images, masks = find_images(self.root / part), find_images(self.root / f"{part}annot")
            for name, path in images.items():
                if name not in masks:
                    wanted = self.root / f"{part}annot" / f"{name}.png"
                    raise DataError(f"{path}: no mask {wanted}; add it or remove the image")
                cases.append(Case(name, name.split("_")[0], path, masks[name], part))
            for name in masks.keys() - images.keys():
                raise DataError(f"{masks[name]}: no image of this name in {self.root / part}")
        return cases

    def sources(self, case: Case) -> list[Path]:
        """The frame and its mask."""
        return [case.image, case.mask]

    def is_image(self, path: Path) -> bool:
        """Whether a file is an image by its name."""
        return is_still(path)

    def output_name(self, image: Path, relative: str) -> tuple[str, str]:  # noqa: ARG002
        """Its own name."""
        return without_suffix(relative)

    def read_image(self, path: Path) -> Pixels:
        """Decode a frame."""
        return Pixels(read_rgb(path))

    def read(self, case: Case) -> Decoded:
        """Decode a frame and its mask."""
        return with_mask(self.read_image(case.image), case, self.labels)
