"""PROMISE12: T2 prostate MRI, one MetaImage a patient with its mask beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .case import Case, Decoded, Kind, Pixels
from .errors import DataError
from .formats import is_scan, without_suffix
from .labels import LabelMap, Labels, Values, background_of, label_map
from .scan import SliceAxis, read_scan, with_scan_mask
from .volume import volume_files

OWN = LabelMap({"background": [0], "prostate": [1]})
MASK = "_segmentation"


class Promise12:
    """`root/CaseNN.mhd` and `root/CaseNN_segmentation.mhd`; a case is a patient and its own group.

    Args:
        root: the folder with the cases.
        labels: other classes: a name to one or several mask values; null for the data set's own.
        ignore: mask values of voxels that do not count.
        slice_axis: how volumes are cut into slices: axial, coronal or sagittal, whatever order the file has.

    Raises:
        ValueError: see `LabelMap`.
    """

    channels = 1
    reads = "scans (.nii, .nii.gz, .hdr, .mha, .mhd)"
    assumes_spacing = False
    kind: Kind = "volume"
    normalise = "percentile"

    def __init__(
        self, root: str, labels: Labels | None = None, ignore: Values | None = None, slice_axis: SliceAxis = "axial"
    ) -> None:
        self.root, self.slice_axis = Path(root), slice_axis
        self.labels = label_map(OWN, labels, ignore, values_only=True)
        self.classes = self.labels.classes
        self.background = background_of(self.classes)

    def resolved(self) -> dict[str, Any]:
        """Nothing: no file of the data set says anything in place of the configuration."""
        return {}

    def cases(self) -> list[Case]:
        """List the patients by number; a `DataError` for a missing folder, scan or mask."""
        if not self.root.is_dir():
            raise DataError(f"{self.root}: no such folder; set data.root to the folder with CaseNN.mhd")
        cases = []
        for image in sorted(self.root.glob("Case*.mhd")):
            if not self.is_image(image):
                continue
            mask = image.with_name(f"{image.stem}{MASK}.mhd")
            if not mask.is_file():
                raise DataError(f"{image}: no mask {mask.name} beside it; add it or remove the scan")
            cases.append(Case(image.stem, image.stem, image, mask))
        if not cases:
            raise DataError(f"{self.root}: no scan here; expected CaseNN.mhd and CaseNN_segmentation.mhd")
        return cases

    def sources(self, case: Case) -> list[Path]:
        """Both headers and the files they name."""
        return [file for path in (case.image, case.mask) for file in volume_files(path)]

    def is_image(self, path: Path) -> bool:
        """Whether a file is a scan by its name."""
        return is_scan(path) and not path.stem.endswith(MASK)

    def output_name(self, image: Path, relative: str) -> tuple[str, str]:  # noqa: ARG002
        """Its own name."""
        return without_suffix(relative)

    def read_image(self, path: Path) -> Pixels:
        """Decode a scan."""
        scan = read_scan([path], self.slice_axis, resample=False)
        if scan.array.shape[-1] != 1:
            raise DataError(f"{path}: {scan.array.shape[-1]} channels; expected a scan of one")
        return scan

    def read(self, case: Case) -> Decoded:
        """Decode a scan and its mask."""
        return with_scan_mask(self.read_image(case.image), (case.image, case.mask), self.labels, resample=False)
