"""PROMISE12: T2 prostate MRI, one MetaImage a patient with its mask beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import metaimage
from .case import Case, Decoded
from .errors import DataError
from .labels import LabelMap, Labels, Values, background_of, label_map
from .still import same_size
from .volume import read_volume

OWN = LabelMap({"background": [0], "prostate": [1]})


class Promise12:
    """`root/CaseNN.mhd` and `root/CaseNN_segmentation.mhd`; a case is a patient and its own group.

    Args:
        root: the folder with the cases.
        labels: other classes: a name to one or several mask values; null for the data set's own.
        ignore: mask values of voxels that do not count.

    Raises:
        ValueError: see `LabelMap`.
    """

    channels = 1
    volumetric = True
    normalise = "percentile"

    def __init__(self, root: str, labels: Labels | None = None, ignore: Values | None = None) -> None:
        self.root = Path(root)
        self.labels = label_map(OWN, labels, ignore, values_only=True)
        self.classes = self.labels.classes
        self.background = background_of(self.classes)

    def cases(self) -> list[Case]:
        """List the patients by number; a `DataError` for a missing folder, scan or mask."""
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; set data.root to the folder with CaseNN.mhd")
        cases = []
        for image in sorted(self.root.glob("Case*.mhd")):
            if image.stem.endswith("_segmentation"):
                continue
            mask = image.with_name(f"{image.stem}_segmentation.mhd")
            if not mask.is_file():
                raise DataError(f"{image}: no mask {mask.name} beside it; add it or remove the scan")
            cases.append(Case(image.stem, image.stem, image, mask))
        if not cases:
            raise DataError(f"{self.root}: no scan here; expected CaseNN.mhd and CaseNN_segmentation.mhd")
        return cases

    def sources(self, case: Case) -> list[Path]:
        """Both headers and the files they name."""
        return [file for path in (case.image, case.mask) for file in metaimage.files(path)]

    def read(self, case: Case) -> Decoded:
        """Decode a scan `(slices, rows, columns, 1)` float32 and its mask."""
        image, mask = read_volume(case.image).array, read_volume(case.mask).array
        same_size(image, mask, case.image, case.mask)
        return Decoded(image[..., np.newaxis].astype(np.float32), self.labels(mask, case.mask))
