"""Whether the parts of a configuration suit each other.

Each check raises a `ValueError` where they do not; where one key is at fault, the message begins with it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

import datasets
import models
import segloss
from segloss.aggregation import LABEL_METRICS, METRICS
from segloss.names import unknown
from segloss.pixelwise import PixelwiseLoss

from ..errors import UsageError
from . import build
from .config import AdjustSection, Config, DataSection, LossSection, ModelSection, ScoresSection, TrainSection


def check_transform(section: dict[str, Any], resident: bool) -> None:
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


def check_augmentation(data: DataSection, adapter: datasets.Adapter) -> None:
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


def check_pattern(pattern: str | None) -> None:
    """A pattern must be a regular expression."""
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression ({error})") from error


def check_sampler(data: DataSection, adapter: datasets.Adapter) -> None:
    """Build the sampler; it must suit the classes of the data set."""
    if build.build_sampler(data.sampler).needs_background and adapter.background is None:
        name = data.sampler.name if data.sampler else ""
        raise ValueError(f"{name} needs a class named background, which this data set does not have; use rare")


def check_sources(section: ModelSection) -> None:
    """The initial weights have one source at most."""
    if section.pretrained is not None and section.init_from is not None:
        raise ValueError("init_from: the weights come from a run, so pretrained must be null")


def check_model(config: Config, adapter: datasets.Adapter) -> None:
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


def check_upsampled(name: str, loss: build.Loss) -> None:
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


def check_window(window: tuple[int, int] | None, size: tuple[int, int] | None) -> None:
    """Windows slide over what the network sees, which is not larger than data.size."""
    if window is not None and size is not None and (window[0] > size[0] or window[1] > size[1]):
        raise ValueError(
            f"{list(window)} is larger than the network's grid, data.size: {list(size)}; for windows over whole images "
            "train with data.size: null and crops in data.augment"
        )


def check_background(scores: ScoresSection, adapter: datasets.Adapter) -> None:
    """What is done with the background needs a class of that name."""
    if adapter.background is None and scores.background == "exclude":
        raise ValueError("background: exclude, but this data set has no class named background; use include")
    if adapter.background is None and scores.largest_component:
        raise ValueError("largest_component: this data set has no class named background for the rest to become")


def check_adjust(adjust: AdjustSection, losses: Sequence[LossSection], classes: int) -> None:
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


def check_imbalance(data: DataSection, adapter: datasets.Adapter) -> None:
    """A training part is cut where a picture has one label, and the rarest class keeps a picture."""
    if data.imbalance is None:
        return
    if adapter.kind != "label":
        raise ValueError(f"imbalance: is for pictures with one label, but {data.name} holds masks; leave it out")
    if data.imbalance.largest is not None and data.imbalance.largest < data.imbalance.factor:
        raise ValueError(
            f"imbalance: factor {data.imbalance.factor:g} leaves the rarest class nothing of largest: "
            f"{data.imbalance.largest}; raise largest, or lower the factor"
        )


def check_labelled(data: DataSection, adapter: datasets.Adapter) -> bool:
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


def check_regions(data: DataSection, adapter: datasets.Adapter) -> datasets.Regions | None:
    """Build the regions; what does not go together with them is refused."""
    if data.regions and adapter.kind == "label":
        raise ValueError("is for masks, but a picture here has one label; leave it out")
    for name in data.regions:
        if name in ("", "..") or Path(name).name != name:
            raise ValueError(f"{name!r} cannot name a folder, which `predict` makes for its masks; rename the region")
    return build.build_regions(data, adapter)


def check_labelled_regions(data: DataSection, adapter: datasets.Adapter, regions: datasets.Regions) -> None:
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


def check_region_loss(section: LossSection, loss: build.Loss, regions: int, partial_labels: bool) -> None:
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


def check_partial(loss: build.Loss, classes: int) -> None:
    """The loss must take partial labels; it says itself where it does not."""
    known = torch.ones(2, classes, dtype=torch.bool)
    loss(torch.zeros(2, classes, 2, 2), torch.zeros(2, 2, 2, dtype=torch.long), labelled=known)


def check_label_loss(section: LossSection, loss: build.Loss) -> None:
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


def check_training(train: TrainSection, adapter: datasets.Adapter) -> None:
    """What suits one kind of data alone."""
    of_labels = adapter.kind == "label"
    if train.upsampled_loss and of_labels:
        raise ValueError("upsampled_loss: is for masks, but a picture here has one label; leave it out")
    if train.mix is not None and not of_labels:
        raise ValueError("mix: is for pictures with one label, but an image here has a mask; leave it out")
    if train.mix is not None and train.batch_size < 2 * train.devices:
        raise ValueError(f"batch_size: {train.batch_size} leaves a picture none to be mixed with; use more")


def check_label_scores(scores: ScoresSection) -> None:
    """What is for masks alone."""
    for key in ("background", "grid", "window", "overlap", "largest_component", "tolerance", "adjust", "ensemble"):
        if getattr(scores, key) != type(scores).model_fields[key].default:
            raise ValueError(f"{key}: is for masks, but a picture here has one label; leave it out")


def check_primary(scores: ScoresSection, adapter: datasets.Adapter) -> None:
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


def check_volumes(data: DataSection, adapter: datasets.Adapter) -> None:
    """What is for volumes alone, and what of it does not go together."""
    for key, default in (("spacing", None), ("slices", "all"), ("context", 0)):
        if adapter.kind != "volume" and getattr(data, key) != default:
            holds = "stills" if adapter.kind == "still" else "pictures with one label"
            raise ValueError(f"{key}: is for volumes, but {data.name} holds {holds}; leave it out")
    if data.slices != "all" and adapter.background is None:
        raise ValueError("slices: needs a class named background to tell foreground from; use all")
