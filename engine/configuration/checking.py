"""A configuration checked whole, before any data is touched: every problem at once, each with its place."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

import datasets
import models
import segloss
from segloss.names import unknown

from ..errors import ConfigError
from . import build, fitting
from .config import Config, DataSection, FullConfig, LossSection, RampSection, ScoresSection, TrainSection
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
        attempt(["model"], lambda: fitting.check_sources(model))
    if train and train.minutes and train.epochs:
        attempt.refuse(
            ["train"],
            f"minutes: {train.minutes:g}, but epochs is {train.epochs}; one of them rules, so set the other to null",
        )
    if train and known.adapter is not None:
        attempt(["train"], partial(fitting.check_training, train, known.adapter))
    if scores and data:
        _check_scores(attempt, scores, known, data)
    if scores and train and scores.checkpoint == "average" and train.average is None:
        attempt.refuse(["scores"], "checkpoint: average needs train.average, such as {kind: ema}")
    if scores and scores.adjust and losses and not attempt.problems:
        attempt(["scores", "adjust"], lambda: fitting.check_adjust(scores.adjust, losses, known.outputs or 2))
    return attempt.problems


def _check_data(attempt: _Attempts, data: DataSection) -> _Known:
    """Build what the section `data` names."""
    adapter = attempt(["data"], lambda: _adapter(data))
    attempt(["data", "split"], lambda: build.build_splitter(data))
    attempt(["data", "group"], lambda: fitting.check_pattern(data.group))
    if adapter is None:
        return _Known()
    attempt(["data", "normalise"], partial(build.build_normalisation, data.normalise, adapter))
    attempt(["data", "sampler"], partial(fitting.check_sampler, data, adapter))
    attempt(["data"], partial(fitting.check_volumes, data, adapter))
    attempt(["data"], partial(fitting.check_imbalance, data, adapter))
    labelled = attempt(["data", "labelled"], partial(fitting.check_labelled, data, adapter))
    regions = attempt(["data", "regions"], partial(fitting.check_regions, data, adapter))
    if regions and labelled:
        attempt(["data", "labelled"], partial(fitting.check_labelled_regions, data, adapter, regions))
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
            attempt(place, partial(fitting.check_label_loss, section, loss))
        if regions:
            attempt(place, partial(fitting.check_region_loss, section, loss, len(regions.names), known.partial))
        elif known.partial:
            attempt(place, partial(fitting.check_partial, loss, len(adapter.classes)))
    if loss is not None and train and train.upsampled_loss:
        attempt(["train"], partial(fitting.check_upsampled, section.name, loss))
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
        attempt(["scores"], lambda: fitting.check_background(scores, adapter))
        attempt(["scores", "primary"], lambda: fitting.check_primary(scores, adapter))
        for key in ("adjust", "largest_component", "background") if known.regions else ():
            if getattr(scores, key):
                attempt.refuse(["scores"], f"{key}: is for classes, but data.regions are scored; leave it out")
        if known.partial and scores.adjust:
            attempt.refuse(
                ["scores"],
                "adjust: is fitted on masks of all classes, which by data.labelled some are not; leave it out",
            )
        if adapter.kind == "label":
            attempt(["scores"], lambda: fitting.check_label_scores(scores))
    attempt(["scores", "window"], lambda: fitting.check_window(scores.window, data.size))


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
        attempt(["data", "augment", index], partial(fitting.check_transform, transform.model_dump(), resident))
    if not attempt.problems:
        attempt(["data", "augment"], lambda: fitting.check_augmentation(config.data, adapter))
    attempt(["model"], lambda: fitting.check_model(config, adapter))
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
