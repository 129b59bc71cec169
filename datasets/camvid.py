"""CamVid in the layout of SegNet: 367 training, 101 validation and 233 test frames, 11 classes and void."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .case import Case
from .errors import DataError
from .folder import Stills
from .formats import is_still
from .labels import LabelMap, Labels, Values, label_map
from .listing import Listing
from .pattern import Pattern

CLASSES = ["sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian", "bicyclist"]
"""In the order of the mask values."""
VOID = 11
OWN = LabelMap({name: [value] for value, name in enumerate(CLASSES)}, ignore=[VOID])


class CamVid(Stills):
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

    layout = "train, trainannot, val, valannot, test and testannot"

    def __init__(self, root: str, labels: Labels | None = None, ignore: Values | None = None) -> None:
        super().__init__(
            root,
            Pattern("images", "{part}/{name}.*", is_still, depth=1),
            Pattern("masks", "{part}annot/{name}.*", is_still, depth=1),
            label_map(OWN, labels, ignore),
        )

    def cases(self, listing: Listing | None = None) -> list[Case]:
        """List the frames of all three parts; a `DataError` for a missing folder, image or mask."""
        if (self.root / "701_StillsRaw_full").is_dir() and not (self.root / "trainannot").is_dir():
            raise DataError(
                f"{self.root}: CamVid in its original form, with 701_StillsRaw_full; use data.name: camvid701"
            )
        return super().cases(listing)

    def case(self, name: str, image: Path, mask: Path) -> Case:
        """A frame, of the sequence that its name begins with."""
        frame = name.partition("/")[2]
        return replace(super().case(name, image, mask), id=frame, group=frame.split("_")[0])
