"""The rules of a recipe: from a fingerprint to the keys of a configuration, each with its reason.

docs/recipe.md has them as a table. A rule yields choices or nothing; what no rule sets has the default of the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from .fingerprint import Fingerprint


class Choice(NamedTuple):
    """A value for a key, and why."""

    key: str
    value: Any
    reason: str


Rule = Callable[[Fingerprint], Iterator[Choice]]
STRIDE = 32
"""That sides are rounded to: how much the deepest encoder shrinks an image."""
LONGEST = {"volume": 256, "still": 512, "label": 224}
"""The longest side of the network's grid, by kind."""
LEAST_PART = 16
"""Pixels of the largest part of the smallest class in an image that resizing has to leave."""
BATCH_PIXELS, BATCHES = 2**19, (2, 16)
"""Pixels of a batch, and its images at least and at most."""
WHOLE, WHOLE_CASES = 0.99, 10
"""Share of a class that its largest part holds in each case, and how many hold it, at least, where one part is kept."""
VALIDATED = 5
"""Groups of the validation part by which an epoch can be chosen, at least."""
STEPS, EPOCHS = 3000, (10, 300)
"""Optimizer steps of a training, and its epochs at least and at most."""
FOLDS = 5


def channels(fp: Fingerprint) -> Iterator[Choice]:
    """Grey stills and pictures are read as one channel."""
    if fp.kind != "volume" and fp.is_grey and fp.channels == 3:
        yield Choice("data.channels", 1, f"all {fp.read} images read are grey")


def groups(fp: Fingerprint) -> Iterator[Choice]:
    """Cases whose names begin alike stay together."""
    if fp.group is not None:
        what = f"names begin alike: {fp.cases} cases are {fp.groups} groups"
        reason = f"{what}, which stay whole; null if they are independent"
        yield Choice("data.group", fp.group, reason)


def normalisation(fp: Fingerprint) -> Iterator[Choice]:
    """CT by the window of its foreground; percentiles that do not cut a class; ImageNet's for RGB by default."""
    if fp.kind == "volume" and fp.low < -500:
        low, high = (round(value) for value in fp.window)
        reason = f"values from {fp.low:.0f}, so CT: percentiles 0.5 and 99.5 of the foreground"
        yield Choice("data.normalise", {"name": "window", "low": low, "high": max(high, low + 1)}, reason)
    elif (cut := [name for name, share in fp.clipped.items() if share > 0.5]) and _is_scaled_by_percentiles(fp):
        reason = f"the default percentiles cut more than half of {', '.join(cut)} in some image"
        yield Choice("data.normalise", {"name": "percentile", "low": 0, "high": 100}, reason)
    elif not _is_scaled_by_percentiles(fp) and fp.dtype != "uint8":
        yield Choice("data.normalise", {"name": "percentile"}, f"{fp.dtype} pixels from {fp.low:g} to {fp.high:g}")


def grid(fp: Fingerprint) -> Iterator[Choice]:
    """One size; crops where slices differ in millimetres, or where resizing would lose the smallest class."""
    rows, columns = fp.size
    longest = LONGEST[fp.kind]
    is_one = bool((fp.sizes == fp.sizes[0]).all())
    said = f"all {fp.read} read are {rows}x{columns}" if is_one else f"median {rows}x{columns} of {_range(fp)}"
    if fp.kind == "label":
        side = min(longest, _round(max(rows, columns)))
        if not is_one or max(rows, columns) > longest:
            yield Choice("data.size", [side, side], said)
        return
    if fp.spacings is not None and (_differs(fp.spacings[:, 1:]) or not is_one):
        step, crop = _resampled(fp)
        cropped = f"cropped to {crop}x{crop} (augment)"
        if step is None:
            yield Choice("data.size", None, f"{said}, of equal spacing: {cropped}, so a pixel stays as many mm")
            return
        middle = "x".join(f"{value:.3g}" for value in np.median(fp.spacings, axis=0))
        yield Choice("data.size", None, f"slices are resampled in plane, and {cropped}")
        yield Choice("data.spacing", [None, step, step], f"median {middle} mm, {rows}x{columns} pixels")
        return
    scale = min(1.0, longest / max(rows, columns))
    if fp.component is not None and scale < 1 and fp.component * scale**2 < LEAST_PART:
        part = f"the largest part of {fp.smallest} has {fp.component:.0f} pixels (median)"
        yield Choice("data.size", None, f"{said}; {part}, too few to shrink: crops of {longest}x{longest} (augment)")
        return
    size = [rows, columns] if is_one and scale == 1 else [_round(rows * scale), _round(columns * scale)]
    yield Choice("data.size", size, said)


def slices(fp: Fingerprint) -> Iterator[Choice]:
    """Volumes of several slices show the network the neighbours of each."""
    if fp.kind == "volume" and fp.slices >= 8:
        yield Choice("data.context", 1, f"median {fp.slices} slices: those before and after are further channels")


def sampler(fp: Fingerprint) -> Iterator[Choice]:
    """Half of each batch with foreground where few images have it; images of rare classes more often."""
    if fp.kind == "label":
        least, most = min(fp.shares.values()), max(fp.shares.values())
        if most > 10 * least:
            yield Choice(
                "data.sampler",
                {"name": "rare", "power": 0.5},
                f"classes from {least:.1%} to {most:.1%} of the pictures",
            )
    elif fp.background is not None and 0 < fp.foreground < 0.75:
        reason = f"{fp.foreground:.0%} of the 2D images hold foreground"
        yield Choice("data.sampler", {"name": "foreground", "share": 0.5}, reason)
    elif rare := {name: share for name, share in fp.images.items() if 0 < share < 0.25}:
        name = min(rare, key=lambda one: rare[one])
        yield Choice("data.sampler", {"name": "rare", "power": 0.5}, f"{name} is in {rare[name]:.0%} of the images")


def split(fp: Fingerprint) -> Iterator[Choice]:
    """The data set's own parts; else folds of whole groups, fewer where there are few groups."""
    if fp.is_official:
        yield Choice("data.split", {"kind": "official"}, ", ".join(f"{n} {part}" for part, n in fp.parts.items() if n))
        return
    folds, val = _folds_of(fp)
    what = f"{fp.groups} groups" + (f" of {fp.cases} cases" if fp.groups < fp.cases else "")
    reason = f"{what}; fold: all trains each fold in turn" + (
        "" if val else "; too few to validate, so the last epoch is scored"
    )
    yield Choice("data.split", {"kind": "kfold", "folds": folds, "fold": 0, "val": val}, reason)


def augmentation(fp: Fingerprint) -> Iterator[Choice]:
    """Crops to one size where there is none, mirror, tilt and scale, brightness and contrast; colours of RGB."""
    rows, columns = _grid_of(fp)
    steps: list[dict[str, Any]] = []
    if fp.kind == "label":
        if max(rows, columns) <= 64:
            margin = max(1, rows // 8)
            steps.append({"name": "PadIfNeeded", "min_height": rows + 2 * margin, "min_width": columns + 2 * margin})
            steps.append({"name": "RandomCrop", "height": rows, "width": columns})
    elif _is_cropped(fp):
        steps.append({"name": "PadIfNeeded", "min_height": rows, "min_width": columns})
        ground = [] if fp.background is None else [list(fp.classes).index(fp.background)]
        crop = {"height": rows, "width": columns}
        if ground:
            steps.append({"name": "CropNonEmptyMaskIfExists", **crop, "ignore_values": [*ground, 255]})
        else:
            steps.append({"name": "RandomCrop", **crop})
    sided = [
        name
        for name in fp.classes
        if {"left", "right"} & {*name.lower().replace("-", "_").replace(" ", "_").split("_")}
    ]
    if not sided:
        steps.append({"name": "HorizontalFlip", "p": 0.5})
    if fp.kind != "label":
        steps.append(
            {"name": "Affine", "scale": [0.8, 1.2], "rotate": [-15, 15], "p": 0.8 if fp.kind == "volume" else 0.5}
        )
    if fp.kind != "label" or max(rows, columns) > 64:
        if fp.is_grey or fp.channels != 3:
            steps.append({"name": "RandomBrightnessContrast", "p": 0.5})
        else:
            steps.append({"name": "ColorJitter", "hue": [-0.02, 0.02], "p": 0.5})
    reason = f"not mirrored, since {sided[0]} names a side" if sided else "mirror, tilt, scale and light vary"
    yield Choice("data.augment", steps, reason)


def network(fp: Fingerprint) -> Iterator[Choice]:
    """Of scans nnU-Net's, narrow; of stills a U-Net on ResNet-18; of pictures a classifier, CIFAR's for small ones."""
    rows, columns = _grid_of(fp)
    weights = (
        "" if fp.is_grey or fp.channels != 3 else "; pretrained: imagenet learns sooner, where the weights can be had"
    )
    if fp.kind == "label":
        small = max(rows, columns) <= 64 and fp.channels in (1, 3)
        value = {"name": "resnet_cifar", "depth": 32} if small else {"name": "classifier", "encoder": "resnet18"}
        yield Choice("model", value, f"pictures of {rows}x{columns}" + ("" if small else weights))
        return
    depth = 5 if min(rows, columns) >= 160 else 4 if min(rows, columns) >= 80 else 3
    if fp.kind == "volume":
        reason = f"for {rows}x{columns} pixels; each slice is normalised by itself, since scans differ in contrast"
        yield Choice("model", {"name": "resenc_unet", "width": 16, "depth": depth, "blocks": [1] * (depth + 1)}, reason)
        return
    value = {"name": "unet", "encoder": "resnet18", "depth": depth}
    yield Choice("model", value, f"for {rows}x{columns} pixels{weights}")


def loss(fp: Fingerprint) -> Iterator[Choice]:
    """Dice, which does not see how rare a class is, and cross entropy; of one label a picture the latter."""
    if fp.kind == "label":
        yield Choice("loss", {"name": "ce"}, "one label a picture")
        return
    rarest = min((name for name in fp.shares if fp.shares[name] > 0), key=lambda name: fp.shares[name], default=None)
    share = "" if rarest is None else f"{rarest} has {fp.shares[rarest]:.2%} of the pixels"
    yield Choice("loss", [{"name": "dice"}, {"name": "ce"}], share)


def optimizer(_: Fingerprint) -> Iterator[Choice]:
    """AdamW with a cosine that ends at zero."""
    schedule = {"name": "cosine", "warmup": "1 epoch"}
    yield Choice("optim", {"name": "adamw", "lr": 1e-3, "schedule": schedule}, "falls to 0 at the last step")


def length(fp: Fingerprint) -> Iterator[Choice]:
    """Batches of about half a million pixels, and epochs for three thousand steps."""
    rows, columns = _grid_of(fp)
    fit = (
        128
        if fp.kind == "label" and rows * columns <= 64**2
        else min(max(BATCH_PIXELS // (rows * columns), BATCHES[0]), BATCHES[1])
    )
    images = _training_images(fp)
    batch = max(1, min(fit, images))
    steps = max(1, images // batch)
    epochs = min(max(round(STEPS / steps), EPOCHS[0]), EPOCHS[1])
    value = {"epochs": epochs, "batch_size": batch}
    an_epoch = f"{steps} step{'' if steps == 1 else 's'} an epoch"
    yield Choice("train", value, f"about {images} images a fold: {an_epoch}, {epochs * steps} in all")


def scoring(fp: Fingerprint) -> Iterator[Choice]:
    """The last epoch where few groups validate; mirrored images averaged; one part of a class that is one; windows."""
    value: dict[str, Any] = {}
    reasons = ["of the best checkpoint"]
    if 0 < (validated := _validated(fp)) < VALIDATED:
        value["checkpoint"] = "last"
        reasons = [
            f"{validated} group(s) to validate, too few to choose an epoch by; the learning rate has fallen to 0"
        ]
    mirrored = any(step["name"] == "HorizontalFlip" for choice in augmentation(fp) for step in choice.value)
    if fp.kind != "label" and mirrored:
        value["flip"] = True
        reasons.append("the mean with the mirrored image")
    if fp.background is not None and fp.whole is not None and fp.whole >= WHOLE and fp.holding >= WHOLE_CASES:
        value["largest_component"] = True
        reasons.append(f"each class is one part in all cases read that hold it, {fp.holding} or more")
    if fp.kind == "still" and _is_cropped(fp):
        value["window"] = list(_grid_of(fp))
    if value:
        yield Choice("scores", value, "; ".join(reasons))


RULES: tuple[Rule, ...] = (
    channels,
    groups,
    normalisation,
    grid,
    slices,
    sampler,
    split,
    augmentation,
    network,
    loss,
    optimizer,
    length,
    scoring,
)
"""In the order of the keys."""


def settings(fp: Fingerprint) -> list[Choice]:
    """What the rules choose."""
    return [choice for rule in RULES for choice in rule(fp)]


def _grid_of(fp: Fingerprint) -> tuple[int, int]:
    """The size that the network is trained on."""
    choices = {choice.key: choice.value for choice in grid(fp)}
    size = choices.get("data.size", fp.size)
    if size is not None:
        return size[0], size[1]
    side = LONGEST[fp.kind] if fp.spacings is None else _resampled(fp)[1]
    return side, side


def _folds_of(fp: Fingerprint) -> tuple[int, float]:
    """How many folds, and what of a fold's training part validates: groups, or a share of them."""
    folds = max(2, min(FOLDS, fp.groups))  # of one group nothing can be held out, which is said elsewhere
    return folds, 0 if fp.groups < 3 else 1 if fp.groups < 10 else 0.1


def _validated(fp: Fingerprint) -> int:
    """About how many groups validate."""
    if fp.is_official:
        return fp.part_groups.get("val") or max(1, round(0.1 * fp.part_groups["train"]))
    folds, val = _folds_of(fp)
    return int(val) if val >= 1 or not val else max(1, round(val * fp.groups * (folds - 1) / folds))


def _training_images(fp: Fingerprint) -> int:
    """About how many 2D images a training sees: of the smallest fold, where groups are alike."""
    if fp.is_official:
        drawn = 0 if fp.part_groups.get("val") else _validated(fp)  # from the training part
        return max(1, round(fp.parts["train"] * fp.slices * (1 - drawn / fp.part_groups["train"])))
    folds, _ = _folds_of(fp)
    share = 1 - (-(-fp.groups // folds) + _validated(fp)) / fp.groups
    return max(1, round(fp.cases * fp.slices * share))


def _is_cropped(fp: Fingerprint) -> bool:
    return any(choice.key == "data.size" and choice.value is None for choice in grid(fp))


def _resampled(fp: Fingerprint) -> tuple[float | None, int]:
    """Millimetres of a pixel, None for those it has, and the side of the crop: the median slice, or the longest."""
    assert fp.spacings is not None
    own = step = float(np.median(fp.spacings[:, 1:]))
    extent = float(np.median((fp.sizes * fp.spacings[:, 1:]).max(axis=1)))
    longest = LONGEST[fp.kind]
    if extent / step > longest and (
        fp.component is None or fp.component * (step * longest / extent) ** 2 >= LEAST_PART
    ):
        step = extent / longest
    if step == own and not _differs(fp.spacings[:, 1:]):
        return None, min(longest, _round(extent / step))
    step = float(f"{step:.2g}")
    return step, min(longest, _round(extent / step))


def _differs(spacings: Any) -> bool:
    return bool(spacings.max() > 1.05 * spacings.min())


def _is_scaled_by_percentiles(fp: Fingerprint) -> bool:
    return fp.kind == "volume" or fp.is_grey or fp.channels != 3


def _round(side: float) -> int:
    return max(STRIDE, round(side / STRIDE) * STRIDE)


def _range(fp: Fingerprint) -> str:
    low, high = fp.sizes.min(axis=0), fp.sizes.max(axis=0)
    return f"{low[0]}x{low[1]} to {high[0]}x{high[1]}"
