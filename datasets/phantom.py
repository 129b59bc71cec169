"""Synthetic prostate scans, made on the spot, written in a real format and read back by its adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from . import phantom_trus
from .case import Case, Kind
from .dicom_folder import Trus
from .files import made_whole
from .labels import Labels, Values
from .listing import Listing
from .promise12 import Promise12
from .scan import SliceAxis
from .volume import Volume
from .volume_io import write_volume

Field = NDArray[np.float64]
Form = Literal["metaimage", "mr_series", "us_volume"]
SHAPE = (20, 96, 96)
SPACING = (1.2, 1.2, 3.6)
"""Millimetres between columns, rows and slices."""


class Phantom:
    """Patients with a small gland, written in a real format and read back by the adapter of that format.

    The MRI has about 2 % of its voxels in the gland, none in several slices; it is as bright as its surroundings,
    textured, biased and noisy like them; muscles and nodes of the same look lie around it. Only its capsule, its zones
    and its place tell it apart, so no threshold finds it. The ultrasound has a fan-shaped field of view, speckle and
    shadows, and a gland in the middle.

    Args:
        root: the folder under which the patients are written, once for each set of parameters.
        patients: how many.
        seed: of the anatomy; not of the training.
        labels: other classes: a name to one or several mask values; null for background 0 and prostate 1.
        ignore: mask values of voxels that do not count.
        slice_axis: how volumes are cut into slices.
        form: `metaimage`, MRI as PROMISE12 has it; `mr_series`, the same MRI as DICOM slices with a SEG; `us_volume`,
            ultrasound as DICOM Enhanced US Volume with a SEG.

    Raises:
        ValueError: fewer than three patients, a negative seed; see `LabelMap`.
    """

    kind: Kind = "volume"
    normalise = "percentile"
    channels = 1

    def __init__(
        self,
        root: str = "data/phantom",
        patients: int = 20,
        seed: int = 0,
        labels: Labels | None = None,
        ignore: Values | None = None,
        slice_axis: SliceAxis = "axial",
        form: Form = "metaimage",
    ) -> None:
        if patients < 3:
            raise ValueError(f"patients must be ≥ 3 (training, validation, test), got {patients}")
        if seed < 0:
            raise ValueError(f"seed must be ≥ 0, got {seed}")
        kind = {"metaimage": "mri", "mr_series": "mr-series-2", "us_volume": "us-volume-2"}[form]
        self.root = Path(root) / f"{kind}-{patients}-patients-seed-{seed}"
        self.patients, self.seed, self.form = patients, seed, form
        place = str(self.root)
        reader: Promise12 | Trus
        if form == "metaimage":
            reader = Promise12(place, labels, ignore, slice_axis)
        else:
            reader = Trus(place, labels=labels, ignore=ignore, slice_axis=slice_axis)
        self.reader, self.reads = reader, reader.reads
        self.labels, self.classes, self.background = reader.labels, reader.classes, reader.background
        self.resolved, self.sources, self.is_image = reader.resolved, reader.sources, reader.is_image
        self.is_foreign_image = reader.is_foreign_image
        self.output_name, self.read_image, self.read = reader.output_name, reader.read_image, reader.read
        self.patient = reader.patient

    def cases(self, listing: Listing | None = None) -> list[Case]:
        """List the patients, made and written first where that has not been done."""
        if not self.root.is_dir():
            self._write()
        return self.reader.cases(listing)

    def _write(self) -> None:
        with made_whole(self.root) as folder:
            for patient in range(self.patients):
                write_patient(np.random.default_rng([self.seed, patient]), folder, f"{patient:02d}", self.form)


def write_patient(rng: np.random.Generator, folder: Path, number: str, form: Form) -> None:
    """Make a patient and write it: `CaseNN.mhd` with its mask, or a folder `PatientNN` of DICOM."""
    if form == "metaimage":
        image, mask = make_patient(rng)
        affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])  # columns to the left, rows to the back
        write_volume(Volume(image, affine), folder / f"Case{number}.mhd")
        write_volume(Volume(mask, affine), folder / f"Case{number}_segmentation.mhd")
        return
    from .phantom_dicom import write_mr_series, write_us_volume

    patient = folder / f"Patient{number}"
    patient.mkdir()
    if form == "mr_series":
        write_mr_series(*make_patient(rng), SPACING, patient)
    else:
        write_us_volume(*phantom_trus.make_patient(rng), phantom_trus.SPACING, patient)


def make_patient(rng: np.random.Generator) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """One scan and its gland, both `(slices, rows, columns)`."""
    place = Anatomy(rng)
    body = place.ellipsoid((0.5, 0.5, 0.5), (9.0, 0.44, 0.47))
    tissue = 0.42 + 0.10 * place.texture(5) + 0.06 * place.texture(1.5)
    tissue[body > 0.80] = 0.75  # subcutaneous fat
    for side in (0.16, 0.84):  # femoral heads
        tissue = place.organ(tissue, (0.5, 0.5, side), (0.6, 0.12, 0.11), 0.3, 0.2)
    for _ in range(10):  # muscles and nodes that look like the gland
        angle = rng.uniform(0, 2 * np.pi)
        middle = (rng.uniform(0, 1), 0.5 + 0.3 * np.sin(angle), 0.5 + 0.3 * np.cos(angle))
        tissue = place.organ(tissue, middle, tuple(rng.uniform((0.1, 0.04, 0.04), (0.3, 0.09, 0.09))), 0.5, 0.3)
    shift = rng.normal(0, (0.03, 0.03, 0.03))
    middle = (0.48 + shift[0], 0.5 + shift[1], 0.5 + shift[2])
    half = np.array([0.26, 0.13, 0.155]) * rng.uniform(0.88, 1.12, 3)
    up, front, left = middle
    tissue = place.organ(tissue, (up + 0.42, front - 0.16, left), (0.3, 0.13, 0.16), 0.9, 0.95)  # bladder
    tissue = place.organ(tissue, (up, front + half[1] + 0.09, left), (9.0, 0.07, 0.08), 0.15, 0.1)  # rectum
    gland = place.ellipsoid(middle, tuple(half)) + 0.12 * place.texture(7)
    centre = place.ellipsoid((up, front - 0.02, left), tuple(0.62 * half))
    inside = gland < 1
    tissue[inside] = (0.55 + 0.10 * place.texture(4) + 0.06 * place.texture(1.5))[inside]
    tissue[inside & (centre < 1)] -= 0.13
    tissue[(gland >= 1) & (gland < 1.16)] = 0.26  # capsule
    tissue[body > 1] = 0.02
    signal = tissue * np.exp(0.22 * place.texture(30))
    noise = rng.normal(0, 0.045, (2, *SHAPE))
    magnitude = np.hypot(signal + noise[0], noise[1])  # Rician, as a magnitude image has it
    return (1000 * magnitude).astype(np.int16), inside.astype(np.uint8)


class Anatomy:
    """Shapes and textures on the voxel grid; positions and half-axes are fractions of the field of view.

    Args:
        rng: where the randomness comes from.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.grid = np.meshgrid(*((np.arange(n) + 0.5) / n for n in SHAPE), indexing="ij")

    def ellipsoid(self, middle: tuple[float, ...], half_axes: tuple[float, ...]) -> Field:
        """The squared relative distance from the middle: below 1 inside."""
        scaled = [(axis - m) / h for axis, m, h in zip(self.grid, middle, half_axes, strict=True)]
        return np.asarray(sum(axis**2 for axis in scaled))

    def texture(self, width: float) -> Field:
        """A random field of mean 0 and deviation 1, smooth over `width` pixels and about a slice."""
        white = self.rng.normal(size=(SHAPE[0] + 2, *SHAPE[1:]))
        mixed = white[:-2] + 2 * white[1:-1] + white[2:]
        smooth = np.stack([cv2.GaussianBlur(plane, (0, 0), width, borderType=cv2.BORDER_REFLECT) for plane in mixed])
        return np.asarray((smooth - smooth.mean()) / smooth.std())

    def organ(
        self, tissue: Field, middle: tuple[float, ...], half_axes: tuple[Any, ...], inner: float, rim: float
    ) -> Field:
        """The tissue with a textured ellipsoid of brightness `inner` and a rim around it."""
        distance = self.ellipsoid(middle, half_axes) + 0.12 * self.texture(7)
        filled = np.where(distance < 1, inner + 0.10 * self.texture(4) + 0.06 * self.texture(1.5), tissue)
        return np.where((distance >= 1) & (distance < 1.16), rim, filled)
