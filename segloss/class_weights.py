"""Class weights from what the training data holds of each class.

Every scheme maps `ClassCounts` to one float64 weight a class. A class with zero count gets weight 0 and a warning:
no training pixel can carry its weight, and most formulas would give infinity.
"""

from __future__ import annotations

import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from .names import check_choice, check_range, unknown
from .tensors import ratio

Unit = Literal["pixel", "image", "component"]
ClassWeights = Sequence[float] | Tensor | str | Mapping[str, Any] | None
"""What a loss takes as `class_weights`: one number a class, a scheme's name, or `{"name": scheme, **parameters}`.

The mapping may hold `from_epoch` too, see `deferral`.
"""


class ClassWeightWarning(UserWarning):
    """Class weights that are defined but do not do what their user hopes for."""


@dataclass(frozen=True)
class ClassCounts:
    """What the training data holds of each class; each field has one number a class.

    Attributes:
        pixels: pixels of the class.
        pixels_of_images: valid pixels of the images that contain the class (SegNet's median frequency).
        images: images that contain the class.
        components: connected components of the class.
        names: of the classes, for warnings.

    Raises:
        ValueError: fields of different length, an empty field, a count that is negative or not finite.
    """

    pixels: Sequence[float]
    pixels_of_images: Sequence[float] | None = None
    images: Sequence[float] | None = None
    components: Sequence[float] | None = None
    names: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for field in ("pixels", "pixels_of_images", "images", "components"):
            values = getattr(self, field)
            if values is None:
                continue
            shape = tuple(as_values(field, values).shape)
            if len(shape) != 1:
                raise ValueError(f"{field} must hold one count a class, got shape {shape}")
            if len(values) != len(self.pixels) or len(values) == 0:
                raise ValueError(f"{field} must hold one count a class ({len(self.pixels)}), got {len(values)}")
            bad = [float(v) for v in values if not 0 <= float(v) < float("inf")]
            if bad:
                raise ValueError(f"{field} must hold counts, finite and not negative, got {bad[0]}")

    @classmethod
    def of(cls, counts: Counts, num_classes: int | None = None) -> ClassCounts:
        """Take counts as they are; a plain list, array or tensor means `pixels`.

        Raises:
            ValueError: not one count for each of `num_classes`.
        """
        if not isinstance(counts, ClassCounts):
            pixels = as_values("class_counts", counts)
            if pixels.dim() != 1:
                raise ValueError(f"class_counts must hold one count a class, got shape {tuple(pixels.shape)}")
            counts = cls(pixels.tolist())
        if num_classes is not None and len(counts.pixels) != num_classes:
            raise ValueError(f"class_counts must hold {num_classes} classes, got {len(counts.pixels)}")
        return counts

    @classmethod
    def needed(cls, counts: Counts | None, by: str, num_classes: int | None = None) -> ClassCounts:
        """`of` counts that may be missing: a `ValueError` that says who needs them, and how to get them."""
        if counts is None:
            raise ValueError(
                f"{by} needs class_counts: pass class_counts=[pixels of class 0, pixels of class 1, …] "
                "counted over the training images"
            )
        return cls.of(counts, num_classes)

    def get(self, field: str) -> Tensor:
        """One field as float64; a `ValueError` that names it where it is missing."""
        values = getattr(self, field)
        if values is None:
            raise ValueError(
                f"these class weights need class_counts.{field}: pass ClassCounts(pixels=…, {field}=…) "
                "counted over the training images"
            )
        return torch.as_tensor(values, dtype=torch.float64)


Counts = ClassCounts | Sequence[float] | Tensor


def inverse_frequency(counts: ClassCounts) -> Tensor:
    """w_i = (|X|/|X_i|) / Σ_j (|X|/|X_j|); sums to 1 (Hossain 2019, eq. 5)."""
    inverse = _reciprocal(counts.get("pixels"), counts)
    return inverse / inverse.sum()


def inverse_sqrt(counts: ClassCounts) -> Tensor:
    """w_i ∝ 1/√n_i; sums to the number of classes."""
    inverse = _reciprocal(counts.get("pixels").sqrt(), counts)
    return len(inverse) * inverse / inverse.sum()


def median_frequency(counts: ClassCounts) -> Tensor:
    """w_i = median(f)/f_i, f_i = pixels of i over valid pixels of the images that contain i (SegNet, 2015)."""
    pixels = counts.get("pixels")
    frequency = ratio(pixels, counts.get("pixels_of_images"))
    present = frequency[pixels > 0]
    return _reciprocal(frequency, counts) * present.quantile(0.5)


def enet(counts: ClassCounts) -> Tensor:
    """w_i = 1/ln(1.02 + f_i), f_i the share of all pixels (ENet, 2016)."""
    pixels = counts.get("pixels")
    present = _present(pixels, counts, "their weight is 0")
    return torch.where(present, 1 / torch.log(1.02 + pixels / pixels.sum()), 0.0)


def effective_number(counts: ClassCounts, beta: float = 0.9999, unit: Unit = "pixel") -> Tensor:
    """w_i ∝ (1−β)/(1−β^n_i); sums to the number of classes present (Cui 2019, eq. 8).

    Args:
        counts: the field that `unit` names is used as n.
        beta: in [0, 1); 0 gives equal weights, towards 1 the inverse frequency.
        unit: what counts as one sample: a `pixel`, an `image`, or a connected `component`.

    Raises:
        ValueError: beta outside [0, 1), an unknown unit, the unit's count missing.

    Warns:
        ClassWeightWarning: β^n vanishes for two classes or more: their weights are equal, whatever their size.
    """
    check_range("beta", beta, "in [0, 1)", lambda v: 0 <= v < 1)
    check_choice("unit", unit, get_args(Unit))
    n = counts.get(f"{unit}s")
    present = _present(n, counts, "their weight is 0")
    # 1 − β^n by expm1 and log1p: of a β near 1 the plain power would lose its digits.
    log_beta = torch.log1p(torch.tensor(beta - 1.0, dtype=torch.float64))
    effective = -torch.expm1(n * log_beta) if beta > 0 else torch.ones_like(n)
    saturated = present & (effective > 0.999)
    if beta > 0 and int(saturated.sum()) > 1 and float(n[saturated].max()) > 1.1 * float(n[saturated].min()):
        better = min(1 - 1 / float(n.max()), math.nextafter(1, 0))
        other = " (or unit: image)" if unit == "pixel" else ""
        warnings.warn(
            f"effective_number with beta={beta} is saturated: beta^n vanishes for {int(saturated.sum())} classes, "
            f"which get equal weights; with these counts beta={better!r}{other} would tell them apart",
            ClassWeightWarning,
            stacklevel=2,
        )
    weights = torch.where(present, 1 / torch.where(present, effective, 1.0), 0.0)
    return present.sum() * weights / weights.sum()


CLASS_WEIGHTS = {
    "inverse_frequency": inverse_frequency,
    "inverse_sqrt": inverse_sqrt,
    "median_frequency": median_frequency,
    "enet": enet,
    "effective_number": effective_number,
}


def as_values(name: str, values: object) -> Tensor:
    """A copy of numbers as a float64 tensor that carries no gradient; a `ValueError` that names what is none."""
    try:
        return torch.as_tensor(values, dtype=torch.float64, device="cpu").detach().clone()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must hold numbers, got {values!r}") from error


def deferral(spec: ClassWeights) -> tuple[ClassWeights, int | None]:
    """Class weights without their `from_epoch`, and that epoch; None where they hold from the start.

    Raises:
        ValueError: it is no whole number, 0 or more.
    """
    if not isinstance(spec, Mapping) or "from_epoch" not in spec:
        return spec, None
    epoch = spec["from_epoch"]
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
        raise ValueError(f"class_weights: from_epoch must be a whole number ≥ 0, got {epoch!r}")
    return {key: value for key, value in spec.items() if key != "from_epoch"}, epoch


def resolve_class_weights(spec: ClassWeights, counts: ClassCounts | None, num_classes: int | None) -> Tensor | None:
    """The `(C,)` float64 weights that a list, a scheme's name or a mapping stands for; None stays None.

    Raises:
        ValueError: an unknown scheme or parameter, a list of the wrong length, with a weight that is negative or not
            finite, or of nothing but 0, counts missing or of the wrong length.
    """
    if spec is None:
        return None
    if isinstance(spec, str | Mapping):
        return _from_scheme({"name": spec} if isinstance(spec, str) else dict(spec), counts)
    weights = as_values("class_weights", spec)
    if weights.dim() != 1 or (num_classes is not None and len(weights) != num_classes):
        raise ValueError(f"class_weights must hold one weight a class ({num_classes}), got {weights.tolist()}")
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError(f"class_weights must be finite and not negative, got {weights.tolist()}")
    if not bool(weights.any()):
        raise ValueError("class_weights: all are 0, so no pixel would count; give those to be learnt more")
    return weights


def _from_scheme(spec: dict[str, Any], counts: ClassCounts | None) -> Tensor:
    if "name" not in spec:
        raise ValueError(f"class_weights: name is missing in {spec}; one of {', '.join(CLASS_WEIGHTS)}")
    name = spec.pop("name")
    if name not in CLASS_WEIGHTS:
        raise ValueError("class_weights: " + unknown("scheme", name, CLASS_WEIGHTS))
    scheme = CLASS_WEIGHTS[name]
    allowed = list(inspect.signature(scheme).parameters)[1:]
    foreign = [key for key in spec if key not in allowed]
    if foreign and not allowed:
        raise ValueError(f"class_weights: {name} takes no parameters, got {foreign[0]!r}")
    if foreign:
        raise ValueError(f"class_weights: {name} " + unknown("parameter", foreign[0], allowed))
    return scheme(ClassCounts.needed(counts, f"class_weights: {name}"), **spec)


def seen_pixels(counts: ClassCounts) -> Tensor:
    """The pixels of each class as float64; a class without any counts as the smallest of the others, with a warning.

    For formulas (margins, priors) that have no value at 0.
    """
    pixels = counts.get("pixels")
    present = _present(pixels, counts, "taken for as rare as the rarest class seen")
    return torch.where(present, pixels, pixels[present].min())


def _reciprocal(values: Tensor, counts: ClassCounts) -> Tensor:
    """1/v, 0 with a warning where v is 0."""
    return ratio(_present(values, counts, "their weight is 0").double(), values)


def _present(values: Tensor, counts: ClassCounts, consequence: str) -> Tensor:
    """Which classes have a count; a warning names those that have none, and what follows."""
    absent = (values == 0).nonzero().flatten().tolist()
    if len(absent) == len(values):
        raise ValueError("class_counts are all zero: no class to weigh")
    if absent:
        names = [str(index) if counts.names is None else counts.names[index] for index in absent]
        warnings.warn(
            f"class(es) {', '.join(names)} have zero count in the training data: {consequence}",
            ClassWeightWarning,
            stacklevel=4,
        )
    return values > 0
