"""What an exported graph takes and gives, and what it leaves to whoever runs it: the JSON file beside it."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

import datasets
import segloss
from datasets.normalise import ImageNet
from datasets.scan import AXES

from ..configuration import build
from ..configuration.config import Config, DataSection
from ..configuration.named import parameters
from ..errors import UsageError
from ..scoring.adjustment import known_adjustment
from ..scoring.trained import Trained
from ..store import formats
from ..store.files import read_json

Engine = Literal["onnx", "torch"]
"""What runs an exported network: onnxruntime, or torch alone."""
FILES: dict[str, str] = {"onnx": "model.onnx", "torch": "model.pt2"}
LOADED_BY: dict[str, str] = {
    "onnx": "onnxruntime.InferenceSession(file)",
    "torch": "torch.export.load(file).module(check_guards=False)",
}
FOLDER = "exported"
INPUT = "image"


class Form(NamedTuple):
    """What the graph of a run takes and does.

    Attributes:
        size: rows and columns of every image; None for any.
        channels: of an image.
        normalises: it takes RGB from 0 to 255; otherwise images that are normalised.
        windowed: it takes windows, and mirroring is left out too; otherwise whole images.
    """

    size: tuple[int, int] | None
    channels: int
    normalises: bool
    windowed: bool

    @classmethod
    def of(cls, config: Config, adapter: datasets.Adapter) -> Form:
        """What a configuration makes of it."""
        windowed = config.scores.window is not None
        by_image = isinstance(build.build_normalisation(config.data.normalise, adapter), ImageNet)
        size, channels = config.scores.window or config.data.size, build.input_channels(config.data, adapter)
        return cls(size, channels, by_image and not windowed, windowed)

    def in_words(self) -> str:
        """What the graph takes."""
        if self.size is None:
            return "images of any size"
        return f"{'windows' if self.windowed else 'images'} of {self.size[0]}x{self.size[1]}"


def described(trained: Trained, form: Form, engine: Engine, outputs: list[str], content: bytes) -> dict[str, Any]:
    """What the JSON file says.

    Args:
        trained: what is exported.
        content: of the graph's file.
        form: of the graph.
        engine: that runs it.
        outputs: their names.
    """
    config, adapter = trained.config, trained.adapter
    names = [*adapter.classes]
    values = adapter.labels.values_of(np.arange(len(names))).tolist() if adapter.kind != "label" else names
    rows, columns = form.size or ("rows", "columns")
    places = [rows, columns] if adapter.kind != "label" else [1, 1]
    return {
        "format": formats.EXPORT,
        "segloss": segloss.__version__,
        "file": FILES[engine],
        "sha256": hashlib.sha256(content).hexdigest(),
        "load": LOADED_BY[engine],
        "of": origin(trained),
        "input": {
            "name": INPUT,
            "dtype": "float32",
            "shape": ["images", form.channels, rows, columns],
            "values": "RGB, 0 to 255 (16-bit values divided by 257)" if form.normalises else "normalised",
        },
        "outputs": {name: ["images", build.outputs(config.data, adapter), *places] for name in outputs},
        "classes": [{"name": name, "value": value} for name, value in zip(names, values, strict=True)],
        "before": [*_before(config, adapter, form)],
        "after": [*_after(config, adapter)],
    }


def _before(config: Config, adapter: datasets.Adapter, form: Form) -> Iterator[dict[str, Any]]:
    """What becomes of an image before the graph sees it, in order."""
    data, scores = config.data, config.scores
    own = parameters(data, DataSection)
    if adapter.kind == "volume":
        how = (
            "reorder the voxels so that columns, rows and slices grow towards these sides of the patient; no resampling"
        )
        yield {"step": "orient", "axes": AXES[own.get("slice_axis", "axial")], "how": how}
    if own.get("exif"):
        yield {"step": "turn", "how": "as the EXIF orientation says"}
    if own.get("to_grey"):
        yield {"step": "grey", "how": "of colours the luminance, 0.299 R + 0.587 G + 0.114 B, rounded"}
    normalisation = build.build_normalisation(data.normalise, adapter)
    name = next(name for name, kind in datasets.NORMALISATIONS.items() if isinstance(normalisation, kind))
    if not form.normalises:
        how = {
            "imagenet": "divide by 255 (16 bits by 65535), subtract the mean and divide by the deviation once it is "
            "resized",
            "percentile": "each channel of a case: clip to its percentiles (nonzero: of the voxels that are not 0) and "
            "scale to [0, 1]; subtract the mean of that and divide by its deviation once it is resized",
            "min_max": "each channel of a case: scale its least and largest value to 0 and 1",
            "window": "clip to low and high, and scale them to 0 and 1",
        }[name]
        numbers = vars(normalisation)
        if isinstance(normalisation, ImageNet):
            numbers = {"mean": normalisation.mean, "deviation": normalisation.deviation}
        yield {"step": "normalise", "by": name, **numbers, "how": how}
    if data.size is not None or (data.spacing is not None and adapter.kind == "volume"):
        how = (
            "OpenCV: rows and columns that shrink by INTER_AREA, then those that grow by INTER_LINEAR; slices alike, "
            "averaged or linearly"
        )
        to = {key: list(value) for key in ("size", "spacing") if (value := getattr(data, key)) is not None}
        yield {"step": "resize", **to, "how": how}
    if data.context:
        slices = [*range(-data.context, data.context + 1)]
        yield {
            "step": "stack",
            "slices": slices,
            "how": "as channels, all of a slice together; beyond the ends the last one is repeated",
        }
    if scores.window is not None:
        how = "MONAI's sliding_window_inference with Gaussian weights; smaller images are padded with 0"
        yield {"step": "windows", "size": list(scores.window), "overlap": scores.overlap, "how": how}
        if scores.flip:
            yield {"step": "mirror", "how": "the mean of the logits with those of the image mirrored left to right"}


def _after(config: Config, adapter: datasets.Adapter) -> Iterator[dict[str, Any]]:
    """What becomes of the logits, in order."""
    if adapter.kind != "label":
        how = "to the image's own rows and columns, bilinear, corners not aligned; slices linearly"
        yield {"step": "resize", "how": how}
    if config.data.regions:
        regions = build.build_regions(config.data, adapter)
        assert regions is not None
        members = {
            name: [adapter.classes[index] for index, inside in enumerate(row) if inside]
            for name, row in zip(regions.names, regions.members.tolist(), strict=True)
        }
        how = "a pixel is in a region where its logit is above 0; of nested regions the last one's class stands"
        yield {"step": "regions", "regions": members, "how": how}
    else:
        yield {"step": "argmax"}
    if config.scores.largest_component:
        yield {"step": "largest component", "how": "of each class of a case; the rest is background"}
    if adapter.kind == "volume":
        yield {"step": "orient", "how": "back to the order of the voxels in the file"}


def origin(trained: Trained) -> dict[str, Any]:
    """What a graph was made of: of another checkpoint, or of other rules of inference, it is another graph."""
    inside = {"window", "adjust"} if trained.config.scores.window else {"window", "flip", "adjust"}
    scores = trained.config.scores.model_dump(mode="json", include=inside)
    fitted = [known_adjustment(run, trained.checkpoint, trained.config) for run in trained.runs]
    scores["fitted"] = [None if one is None else [one.temperature, list(one.offsets or ())] for one in fitted]
    members = [member.checkpoint(trained.checkpoint) for run in trained.runs for member in run.members]
    weights = [hashlib.sha256(path.read_bytes()).hexdigest() for path in members]
    return {"checkpoint": trained.checkpoint, "scores": scores, "weights": weights}


def read(trained: Trained, engine: Engine) -> bytes:
    """The file of a graph, once the JSON file beside it has been read.

    Raises:
        UsageError: one of the two is missing or damaged, or of another version, of other weights or of other rules
            than are asked for.
    """
    path = trained.path / FOLDER / FILES[engine]
    beside = path.with_name(f"{path.name}.json")
    asked = " ".join(["", "--checkpoint", trained.checkpoint, *map(shlex.quote, trained.overrides)])
    again = f"python train_seg.py export {trained.path} --format {engine}{asked}"
    if not (path.is_file() and beside.is_file()):
        raise UsageError(f"--engine {engine}: {path} and {beside.name} are not there; make them: {again}")
    found, content = read_json(beside), path.read_bytes()
    if not isinstance(found, dict) or found.get("format") is None:
        raise UsageError(f"{beside}: not what export writes; export again: {again}")
    formats.refuse_newer(beside, found["format"], formats.EXPORT)
    of, wanted = found.get("of"), origin(trained)
    if of != wanted:
        differ = [key for key in wanted if not isinstance(of, dict) or of.get(key) != wanted[key]]
        raise UsageError(
            f"{path}: exported with other {' and '.join(differ)} than are asked for; export again: {again}"
        )
    if found.get("sha256") != hashlib.sha256(content).hexdigest():
        raise UsageError(f"{path}: not what {beside.name} describes, or damaged; remove both and export again: {again}")
    return content
