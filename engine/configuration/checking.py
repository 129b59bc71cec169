"""A configuration checked whole, before any data is touched: every problem at once, each with its place."""

from __future__ import annotations

import inspect
import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError

import datasets
import models
import segloss
from segloss.aggregation import LABEL_METRICS, METRICS
from segloss.names import unknown
from segloss.pixelwise import PixelwiseLoss

from ..errors import ConfigError, UsageError
from . import build
from .config import (
    AdjustSection,
    Config,
    DataSection,
    FullConfig,
    LossSection,
    ModelSection,
    RampSection,
    ScoresSection,
    TrainSection,
)
from .explain import expected, explain
from .older import rename_keys
from .paths import expand_paths
from .source import Key, Node, load

Made = TypeVar("Made")


def load_config(path: Path, overrides: Sequence[str] = ()) -> Config:
    """Read, merge and check a configuration.

    Args:
        path: a YAML file.
        overrides: `a.b=value` arguments, laid over it.

    Raises:
        ConfigError: every problem found, one a line: `file:line:column: key: what is wrong`.
    """
    return check(load(path, overrides))


def load_saved(path: Path, overrides: Sequence[str] = (), ranges: bool = False) -> Config:
    """Read the configuration of a run that has begun, which was checked then; keys of earlier versions are translated.

    Args:
        path: its config.yaml.
        overrides: `a.b=value` arguments, laid over it.
        ranges: check not only the types, but the ranges too, as is needed before something is built.

    Raises:
        ConfigError: as of `load_config`.
    """
    root = load(path, overrides)
    rename_keys(root)
    valid, problems = _typed(root)
    if ranges:
        problems += _check_constructors(root, valid)
    if problems:
        raise ConfigError(_in_order(problems))
    return FullConfig.model_construct(**valid)


def check(root: Node, like: Config | None = None) -> Config:
    """Check a configuration that has been read; see `load_config`.

    What needs libraries that take seconds to import, the network and the transforms, is tried only where all else is
    right.

    Args:
        root: the configuration.
        like: one that has been checked; network and transforms are not tried again where they are its.
    """
    renamed = rename_keys(root)
    valid, wrong = _typed(root)
    if problems := [*renamed, *wrong, *_check_constructors(root, valid), *_check_installed(root, valid)]:
        raise ConfigError(_in_order(problems), partly=True)
    config = FullConfig.model_construct(**valid)  # its parts are valid; what is not given has its default
    resolved = build.with_resolved_data(config)
    if (like is None or _built_from(resolved) != _built_from(like)) and (problems := _check_built(root, config)):
        raise ConfigError(_in_order(problems))
    return resolved


def _typed(root: Node) -> tuple[dict[str, Any], list[str]]:
    """The sections whose types are right, and what is wrong with the others."""
    problems = [*_expand_adfl(root), *expand_paths(root)]
    valid: dict[str, Any] = {}
    for key, field in FullConfig.model_fields.items():
        if key not in root.value:
            if field.is_required():
                problems.append(f"{root.at}: {key}: missing; expected {expected(field.annotation)}")
            continue
        try:
            valid[key] = _type_of(key).validate_json(json.dumps(root.value[key].plain(), default=str), strict=True)
        except ValidationError as error:
            problems += explain(root, key, error)
    for key in root.value.keys() - FullConfig.model_fields.keys():
        problems.append(f"{root.value[key].at}: {unknown('key', key, [*FullConfig.model_fields, 'extends'])}")
    return valid, problems


def _built_from(config: Config) -> Any:
    """All that decides whether network and transforms can be built."""
    return config.data, config.model, config.train.batch_size, config.train.upsampled_loss, config.optim.layer_decay


@cache
def _type_of(key: str) -> TypeAdapter[Any]:
    """The type of a section, whose making takes longer than its use."""
    field = FullConfig.model_fields[key]
    kind: Any = Annotated[field.annotation, field]
    return TypeAdapter(kind)


def _in_order(problems: Sequence[str]) -> list[str]:
    return sorted(dict.fromkeys(problems), key=_position)


def _position(problem: str) -> tuple[str, int, int]:
    """Where a problem stands, to sort by: file, line, column; the command line comes last."""
    found = re.match(r"(.*?):(\d+):(\d+): ", problem)
    return (found[1], int(found[2]), int(found[3])) if found else ("\U0010ffff", 0, 0)


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
        acw = model.value.get("acw")
        if acw is None or acw.value is None:
            model.value["acw"] = Node(True, item.at)
        elif acw.value is False:
            yield f"{acw.at}: model.acw: false, but the loss adfl is dfl with model.acw: true; use the loss dfl"


class _Attempts:
    """Calls that may fail on a mistake of the user's, each at a place of the configuration.

    Args:
        root: the configuration as it was read.

    Attributes:
        problems: a line for each call that has failed.
    """

    def __init__(self, root: Node) -> None:
        self.root = root
        self.problems: list[str] = []

    def __call__(self, path: Sequence[Key], make: Callable[[], Made]) -> Made | None:
        """What a call gives; None where it fails, which is a problem at the path."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", segloss.ClassWeightWarning)
                warnings.simplefilter("ignore", models.WeightsWarning)
                warnings.filterwarnings("ignore", "for .*: copying from a non-meta parameter")  # it is only compared
                return make()
        except (ValueError, TypeError, MemoryError) as error:
            self.refuse(path, " ".join(str(error).split()))
            return None

    def refuse(self, path: Sequence[Key], message: str) -> None:
        """A problem at a path, or at the key there that the message begins with."""
        self.problems.append(_place(self.root, path, message))


class _Known(NamedTuple):
    """What the section `data` says, as far as it is right.

    Attributes:
        adapter: None where the section is wrong.
        regions: that are scored in place of classes.
        partial: whether some cases were labelled for some classes alone; false where the regions are wrong.
        outputs: of the network; None where the section is wrong.
    """

    adapter: datasets.Adapter | None = None
    regions: datasets.Regions | None = None
    partial: bool = False
    outputs: int | None = None


def _check_constructors(root: Node, valid: dict[str, Any]) -> list[str]:
    """Build what the valid sections name, but for network and transforms: each constructor checks its own ranges."""
    attempt = _Attempts(root)
    data, scores, losses = valid.get("data"), valid.get("scores"), valid.get("loss", [])
    train = valid.get("train") if "train" in root.value else TrainSection()
    known = _check_data(attempt, data) if data else _Known()
    if optim := valid.get("optim"):
        attempt(["optim"], lambda: build.check_optimizer(optim))
        attempt(["optim", "schedule"], lambda: build.build_schedule(optim))
    for index, section in enumerate(losses):
        _check_loss(attempt, index, section, known, train)
    if losses and not any(map(_counts, losses)):
        attempt.refuse(["loss"], "every weight is 0, so nothing would be learnt; give a loss a weight above 0")
    if model := valid.get("model"):
        attempt(["model"], lambda: _check_sources(model))
    if train and train.minutes and train.epochs:
        attempt.refuse(
            ["train"],
            f"minutes: {train.minutes:g}, but epochs is {train.epochs}; one of them rules, so set the other to null",
        )
    if train and known.adapter is not None:
        attempt(["train"], partial(_check_training, train, known.adapter))
    if scores and data:
        _check_scores(attempt, scores, known, data)
    if scores and train and scores.checkpoint == "average" and train.average is None:
        attempt.refuse(["scores"], "checkpoint: average needs train.average, such as {kind: ema}")
    if scores and scores.adjust and losses and not attempt.problems:
        attempt(["scores", "adjust"], lambda: _check_adjust(scores.adjust, losses, known.outputs or 2))
    return attempt.problems


def _check_data(attempt: _Attempts, data: DataSection) -> _Known:
    """Build what the section `data` names."""
    adapter = attempt(["data"], lambda: _adapter(data))
    attempt(["data", "split"], lambda: build.build_splitter(data))
    attempt(["data", "group"], lambda: _check_pattern(data.group))
    if adapter is None:
        return _Known()
    attempt(["data", "normalise"], partial(build.build_normalisation, data.normalise, adapter))
    attempt(["data", "sampler"], partial(_check_sampler, data, adapter))
    attempt(["data"], partial(_check_volumes, data, adapter))
    attempt(["data"], partial(_check_imbalance, data, adapter))
    labelled = attempt(["data", "labelled"], partial(_check_labelled, data, adapter))
    regions = attempt(["data", "regions"], partial(_check_regions, data, adapter))
    if regions and labelled:
        attempt(["data", "labelled"], partial(_check_labelled_regions, data, adapter, regions))
    is_partial = bool(labelled) and (regions is not None or not data.regions)
    return _Known(adapter, regions, is_partial, build.outputs(data, adapter))


def _check_loss(
    attempt: _Attempts, index: int, section: LossSection, known: _Known, train: TrainSection | None
) -> None:
    """Build one of the losses, and see whether it fits data and training.

    Args:
        attempt: takes problems.
        index: of the loss in its list.
        section: of the loss.
        known: of the data.
        train: None where the section is wrong.
    """
    place: list[Key] = ["loss", index]
    adapter, regions = known.adapter, known.regions
    ones = [1.0] * (known.outputs or 2)
    some = segloss.ClassCounts(ones, None if regions else ones, ones, None if regions else ones)
    loss = attempt(place, partial(build.build_loss, [section], known.outputs, some, 1))
    if loss is not None and adapter is not None:
        if adapter.kind == "label":
            attempt(place, partial(_check_label_loss, section, loss))
        if regions:
            attempt(place, partial(_check_region_loss, section, loss, len(regions.names), known.partial))
        elif known.partial:
            attempt(place, partial(_check_partial, loss, len(adapter.classes)))
    if loss is not None and train and train.upsampled_loss:
        attempt(["train"], partial(_check_upsampled, section.name, loss))
    first = getattr(loss, "from_epoch", None)
    if first is not None and train and train.epochs and first >= train.epochs:
        key = "drw_epoch" if getattr(section, "drw_epoch", None) is not None else "class_weights: from_epoch"
        attempt.refuse(place, f"{key}: {first} is never reached, train.epochs is {train.epochs} (epochs count from 0)")
    if train and train.minutes and isinstance(section.weight, RampSection):
        attempt.refuse(
            place, "weight: from and to are of the first and the last epoch, whose number train.minutes leaves open"
        )


def _counts(section: LossSection) -> bool:
    """Whether a loss has a weight above 0 in any epoch."""
    weight = section.weight
    return any(weight.model_dump().values()) if isinstance(weight, RampSection) else weight > 0


def _check_scores(attempt: _Attempts, scores: ScoresSection, known: _Known, data: DataSection) -> None:
    """See whether what is scored fits the data."""
    adapter = known.adapter
    if adapter is not None:
        attempt(["scores"], lambda: _check_background(scores, adapter))
        attempt(["scores", "primary"], lambda: _check_primary(scores, adapter))
        for key in ("adjust", "largest_component", "background") if known.regions else ():
            if getattr(scores, key):
                attempt.refuse(["scores"], f"{key}: is for classes, but data.regions are scored; leave it out")
        if known.partial and scores.adjust:
            attempt.refuse(
                ["scores"],
                "adjust: is fitted on masks of all classes, which by data.labelled some are not; leave it out",
            )
        if adapter.kind == "label":
            attempt(["scores"], lambda: _check_label_scores(scores))
    attempt(["scores", "window"], lambda: _check_window(scores.window, data.size))


def _check_installed(root: Node, valid: dict[str, Any]) -> Iterator[str]:
    """What a section asks for that must be installed beside the program."""
    if (train := valid.get("train")) and train.tensorboard and find_spec("tensorboard") is None:
        yield _place(root, ["train", "tensorboard"], "TensorBoard is not installed: pip install tensorboard")
    if train and train.wandb and find_spec("wandb") is None:
        yield _place(root, ["train", "wandb"], "Weights & Biases is not installed: pip install '.[wandb]'")
    cluster = ablation.cluster if (ablation := valid.get("ablation")) else None
    if cluster and find_spec("dask_jobqueue") is None:
        message = f"{cluster.name} needs dask-jobqueue: pip install '.[cluster]'"
        yield _place(root, ["ablation", "cluster", "name"], message)


def _check_built(root: Node, config: Config) -> list[str]:
    """Build network and transforms, and try them on an empty image."""
    attempt = _Attempts(root)
    adapter = _adapter(config.data)
    for index, transform in enumerate(config.data.augment):
        resident = config.data.resident is True
        attempt(["data", "augment", index], partial(_check_transform, transform.model_dump(), resident))
    if not attempt.problems:
        attempt(["data", "augment"], lambda: _check_augmentation(config.data, adapter))
    attempt(["model"], lambda: _check_model(config, adapter))
    return attempt.problems


def _adapter(data: DataSection) -> datasets.Adapter:
    """The adapter, once it knows its classes and channels, which some read from a file of the data set."""
    adapter = build.build_adapter(data)
    _ = adapter.classes, adapter.channels
    return adapter


def _place(root: Node, path: Sequence[Key], message: str) -> str:
    """A constructor's message at the key it begins with, of the section or (dotted) of another, or at the section."""
    section, keys = root.find(path)
    first = message.split(" ")[0].strip(":,;")
    for wanted in ([*keys, first], first.split(".")):
        node, found = root.find(wanted)
        if len(wanted) > 1 and found == wanted:
            return f"{node.at}: {'.'.join(map(str, wanted))}: {message.removeprefix(first).strip(': ')}"
    return f"{section.at}: {'.'.join(map(str, keys))}: {message}"


def _check_transform(section: dict[str, Any], resident: bool) -> None:
    """Build a transform, and with `data.resident: true` its device form."""
    name = section["name"]
    if name not in datasets.TRANSFORMS:
        raise ValueError(unknown("transform", name, datasets.TRANSFORMS))
    allowed = [*inspect.signature(datasets.TRANSFORMS[name]).parameters]
    foreign = [unknown("key", key, allowed) for key in section if key not in ("name", *allowed)]
    if foreign:
        raise ValueError(f"{name}: {'; '.join(foreign)}")
    datasets.build_transform(**section)
    if resident:
        try:
            datasets.device_form(**section)
        except ValueError as error:
            raise ValueError(f"{error}; or set data.resident: false") from error


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


def _check_sources(section: ModelSection) -> None:
    if section.pretrained is not None and section.init_from is not None:
        raise ValueError("init_from: the weights come from a run, so pretrained must be null")


def _check_model(config: Config, adapter: datasets.Adapter) -> None:
    """Build the network, shapes only; files of initial weights are read, published weights are not fetched."""
    section, channels = config.model, build.input_channels(config.data, adapter)
    of_labels = adapter.kind == "label"
    if of_labels != (section.name in models.LABEL_MODELS):
        right = [name for name in models.MODELS if (name in models.LABEL_MODELS) == of_labels]
        what, holds = ("masks", "one label a picture") if of_labels else ("one label a picture", "masks")
        raise ValueError(f"{section.name} is for {what}, but {config.data.name} holds {holds}; use {', '.join(right)}")
    models.check_pretrained(section.name, section.pretrained, getattr(section, "encoder", None))
    source = "pretrained" if section.init_from is None else "init_from"
    if section.pretrained is not None and not models.is_file(section.pretrained):
        section = build.without_files(section)
    try:
        network = build.build_model(section, build.outputs(config.data, adapter), channels, 0, shapes_only=True)
    except (models.WeightsError, UsageError) as error:
        raise ValueError(f"{source}: {error}") from error
    if config.optim.layer_decay is not None and network.encoder is None:
        raise ValueError(
            f"optim.layer_decay: is of the layers of an encoder, which {section.name} has not; leave it out"
        )
    network.parameter_groups(0.0, config.optim.decay, config.optim.layer_decay)
    if config.train.upsampled_loss and network.coarse_heads:
        raise ValueError("train.upsampled_loss: does not go with deep supervision; set deep_supervision: false")
    if config.data.size is not None:
        _check_size(network, config.data.size, channels)
    if network.whole_image and config.train.batch_size == 1:
        raise ValueError("train.batch_size: 1 is one label a step; use 2 or more")
    if network.pools_image and config.train.batch_size == 1:
        raise ValueError(
            f"train.batch_size: 1, but {section.name} has batch normalisation over one value an image; use 2 or more, "
            "with train.accumulate: if memory is short"
        )
    if config.data.size is not None and config.train.batch_size == 1:
        _check_single(network, config.data.size, channels)


def _check_upsampled(name: str, loss: build.Loss) -> None:
    """The loss must work slab by slab."""
    try:
        segloss.upsampled(loss, (1, 1))
    except ValueError as error:
        raise ValueError(
            f"upsampled_loss: true does not work with the loss {name}, which ranks or draws over all pixels; use false"
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


def _check_single(network: models.SegmentationModel, size: tuple[int, int], channels: int) -> None:
    """Pass one image through the network as it trains, shapes only."""
    try:
        with suppress(NotImplementedError):  # an operation that has no shapes-only form
            network.train().to("meta")(torch.zeros(1, channels, *size, device="meta"))
    except ValueError as error:  # of batch normalisation
        raise ValueError(
            f"train.batch_size: 1, but at data.size {list(size)} the network has batch normalisation over one value an "
            "image; use 2 or more, larger images, or a network of less depth"
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


def _check_adjust(adjust: AdjustSection, losses: Sequence[LossSection], classes: int) -> None:
    """The adjustment must suit what the loss makes of the logits."""
    activation = build.activation(losses, classes)
    if adjust.kind == "prior" and activation != "softmax":
        raise ValueError(
            f"kind: prior is Bayes' rule for softmax probabilities, but the loss {losses[0].name} trains {activation} "
            "outputs; use {kind: offsets}"
        )
    if adjust.kind == "temperature" and activation == "none":
        raise ValueError(
            f"kind: temperature needs probabilities, but the loss {losses[0].name} trains none; use {{kind: offsets}}"
        )


def _check_imbalance(data: DataSection, adapter: datasets.Adapter) -> None:
    if data.imbalance is None:
        return
    if adapter.kind != "label":
        raise ValueError(f"imbalance: is for pictures with one label, but {data.name} holds masks; leave it out")
    if data.imbalance.largest is not None and data.imbalance.largest < data.imbalance.factor:
        raise ValueError(
            f"imbalance: factor {data.imbalance.factor:g} leaves the rarest class nothing of largest: "
            f"{data.imbalance.largest}; raise largest, or lower the factor"
        )


def _check_labelled(data: DataSection, adapter: datasets.Adapter) -> bool:
    """Whether cases were labelled for some classes alone: others are part of the first, the background."""
    labelled = build.labelled(data)
    if labelled and adapter.kind == "label":
        raise ValueError("is for masks, but a picture here has one label; leave it out")
    if labelled and datasets.background_index(adapter.classes) != 0:
        raise ValueError(
            "needs a class named background, the first of data.labels: what a case was not labelled for is part of it"
        )
    for case, names in labelled.items():
        if not names:
            raise ValueError(f"{case}: names no class; leave such cases out with data.exclude")
        for name in names:
            if name not in adapter.classes:
                raise ValueError(f"{case}: {unknown('class', name, adapter.classes)}")
    return bool(labelled)


def _check_regions(data: DataSection, adapter: datasets.Adapter) -> datasets.Regions | None:
    """Build the regions; what does not go together with them is refused."""
    if data.regions and adapter.kind == "label":
        raise ValueError("is for masks, but a picture here has one label; leave it out")
    for name in data.regions:
        if name in ("", "..") or Path(name).name != name:
            raise ValueError(f"{name!r} cannot name a folder, which `predict` makes for its masks; rename the region")
    return build.build_regions(data, adapter)


def _check_labelled_regions(data: DataSection, adapter: datasets.Adapter, regions: datasets.Regions) -> None:
    """A case must be labelled for all classes of a region, or for none: of a part nothing is known of the whole."""
    for case, names in build.labelled(data).items():
        for region, members in zip(regions.names, regions.members.tolist(), strict=True):
            own = [name for name, inside in zip(adapter.classes[1:], members[1:], strict=True) if inside]
            lacking = [name for name in own if name not in names]
            if 0 < len(lacking) < len(own):
                raise ValueError(
                    f"{case}: lacks {', '.join(lacking)} of the region {region}, which a case is labelled for as a "
                    "whole; name all of its classes, or none"
                )


def _check_region_loss(section: LossSection, loss: build.Loss, regions: int, partial_labels: bool) -> None:
    """The loss must take each region by itself, learn what lies in none, and leave out what is not labelled."""
    if loss.activation != "sigmoid":
        raise ValueError(
            f"name: {section.name} is for classes that exclude each other, but data.regions overlap; use sigmoid_ce or "
            "sigmoid_focal, or dice, iou or tversky with sigmoid: true"
        )
    if isinstance(loss, PixelwiseLoss) and loss.class_weights is not None:
        key = "class_weights" if hasattr(section, "class_weights") else f"name: {section.name}"
        raise ValueError(
            f"{key}: a pixel weighs by the regions that it is in, so the background, which is in none of data.regions, "
            "would weigh 0 and never be learnt; use sigmoid_ce or sigmoid_focal without class weights, or give them to "
            "dice, iou or tversky"
        )
    target = torch.zeros(2, regions, 2, 2, dtype=torch.bool)
    labelled = torch.ones(2, regions, dtype=torch.bool) if partial_labels else None
    loss(torch.zeros(2, regions, 2, 2), target, mask=torch.ones(2, 2, 2, dtype=torch.bool), labelled=labelled)


def _check_partial(loss: build.Loss, classes: int) -> None:
    """The loss must take partial labels; it says itself where it does not."""
    known = torch.ones(2, classes, dtype=torch.bool)
    loss(torch.zeros(2, classes, 2, 2), torch.zeros(2, 2, 2, dtype=torch.long), labelled=known)


def _check_label_loss(section: LossSection, loss: build.Loss) -> None:
    """A loss of regions, of orders or of distances has nothing to see in one label a picture."""
    over_batch = isinstance(loss, segloss.DiceLoss) and not loss.per_image
    if isinstance(loss, segloss.TopKLoss) or (not isinstance(loss, PixelwiseLoss) and not over_batch):
        raise ValueError(
            f"name: {section.name} is for masks, but a picture here has one label; use a loss per pixel, such as ce, "
            "or dice over the batch, which relaxes macro F1"
        )
    weights = getattr(section, "class_weights", None)
    if weights == "median_frequency" or (isinstance(weights, dict) and weights.get("name") == "median_frequency"):
        raise ValueError("class_weights: median_frequency is 1 for every class where a picture has one label")


def _check_training(train: TrainSection, adapter: datasets.Adapter) -> None:
    """What suits one kind of data alone."""
    of_labels = adapter.kind == "label"
    if train.upsampled_loss and of_labels:
        raise ValueError("upsampled_loss: is for masks, but a picture here has one label; leave it out")
    if train.mix is not None and not of_labels:
        raise ValueError("mix: is for pictures with one label, but an image here has a mask; leave it out")
    if train.mix is not None and train.batch_size < 2 * train.devices:
        raise ValueError(f"batch_size: {train.batch_size} leaves a picture none to be mixed with; use more")


def _check_label_scores(scores: ScoresSection) -> None:
    """What is for masks alone."""
    for key in ("background", "grid", "window", "overlap", "largest_component", "tolerance", "adjust", "ensemble"):
        if getattr(scores, key) != type(scores).model_fields[key].default:
            raise ValueError(f"{key}: is for masks, but a picture here has one label; leave it out")


def _check_primary(scores: ScoresSection, adapter: datasets.Adapter) -> None:
    """The metric must be one of the kind of the data."""
    if scores.primary is None:
        return
    of_labels, metric = adapter.kind == "label", scores.primary.metric
    if of_labels != (metric in LABEL_METRICS):
        allowed = ", ".join(LABEL_METRICS if of_labels else METRICS)
        holds = "has one label" if of_labels else "has a mask"
        raise ValueError(f"metric: {metric} does not fit, since a picture here {holds}; allowed: {allowed}")
    if of_labels and scores.primary.aggregation not in (None, "dataset"):
        raise ValueError("aggregation: is for masks, but a picture here has one label; leave it out")
    if not of_labels and scores.primary.aggregation is None:
        raise ValueError("aggregation: missing; expected one of dataset, case, image")


def _check_volumes(data: DataSection, adapter: datasets.Adapter) -> None:
    """What is for volumes alone, and what of it does not go together."""
    for key, default in (("spacing", None), ("slices", "all"), ("context", 0)):
        if adapter.kind != "volume" and getattr(data, key) != default:
            holds = "stills" if adapter.kind == "still" else "pictures with one label"
            raise ValueError(f"{key}: is for volumes, but {data.name} holds {holds}; leave it out")
    if data.slices != "all" and adapter.background is None:
        raise ValueError("slices: needs a class named background to tell foreground from; use all")
