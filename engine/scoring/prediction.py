"""Masks for images that no data set knows: a run's network on files, on their own grid."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import datasets
from datasets.cache import scaled_image
from datasets.files import refuse_unprintable, write_atomically
from datasets.formats import UNPLACED
from datasets.grid import network_shape, resize_image
from datasets.samples import packed_image
from datasets.scan import in_file
from datasets.slices import neighbours
from datasets.walk import walk

from ..configuration import build
from ..configuration.config import Config
from ..errors import UsageError
from ..pictures.chart import DPI, rendered
from ..pictures.montage import montage
from ..pictures.palette import coloured, palette
from .inference import Infer, between, labels_of, resized

OUTPUTS = ("masks", "preview", "probabilities", "regions")
"""The folders that predictions are written to."""
WRITTEN = {".hdr": ".nii", **dict.fromkeys((".hdr.gz", ".nrrd", ".nhdr", *UNPLACED), ".nii.gz")}
"""The suffix of a mask by that of its volume, where it is another."""


@dataclass(frozen=True)
class Input:
    """A file to predict.

    Attributes:
        path: the image, a file or the folder of a DICOM series.
        name: what its outputs are called, without suffix; with the sub-folder it was found in.
        suffix: of the image; of DICOM ".dcm", whatever its files are called.
    """

    path: Path
    name: str
    suffix: str


def inputs(paths: Sequence[Path], adapter: datasets.Adapter, out: Path) -> list[Input]:
    """The images among files and folders, in order; folders with their sub-folders, but without what is written there.

    Raises:
        DataError: a path that is not there, a folder without images, two images of one name.
    """
    written = {out.resolve() / name for name in OUTPUTS}
    found: dict[str, Input] = {}
    for path in dict.fromkeys(paths):
        if not path.exists():
            raise datasets.DataError(f"{path}: no such file or folder")
        every = [path] if path.is_file() else [path, *walk(path)]
        every = [file for file in every if not written & {*file.resolve().parents}]
        files = [*filter(adapter.is_image, every)] or [*filter(adapter.is_foreign_image, every)]
        images = {*files}
        files = [file for file in files if file.parent not in images]  # a folder of DICOM stands for what is in it
        if not files:
            raise datasets.DataError(f"{path}: no image here that this data set could hold; expected {adapter.reads}")
        for file in files:
            refuse_unprintable(file)
            relative = (file.name or file.resolve().name) if path == file else file.relative_to(path).as_posix()
            name, suffix = adapter.output_name(file, relative)
            if name in found:
                raise datasets.DataError(f"{file}: {found[name].path} would get the same output; predict them apart")
            found[name] = Input(file, name, suffix)
    return list(found.values())


class Files(NamedTuple):
    """The files that are made of an image, as paths below the folder of a prediction.

    Attributes:
        mask: in the data set's own values.
        preview: a picture.
        probabilities: of the classes.
        regions: a mask of each region, where there are some.
        data: what masks and `probabilities` keep in files of their own.
    """

    mask: str
    preview: str
    probabilities: str
    regions: tuple[str, ...]
    data: tuple[str, ...]

    @classmethod
    def of(cls, one: Input, kind: datasets.Kind, wanted: str | None, regions: Sequence[str] = ()) -> Files:
        """The files of an image; of a volume in the wanted format, or in its own."""
        suffix = ".png"
        if kind == "volume":
            suffix = f".{wanted}" if wanted else WRITTEN.get(one.suffix, one.suffix)
        shares = {".png": ".npy", ".dcm": ".nii.gz"}.get(suffix, suffix)
        inside = {".dcm": ".nii.gz"}.get(suffix, suffix)
        folders = [f"regions/{region}" for region in regions]
        data = [f"{folder}/{one.name}.zraw" for folder in ("masks", "probabilities", *folders) if suffix == ".mhd"]
        return cls(
            f"masks/{one.name}{suffix}", f"preview/{one.name}.png", f"probabilities/{one.name}{shares}",
            tuple(f"{folder}/{one.name}{inside}" for folder in folders), tuple(data),
        )  # fmt: skip

    def written(self, probabilities: bool) -> list[str]:
        """Those that are written, with or without probabilities."""
        every = [self.mask, self.preview, self.probabilities, *self.regions, *self.data]
        return [name for name in every if probabilities or not name.startswith("probabilities/")]


class Predicted(NamedTuple):
    """The prediction of an image.

    Attributes:
        image: as it was read.
        shown: `(slices, rows, columns, channels)`, the same pixels scaled to uint8 or to [0, 1].
        labels: `(slices, rows, columns)` class indices.
        probabilities: `(slices, C, rows, columns)` float32, or None.
        regions: `(slices, rows, columns)` bool of each region, whether a pixel is in it; None where there are none.
    """

    image: datasets.Pixels
    shown: NDArray[Any]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32] | None
    regions: dict[str, NDArray[np.bool_]] | None = None


@torch.no_grad()
def predict_file(
    path: Path, infer: Infer, adapter: datasets.Adapter, config: Config, fabric: Fabric, activation: str | None = None
) -> Predicted:
    """Predict an image file on its own grid.

    Args:
        path: a still, or a volume.
        infer: from what the network sees to its logits.
        adapter: reads the file as it reads the images of its data set.
        config: of the run: the network's grid, the normalisation, how labels come about.
        fabric: the device.
        activation: `softmax` or `sigmoid` where probabilities are wanted.

    Raises:
        DataError: the file is unreadable, or of another kind than the data set's.
    """
    image = adapter.read_image(path)
    scaled = scaled_image(build.build_normalisation(config.data.normalise, adapter), image.array, path)
    slices, rows, columns = image.array.shape[:3]
    spacing = None if image.geometry is None else image.geometry.spacing
    shape = network_shape((slices, rows, columns), spacing, config.data.size, config.data.spacing)
    seen = resize_image(scaled.image, shape)
    chunks = _chunks(seen, (rows, columns), scaled, infer, config, fabric)
    shares: list[NDArray[Any]] = []
    inside: list[NDArray[Any]] = []
    logits = between(chunks, shape[0], slices)
    if activation is not None:
        logits = map(partial(_keep, into=shares, of=partial(_probabilities, activation=activation)), logits)
    if (regions := build.build_regions(config.data, adapter)) is not None:
        logits = map(partial(_keep, into=inside, of=partial(_inside, regions=regions)), logits)
    labels = labels_of(logits, config.scores, datasets.background_index(adapter.classes), regions)
    masks = None if regions is None else dict(zip(regions.names, np.concatenate(inside, 1), strict=True))
    probabilities = np.concatenate(shares) if shares else None
    return Predicted(image, scaled.image, labels.cpu().numpy(), probabilities, masks)


def _chunks(
    seen: NDArray[Any], size: tuple[int, int], scaled: datasets.Normalised, infer: Infer, config: Config, fabric: Fabric
) -> Iterator[Tensor]:
    """The logits `(n, C, rows, columns)` of the slices in order, at a size."""
    context, most = config.data.context, config.train.batch_size
    for start in range(0, len(seen), most):
        batch = []
        for index in range(start, min(start + most, len(seen))):
            plane = np.concatenate([seen[at] for at in neighbours(index, len(seen), context)], axis=-1)
            batch.append(packed_image(plane, scaled.mean, scaled.deviation))
        image, factor, shift = (fabric.to_device(torch.stack(tensors)) for tensors in zip(*batch, strict=True))
        yield from resized(infer(image, factor, shift), size)


def _keep(logits: Tensor, into: list[NDArray[Any]], of: Callable[[Tensor], Tensor]) -> Tensor:
    """The logits, of which something is kept."""
    into.append(of(logits).cpu().numpy())
    return logits


def _probabilities(logits: Tensor, activation: str) -> Tensor:
    return logits.sigmoid() if activation == "sigmoid" else logits.softmax(1)


def _inside(logits: Tensor, regions: datasets.Regions) -> Tensor:
    return regions.inside(logits).movedim(1, 0)


def write_prediction(
    found: Predicted,
    one: Input,
    out: Path,
    adapter: datasets.Adapter,
    wanted: str | None = None,
    anonymous: bool = False,
) -> None:
    """Write the mask in the data set's own values, a preview, and where there are some, probabilities and regions.

    A still becomes `masks/NAME.png`, with a coloured `preview/NAME.png`. A volume becomes `masks/NAME` of the wanted
    format, or its own, on its own grid; its preview is a montage of slices, its probabilities have
    the same format and one channel a class. Those of a still are `probabilities/NAME.npy`, `(1, C, rows, columns)`.
    The mask of a region is `regions/REGION/NAME`, 1 inside and 0 outside. DICOM's own format is SEG, which holds the
    patient's name, ID and birth date unless it is to be `anonymous`; its probabilities and regions are NIfTI.
    """
    values = adapter.labels.values_of(found.labels)
    regions = found.regions or {}
    files = Files.of(one, adapter.kind, wanted, tuple(regions))
    mask, preview, probabilities = out / files.mask, out / files.preview, out / files.probabilities
    for name in files.written(found.probabilities is not None):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
    if adapter.kind == "volume":
        assert found.image.geometry is not None
        volume = in_file(values, found.image)
        if mask.suffix == ".dcm" and found.image.series is not None:
            named = zip(
                adapter.labels.values_of(np.arange(len(adapter.classes))).tolist(), adapter.classes, strict=True
            )
            segments = {value: name for value, name in named if value and name != adapter.background}
            from datasets.dicom_seg_write import write_seg  # with pydicom and highdicom

            write_seg(volume.array, found.image.series, segments, mask, anonymous)
        else:
            datasets.write_volume(volume, mask, like=one.path)
        title, background = f"{one.name}: prediction", datasets.background_index(adapter.classes)
        grey = found.shown.astype(np.float32)
        sides = found.image.geometry.spacing[1:]
        figure = montage(grey, {"prediction": found.labels}, adapter.classes, background, title, sides)
        write_atomically(preview, rendered(figure, preview.suffix, DPI))
    else:
        _write(mask, Image.fromarray(values[0]))
        _write(preview, _preview(found.shown[0], found.labels[0], adapter.classes))
    for path, inside in zip(files.regions, regions.values(), strict=True):
        if adapter.kind == "volume":
            datasets.write_volume(in_file(inside.astype(np.uint8), found.image), out / path, one.path)
        else:
            _write(out / path, Image.fromarray(inside[0].astype(np.uint8)))
    if found.probabilities is not None and adapter.kind == "volume":
        datasets.write_volume(in_file(np.moveaxis(found.probabilities, 1, -1), found.image), probabilities, one.path)
    elif found.probabilities is not None:
        content = BytesIO()
        np.save(content, found.probabilities)
        write_atomically(probabilities, content.getvalue())


def refuse_values(adapter: datasets.Adapter) -> None:
    """Raise a `UsageError` where a class has a value that masks of stills, which are PNG, do not hold."""
    if adapter.kind == "still":
        values = adapter.labels.values_of(np.arange(len(adapter.classes)))
        for name, value in zip(adapter.classes, values.tolist(), strict=True):
            if not isinstance(value, list) and not 0 <= value < 2**16:
                raise UsageError(
                    f"the class {name} has the value {value}, and PNG, as which masks of stills are written, holds 0 "
                    "to 65535; give the class one of these in the masks that it is trained on, first in data.labels"
                )


def write_classes(path: Path, adapter: datasets.Adapter) -> None:
    """The file `classes.json`: the value and the colour in the preview of each class."""
    colours = (palette(len(adapter.classes)) * 255).round().astype(int).tolist()
    values = adapter.labels.values_of(np.arange(len(adapter.classes))).tolist()
    each = zip(adapter.classes, values, colours, strict=True)
    content = {name: {"value": value, "colour": colour} for name, value, colour in each}
    write_atomically(path, json.dumps(content, indent=1).encode())


def _preview(plane: NDArray[Any], labels: NDArray[np.integer[Any]], classes: Sequence[str]) -> Image.Image:
    """The image, half covered by the colours of the classes; under the background it is as it was."""
    grey = plane.astype(np.float32) / (255 if plane.dtype == np.uint8 else 1)
    rgb = grey if grey.shape[-1] == 3 else np.repeat(grey[..., :1], 3, axis=-1)
    cover = coloured(labels, palette(len(classes)), datasets.background_index(classes), 0.5)
    blended = rgb + cover[..., 3:] * (cover[..., :3] - rgb)
    return Image.fromarray((blended.clip(0, 1) * 255).round().astype(np.uint8))


def _write(path: Path, image: Image.Image) -> None:
    content = BytesIO()
    image.save(content, format="PNG")
    write_atomically(path, content.getvalue())
