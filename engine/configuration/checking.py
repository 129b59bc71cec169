"""A configuration checked whole, before any data is touched: every problem at once, each with its place."""

from __future__ import annotations

import inspect
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

import datasets
import models
import segloss
from segloss.names import unknown

from ..errors import ConfigError, UsageError
from . import build
from .config import Config, DataSection, FullConfig, LossSection, ScoresSection
from .explain import expected, explain
from .older import rename_keys
from .source import Key, Node, load


def load_config(path: Path, overrides: Sequence[str] = (), trained: bool = False) -> Config:
    """Read, merge and check a configuration.

    Args:
        path: a YAML file.
        overrides: `a.b=value` arguments, laid over it.
        trained: of a run that has begun, which needs the files of its initial weights no more.

    Raises:
        ConfigError: every problem found, one a line: `file:line:column: key: what is wrong`.
    """
    return check(load(path, overrides), trained)


def check(root: Node, trained: bool = False) -> Config:
    """Check a configuration that has been read; see `load_config`."""
    renamed = rename_keys(root)
    problems = [] if trained else renamed
    problems += _expand_adfl(root)
    valid: dict[str, Any] = {}
    for key, field in FullConfig.model_fields.items():
        if key not in root.value:
            if field.is_required():
                problems.append(f"{root.at}: {key}: missing; expected {expected(field.annotation)}")
            continue
        try:
            kind: Any = Annotated[field.annotation, field]
            valid[key] = TypeAdapter(kind).validate_json(_json(root.value[key]), strict=True)
        except ValidationError as error:
            problems += explain(root, key, error)
    for key in root.value.keys() - FullConfig.model_fields.keys():
        problems.append(f"{root.value[key].at}: {unknown('key', key, [*FullConfig.model_fields, 'extends'])}")
    problems += _check_constructors(root, valid, trained)
    if problems:
        raise ConfigError(sorted(dict.fromkeys(problems), key=_position))
    config: Config = FullConfig.model_validate_json(_json(root))
    return config


def _position(problem: str) -> tuple[str, int, int]:
    """Where a problem stands, to sort by: file, line, column; the command line comes last."""
    found = re.match(r"(.*?):(\d+):(\d+): ", problem)
    return (found[1], int(found[2]), int(found[3])) if found else ("\U0010ffff", 0, 0)


def _json(node: Node) -> str:
    return json.dumps(node.plain(), default=str)


def _expand_adfl(root: Node) -> Iterator[str]:
    """`adfl` is dfl on a network with adaptive class weights; it becomes both."""
    loss, model = root.value.get("loss"), root.value.get("model")
    if loss is None:
        return
    for item in loss.value if isinstance(loss.value, list) else [loss]:
        if not isinstance(item.value, dict) or "name" not in item.value or item.value["name"].value != "adfl":
            continue
        item.value["name"] = Node("dfl", item.value["name"].at)
        if model is None or not isinstance(model.value, dict):
            continue
        acw = model.value.setdefault("acw", Node(True, item.at))
        if acw.value is False:
            yield f"{acw.at}: model.acw: false, but the loss adfl is dfl with model.acw: true; use the loss dfl"


def _check_constructors(root: Node, valid: dict[str, Any], trained: bool) -> list[str]:
    """Build what the valid sections name, so that each constructor checks its own ranges."""
    problems: list[str] = []

    def attempt(path: Sequence[Key], make: Callable[[], Any]) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", segloss.ClassWeightWarning)
                warnings.simplefilter("ignore", models.WeightsWarning)
                return make()
        except (ValueError, TypeError, MemoryError) as error:
            problems.append(_place(root, path, " ".join(str(error).split())))
            return None

    adapter = None
    if data := valid.get("data"):
        adapter = attempt(["data"], lambda: _adapter(data))
        attempt(["data", "split"], lambda: build.build_splitter(data.split))
        attempt(["data", "group"], lambda: _check_pattern(data.group))
        if adapter is not None:
            attempt(["data", "normalise"], lambda: build.build_normalisation(data.normalise, adapter))
            attempt(["data", "sampler"], lambda: _check_sampler(data, adapter))
            attempt(["data"], lambda: _check_volumes(data, adapter))
    transforms = len(problems)
    augment, path = root.find(["data", "augment"])
    for index, transform in enumerate(augment.value if len(path) == 2 and isinstance(augment.value, list) else []):
        if isinstance(transform.value, dict) and "name" in transform.value:
            attempt([*path, index], partial(_check_transform, transform.plain()))
    if adapter is not None and len(problems) == transforms:
        attempt(["data", "augment"], lambda: _check_augmentation(valid["data"], adapter))
    if optim := valid.get("optim"):
        attempt(["optim"], lambda: build.check_optimizer(optim))
        attempt(["optim", "schedule"], lambda: build.build_schedule(optim))
    classes = None if adapter is None else len(adapter.classes)  # unknown where the data section is wrong
    ones = [1.0] * (classes or 2)
    some = segloss.ClassCounts(ones, ones, ones, ones)
    for index, section in enumerate(valid.get("loss", [])):
        attempt(["loss", index], partial(build.build_loss, [section], classes, some))
        if getattr(valid.get("train"), "upsampled_loss", False):
            attempt(["train"], partial(_check_upsampled, section, classes, some))
        drw, epochs = getattr(section, "drw_epoch", None), getattr(valid.get("train"), "epochs", None)
        if drw is not None and epochs is not None and drw >= epochs:
            message = f"drw_epoch: {drw} is never reached, train.epochs is {epochs} (epochs count from 0)"
            problems.append(_place(root, ["loss", index], message))
    if "model" in valid:
        channels = 3 if adapter is None else build.input_channels(valid["data"], adapter)
        attempt(["model"], lambda: _check_model(valid, classes or 2, channels, trained))
    if adapter is not None and "scores" in valid:
        attempt(["scores"], lambda: _check_background(valid["scores"], adapter))
    if "data" in valid and "scores" in valid:
        attempt(["scores", "window"], lambda: _check_window(valid["scores"].window, valid["data"].size))
    cluster = getattr(valid.get("ablation"), "cluster", None)
    if cluster is not None and find_spec("dask_jobqueue") is None:
        message = f"name: {cluster.name} needs dask-jobqueue: pip install '.[cluster]'"
        problems.append(_place(root, ["ablation", "cluster"], message))
    if "train" in valid and valid["train"].tensorboard and find_spec("tensorboard") is None:
        problems.append(_place(root, ["train", "tensorboard"], "TensorBoard is not installed: pip install tensorboard"))
    return problems


def _adapter(data: DataSection) -> datasets.Adapter:
    """The adapter, once it knows its classes and channels, which some read from a file of the data set."""
    adapter = build.build_adapter(data)
    _ = adapter.classes, adapter.channels
    return adapter


def _place(root: Node, path: Sequence[Key], message: str) -> str:
    """A constructor's message at the key it begins with, or at its section."""
    section, keys = root.find(path)
    first = message.split(" ")[0].strip(":,;")
    if isinstance(section.value, dict) and first in section.value:
        rest = message.removeprefix(first).strip(": ")
        return f"{section.value[first].at}: {'.'.join(map(str, [*keys, first]))}: {rest}"
    return f"{section.at}: {'.'.join(map(str, keys))}: {message}"


def _check_transform(section: dict[str, Any]) -> None:
    name = section["name"]
    if name not in datasets.TRANSFORMS:
        raise ValueError(unknown("transform", name, datasets.TRANSFORMS))
    allowed = [*inspect.signature(datasets.TRANSFORMS[name]).parameters]
    foreign = [unknown("key", key, allowed) for key in section if key not in ("name", *allowed)]
    if foreign:
        raise ValueError(f"{name}: {'; '.join(foreign)}")
    datasets.build_transform(**section)


def _check_augmentation(data: DataSection, adapter: datasets.Adapter) -> None:
    """Try the transforms on an empty image: they must work, and give one size where the network's grid is set."""
    augmentation = build.build_augmentation(data)
    if augmentation is None:
        return
    size = data.size or (1024, 1024)
    stills = np.uint8 if build.build_normalisation(data.normalise, adapter).keeps_bytes else np.float32
    image = np.zeros((*size, build.input_channels(data, adapter)), stills)
    sizes = augmentation.sizes(image)
    if data.size is not None and len(sizes) > 1:
        shown = ", ".join(f"{width}x{height}" for height, width in sorted(sizes)[:3])
        raise ValueError(f"gives images of different sizes ({shown}), but a batch needs one; end with a RandomCrop")


def _check_pattern(pattern: str | None) -> None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression ({error})") from error


def _check_sampler(data: DataSection, adapter: datasets.Adapter) -> None:
    """Build the sampler; it must suit the classes of the data set."""
    if build.build_sampler(data.sampler).needs_background and adapter.background is None:
        name = data.sampler.name if data.sampler else ""
        raise ValueError(f"{name} needs a class named background, which this data set does not have; use rare")


def _check_model(valid: dict[str, Any], classes: int, channels: int, trained: bool) -> None:
    """Build the network; files of initial weights are read, published weights are not fetched."""
    section = valid["model"]
    models.check_pretrained(section.name, section.pretrained, getattr(section, "encoder", None))
    if section.pretrained is not None and section.init_from is not None:
        raise ValueError("init_from: the weights come from a run, so pretrained must be null")
    source = "pretrained" if section.init_from is None else "init_from"
    published = section.pretrained is not None and not models.is_file(section.pretrained)
    if trained or published:
        section = build.without_files(section)
    try:
        network = build.build_model(section, classes, channels, seed=0)
    except (models.WeightsError, UsageError) as error:
        raise ValueError(f"{source}: {error}") from error
    if "data" in valid and valid["data"].size is not None:
        _check_size(network, valid["data"].size, channels)
    if network.pools_image and "train" in valid and valid["train"].batch_size == 1:
        raise ValueError(
            f"{section.name} has batch normalisation over one value an image and cannot train with "
            "train.batch_size: 1; use 2 or more, with train.accumulate: if memory is short"
        )


def _check_upsampled(section: LossSection, classes: int | None, counts: segloss.ClassCounts) -> None:
    """The loss must work slab by slab; what else is wrong with it is told elsewhere."""
    try:
        loss = build.build_loss([section], classes, counts)
    except (ValueError, TypeError):
        return
    try:
        segloss.upsampled(loss, (1, 1))
    except ValueError as error:
        raise ValueError(
            f"upsampled_loss: true does not work with the loss {section.name}, which ranks or draws over all pixels; "
            "use false"
        ) from error


def _check_size(network: models.SegmentationModel, size: tuple[int, int], channels: int) -> None:
    """Pass an image of the size through the network, shapes only: some encoders take images of one size alone."""
    try:
        network.eval().to("meta")(torch.zeros(1, channels, *size, device="meta"))
    except NotImplementedError:  # an operation that has no shapes-only form
        return
    except (RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"the network cannot take images of data.size {list(size)}: {reason}; use another encoder"
        ) from error


def _check_window(window: tuple[int, int] | None, size: tuple[int, int] | None) -> None:
    """Windows slide over what the network sees, which is not larger than data.size."""
    if window is not None and size is not None and (window[0] > size[0] or window[1] > size[1]):
        raise ValueError(
            f"{list(window)} is larger than the network's grid, data.size: {list(size)}; for windows over whole images "
            "train with data.size: null and crops in data.augment"
        )


def _check_background(scores: ScoresSection, adapter: datasets.Adapter) -> None:
    if adapter.background is None and scores.background == "exclude":
        raise ValueError("background: exclude, but this data set has no class named background; use include")
    if adapter.background is None and scores.largest_component:
        raise ValueError("largest_component: this data set has no class named background for the rest to become")


def _check_volumes(data: DataSection, adapter: datasets.Adapter) -> None:
    """What is for volumes alone, and what of it does not go together."""
    for key, default in (("spacing", None), ("slices", "all"), ("context", 0)):
        if adapter.kind != "volume" and getattr(data, key) != default:
            raise ValueError(f"{key}: is for volumes, but {data.name} holds stills; leave it out")
    if data.slices != "all" and adapter.background is None:
        raise ValueError("slices: needs a class named background to tell foreground from; use all")
    if isinstance(adapter, datasets.Dicom):
        return  # whose spacing may also be what its files do not say
    if data.spacing is not None and data.size is not None and data.spacing[1:] != (None, None):
        raise ValueError(
            f"spacing: {list(data.spacing)} resamples rows and columns, and so does data.size: {list(data.size)}; use "
            f"[{data.spacing[0] or 'null'}, null, null], or data.size: null with PadIfNeeded and a crop in data.augment"
        )
