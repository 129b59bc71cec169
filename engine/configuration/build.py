"""From the sections of a configuration to the objects they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.optim import Optimizer

import datasets
import models
import segloss
from segloss.base import Activation

from ..store.initial import start_from
from .config import (
    AcwSection,
    Config,
    DataSection,
    LossSection,
    MarginSection,
    ModelSection,
    NormaliseSection,
    OptimSection,
    RampSection,
    SamplerSection,
    ScheduleSection,
    SplitSection,
    TrainSection,
)
from .named import parameters
from .optim import OPTIMIZERS, SCHEDULES, Groups, Schedule, constant

NORMALISATIONS: Mapping[str, Callable[..., Any]] = datasets.NORMALISATIONS
Loss = segloss.SegmentationLoss | segloss.WeightedSum


def build_adapter(data: DataSection) -> datasets.Adapter:
    """The adapter of the data set; touches no file."""
    own, factory = parameters(data, DataSection), datasets.ADAPTERS[data.name]
    given = {"spacing": data.spacing} if "spacing" in signature(factory).parameters else {}
    return factory(**own, **given)


def with_resolved_data(config: Config) -> Config:
    """The configuration with what files say: `dataset.json` of classes and channels, a table of `data.labelled`."""
    resolved = build_adapter(config.data).resolved()
    if isinstance(config.data.labelled, str):
        resolved = {**resolved, "labelled": labelled(config.data)}
    return config.model_copy(update={"data": config.data.model_copy(update=resolved)}) if resolved else config


def input_channels(data: DataSection, adapter: datasets.Adapter) -> int:
    """The channels that the network sees: those of a slice and of its neighbours."""
    return adapter.channels * (2 * data.context + 1)


def slice_rule(data: DataSection) -> datasets.SliceRule:
    """Which slices of a volume are trained on."""
    return data.slices.margin if isinstance(data.slices, MarginSection) else data.slices


def build_cache(data: DataSection, output: str, adapter: datasets.Adapter) -> datasets.Cache:
    """Where the cases of a data set are decoded to."""
    own = {key: value for key, value in parameters(data, DataSection).items() if key != "root"}
    folder = Path(data.cache or Path(output) / ".cache")
    if isinstance(adapter, datasets.Dicom):
        adapter.keep_headers(folder)
    return datasets.Cache(
        folder=folder,
        adapter=adapter,
        size=data.size,
        spacing=data.spacing,
        normalisation=build_normalisation(data.normalise, adapter),
        settings=repr((data.name, own, data.normalise)),
    )


def exclude(data: DataSection) -> datasets.Exclude:
    """The cases that are left out, each with its reason."""
    return {one.case: one.reason for one in data.exclude}


def labelled(data: DataSection) -> datasets.Labelled:
    """The classes that some cases were labelled for; a `DataError` where a table cannot say."""
    return datasets.read_labelled(Path(data.labelled)) if isinstance(data.labelled, str) else data.labelled


def build_regions(data: DataSection, adapter: datasets.Adapter) -> datasets.Regions | None:
    """The regions of the masks, None where a network tells classes apart; a `ValueError` where there are none such."""
    if not data.regions:
        return None
    classes = list(adapter.classes)
    values = adapter.labels.values_of(np.arange(len(classes))).tolist()
    found: dict[str, list[int]] = {}
    for region, entries in data.regions.items():
        for entry in entries:
            if entry not in (classes if isinstance(entry, str) else values):
                known = ", ".join(f"{name} ({value})" for name, value in zip(classes, values, strict=True))
                raise ValueError(f"{region}: {entry!r} is no class and no mask value of one; the classes are {known}")
        own = [classes.index(entry) if isinstance(entry, str) else values.index(entry) for entry in entries]
        found[region] = own
    return datasets.Regions(found, len(classes))


def outputs(data: DataSection, adapter: datasets.Adapter) -> int:
    """The channels of the network's logits: one a region, or one a class."""
    return len(data.regions) or len(adapter.classes)


def build_splitter(data: DataSection, fold: int | None = None) -> datasets.Splitter:
    """What divides the cases; into the parts of a fold, or as the configuration says."""
    factory, own = datasets.SPLITS[data.split.kind], parameters(data.split, SplitSection, key="kind")
    given: dict[str, Any] = {"exclude": exclude(data)} if "exclude" in signature(factory).parameters else {}
    return factory(**own | given | ({} if fold is None else {"fold": fold}))


def build_imbalance(data: DataSection, adapter: datasets.Adapter) -> datasets.Imbalance | None:
    """What cuts the training part, None where nothing does."""
    section = data.imbalance
    return None if section is None else datasets.Imbalance(classes=adapter.classes, **section.model_dump())


def build_sampler(section: SamplerSection | None) -> datasets.Sampler:
    """What chooses the images of an epoch."""
    if section is None:
        return datasets.SAMPLERS["uniform"]()
    return datasets.SAMPLERS[section.name](**parameters(section, SamplerSection))


def build_folds(data: DataSection) -> Iterator[tuple[str, datasets.Splitter]]:
    """What divides the cases, once for each fold or repeat, and its name; the name of a single division is empty."""
    count = build_splitter(data).divisions()
    for fold in range(count):
        several = count > 1 or getattr(data.split, "fold", None) == "all"
        yield f"fold {fold}" if count > 1 else "", build_splitter(data, fold if several else None)


def build_normalisation(section: NormaliseSection | None, adapter: datasets.Adapter) -> Any:
    """The normalisation that is asked for, or the data set's own."""
    if section is None:
        return NORMALISATIONS[adapter.normalise]()
    return NORMALISATIONS[section.name](**parameters(section, NormaliseSection))


def build_augmentation(data: DataSection) -> datasets.Augmentation | None:
    """The transforms of the training samples, None where there are none."""
    return datasets.Augmentation([section.model_dump() for section in data.augment]) if data.augment else None


def build_batch_augmentation(data: DataSection) -> datasets.BatchAugmentation | None:
    """The same on the device, for whole batches; a `ValueError` where a transform has no device form."""
    return datasets.BatchAugmentation([section.model_dump() for section in data.augment]) if data.augment else None


def build_mixing(
    train: TrainSection, adapter: datasets.Adapter, to_device: Callable[[torch.Tensor], torch.Tensor]
) -> datasets.Mixing | None:
    """What mixes the pictures of a batch, None where nothing does."""
    if train.mix is None:
        return None
    return datasets.Mixing(**train.mix.model_dump(), classes=len(adapter.classes), to_device=to_device)


def build_model(
    section: ModelSection, num_classes: int, channels: int, seed: int, shapes_only: bool = False
) -> models.SegmentationModel:
    """The network with its initial weights: the seed's, of a file, or of another run; see `models.build`."""
    own = section.acw.model_dump() if isinstance(section.acw, AcwSection) else {}
    model = models.build(
        section.name,
        num_classes=num_classes,
        channels=channels,
        seed=seed,
        acw=segloss.AdaptiveClassWeight(num_classes, **own) if section.acw else None,
        head=section.head,
        head_bias=section.head_bias,
        pretrained=section.pretrained,
        gradient_checkpointing=section.gradient_checkpointing,
        shapes_only=shapes_only,
        **parameters(section, ModelSection),
    )
    if section.init_from is not None:
        start_from(model, section.init_from)
    return model


def build_network(config: Config, adapter: datasets.Adapter, trained: bool = False) -> models.SegmentationModel:
    """The network of a configuration with its initial weights.

    Args:
        config: a checked configuration.
        adapter: of its data.
        trained: weights of a checkpoint will replace them, so none are fetched or read.
    """
    section = without_files(config.model) if trained else config.model
    return build_model(section, outputs(config.data, adapter), input_channels(config.data, adapter), config.seed)


def without_files(section: ModelSection) -> ModelSection:
    """The same network with random weights: for weights that are replaced anyway."""
    return section.model_copy(update={"pretrained": None, "init_from": None})


def build_loss(
    sections: Sequence[LossSection], num_classes: int | None, counts: segloss.ClassCounts, epochs: int
) -> Loss:
    """The loss, or the weighted sum of several, whose weights may follow the epochs of a training."""
    ignored = datasets.ignored_label(num_classes or 0)
    shared: dict[str, Any] = {"num_classes": num_classes, "class_counts": counts, "ignore_index": ignored}
    if len(sections) == 1 and sections[0].weight == 1:
        return segloss.build_loss(sections[0].name, **shared, **parameters(sections[0], LossSection))
    parts = [{"name": s.name, "weight": loss_weight(s, epochs), **parameters(s, LossSection)} for s in sections]
    return segloss.build_loss(parts, **shared)


def loss_weight(section: LossSection, epochs: int) -> float | dict[str, float]:
    """The weight of a loss in a sum, as `segloss.WeightedSum` takes it."""
    weight = section.weight
    return {**weight.model_dump(), "epochs": epochs} if isinstance(weight, RampSection) else weight


def activation(sections: Sequence[LossSection], num_classes: int) -> Activation:
    """What makes probabilities of the logits that a loss trains, whatever the data."""
    ones = [1.0] * num_classes
    return build_loss(sections, num_classes, segloss.ClassCounts(ones, ones, ones, ones), epochs=1).activation


def build_optimizer(optim: OptimSection, model: models.SegmentationModel) -> Optimizer:
    """The optimizer over the model's parameter groups."""
    own = parameters(optim, OptimSection)
    groups: Groups = model.parameter_groups(own["weight_decay"], optim.decay, optim.layer_decay)
    for group in groups:
        if (scale := group.pop("lr_scale", None)) is not None:
            group["lr"] = scale * own["lr"]
    return OPTIMIZERS[optim.name](groups=groups, **own)


def check_optimizer(optim: OptimSection) -> Optimizer:
    """The optimizer over nothing that matters: its constructor checks its ranges."""
    return OPTIMIZERS[optim.name](groups=[{"params": [torch.zeros(1)]}], **parameters(optim, OptimSection))


def build_schedule(optim: OptimSection) -> Schedule:
    """The schedule of the learning rate."""
    section = optim.schedule
    return constant() if section is None else SCHEDULES[section.name](**parameters(section, ScheduleSection))
