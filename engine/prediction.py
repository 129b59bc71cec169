"""Masks for images that no data set knows: a run's network on files, at their own size."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from numpy.typing import NDArray
from PIL import Image

import datasets
from datasets.files import write_atomically
from datasets.metaimage import SUFFIXES as VOLUMES
from datasets.resize import resize_image
from datasets.samples import normalised
from datasets.still import SUFFIXES as STILLS

from . import build
from .config import Config
from .figures import palette
from .inference import infer


@dataclass(frozen=True)
class Input:
    """A file to predict.

    Attributes:
        path: the image.
        name: what its outputs are called, without suffix; with the sub-folder it was found in.
    """

    path: Path
    name: str


def inputs(paths: Sequence[Path], volumes: bool, out: Path) -> list[Input]:
    """The images among files and folders, in order; folders with their sub-folders, but without the output's.

    Raises:
        DataError: a path that is not there, a folder without images, two images of one name.
    """
    suffixes = VOLUMES if volumes else STILLS
    found: dict[str, Input] = {}
    for path in dict.fromkeys(paths):
        if not path.exists():
            raise datasets.DataError(f"{path}: no such file or folder")
        files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.suffix.lower() in suffixes)
        if not files or files[0].suffix.lower() not in suffixes:
            raise datasets.DataError(f"{path}: no image here; expected files ending in {', '.join(suffixes)}")
        for file in files:
            if out.resolve() in file.resolve().parents:
                continue
            relative = file.name if path.is_file() else file.relative_to(path).as_posix()
            name = relative.removesuffix(file.suffix)
            if name in found:
                raise datasets.DataError(f"{file}: {found[name].path} would get the same output; predict them apart")
            found[name] = Input(file, name)
    return list(found.values())


@torch.no_grad()
def predict_file(
    path: Path, model: Any, adapter: datasets.Adapter, config: Config, fabric: Fabric
) -> Iterator[tuple[NDArray[Any], NDArray[np.float32]]]:
    """Each slice of an image file, and its logits at its own size.

    Args:
        path: a still, or a volume.
        model: the trained network, set up by Fabric, in evaluation mode.
        adapter: reads the file as it reads the images of its data set.
        config: of the run: the network's grid, the normalisation, how to infer.
        fabric: the device and the precision.

    Yields:
        `(rows, columns, channels)`, uint8 or float32 in [0, 1], and `(C, rows, columns)`.

    Raises:
        DataError: the file is unreadable, or of another kind than the data set's.
    """
    scaled = build.build_normalisation(config.data.normalise, adapter)(adapter.read_image(path))
    for plane in scaled.image:
        size = config.data.size or plane.shape[:2]
        shown = plane if size == plane.shape[:2] else resize_image(plane[np.newaxis], size)[0]
        image = torch.from_numpy(normalised(shown, scaled.mean, scaled.deviation))
        logits = infer(model, fabric.to_device(image[np.newaxis]), config.scores)
        logits = F.interpolate(logits, plane.shape[:2], mode="bilinear", align_corners=False)
        yield plane, logits[0].cpu().numpy()


def write_prediction(
    found: Iterator[tuple[NDArray[Any], NDArray[np.float32]]],
    one: Input,
    out: Path,
    adapter: datasets.Adapter,
    probabilities: bool,
) -> list[Path]:
    """Write the mask in the data set's own values, a coloured preview, and the probabilities where they are wanted.

    A still becomes `masks/NAME.png`, a volume `masks/NAME.mhd` in its own space; the preview is of the slice with most
    foreground; `probabilities/NAME.npy` is float16 `(slices, C, rows, columns)`.
    """
    labels, shares, most = [], [], -1
    preview = Image.new("RGB", (1, 1))
    for plane, logits in found:
        labels.append(logits.argmax(0).astype(np.uint8))
        foreground = int((labels[-1] != 0).sum())
        if foreground > most:
            most, preview = foreground, _preview(plane, labels[-1], len(adapter.classes))
        if probabilities:
            shares.append(torch.from_numpy(logits).softmax(0).numpy().astype(np.float16))
    values = adapter.labels.values_of(np.stack(labels))
    mask = out / "masks" / f"{one.name}{'.mhd' if adapter.volumetric else '.png'}"
    written = [mask, out / "preview" / f"{one.name}.png"]
    for path in written:
        path.parent.mkdir(parents=True, exist_ok=True)
    if adapter.volumetric:
        datasets.write_volume(datasets.Volume(values, datasets.read_volume(one.path).affine), written[0])
    else:
        _write(written[0], Image.fromarray(values[0]))
    _write(written[1], preview)
    if probabilities:
        written.append(out / "probabilities" / f"{one.name}.npy")
        written[-1].parent.mkdir(parents=True, exist_ok=True)
        content = BytesIO()
        np.save(content, np.stack(shares))
        write_atomically(written[-1], content.getvalue())
    return written


def write_classes(out: Path, adapter: datasets.Adapter) -> None:
    """`classes.json`: the value and the colour in the preview of each class."""
    colours = (palette(len(adapter.classes)) * 255).round().astype(int).tolist()
    values = adapter.labels.values_of(np.arange(len(adapter.classes))).tolist()
    each = zip(adapter.classes, values, colours, strict=True)
    content = {name: {"value": value, "colour": colour} for name, value, colour in each}
    write_atomically(out / "classes.json", json.dumps(content, indent=1).encode())


def _preview(plane: NDArray[Any], labels: NDArray[np.uint8], classes: int) -> Image.Image:
    """The image, half covered by the colours of the classes."""
    grey = plane.astype(np.float32) / (255 if plane.dtype == np.uint8 else 1)
    rgb = grey if grey.shape[-1] == 3 else np.repeat(grey[..., :1], 3, axis=-1)
    blended = 0.5 * rgb + 0.5 * palette(classes)[labels]
    return Image.fromarray((blended.clip(0, 1) * 255).round().astype(np.uint8))


def _write(path: Path, image: Image.Image) -> None:
    content = BytesIO()
    image.save(content, format="PNG")
    write_atomically(path, content.getvalue())
