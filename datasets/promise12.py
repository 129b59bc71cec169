"""PROMISE12: T2 prostate MRI, one MetaImage a patient with its mask beside it."""

from __future__ import annotations

from pathlib import Path

from .case import Case
from .dicom_options import Spacing
from .formats import is_scan, volume_stem
from .labels import LabelMap, Labels, Values
from .nifti_folder import NiftiFolder
from .scan import SliceAxis

MASK = "_segmentation"


class Promise12(NiftiFolder):
    """`root/CaseNN.mhd` and `root/CaseNN_segmentation.mhd`; a case is a patient and its own group.

    Args:
        root: the folder with the cases.
        labels: other classes: a name to one or several mask values; null for the data set's own.
        ignore: mask values of voxels that do not count.
        slice_axis: how volumes are cut into slices: axial, coronal or sagittal, whatever order the file has.
        spacing: `data.spacing`, which is the voxels' size of files that do not say it.

    Raises:
        ValueError: see `LabelMap`.
    """

    own = LabelMap({"background": [0], "prostate": [1]})
    layout = f"CaseNN.mhd and CaseNN{MASK}.mhd"
    depth = 1

    def __init__(
        self,
        root: str,
        labels: Labels | None = None,
        ignore: Values | None = None,
        slice_axis: SliceAxis = "axial",
        *,
        spacing: Spacing | None = None,
    ) -> None:
        files = "Case{name}.mhd", f"Case{{name}}{MASK}.mhd"
        super().__init__(root, *files, labels, ignore, slice_axis=slice_axis, spacing=spacing)

    def case(self, name: str, image: Path, mask: Path) -> Case:
        """A patient, by the name of the scan's file."""
        return Case(f"Case{name}", f"Case{name}", image, mask)

    def accepts(self, path: Path, ending: str = "") -> bool:  # noqa: ARG002  # it names none of arrays
        """Whether a file is a scan by its name."""
        return is_scan(path) and not volume_stem(path).endswith(MASK)

    def is_image(self, path: Path) -> bool:
        """Whether a file is a scan by its name, wherever it lies and whatever the patient is called."""
        return self.accepts(path)
