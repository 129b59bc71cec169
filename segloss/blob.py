"""Blob loss: an overlap loss of each connected component by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import torch
from torch import Tensor

from .components import components
from .dice import DiceLoss
from .labels import Pixels
from .names import unknown
from .overlap import OfOverlap, Overlap, OverlapLoss
from .region import RegionLoss, RegionOptions
from .tensors import at_class, pick, ratio
from .tversky import FocalTverskyLoss, IoULoss, TverskyLoss

OF: dict[str, type[OverlapLoss]] = {
    "dice": DiceLoss,
    "iou": IoULoss,
    "tversky": TverskyLoss,
    "focal_tversky": FocalTverskyLoss,
}
"""The losses of a component."""


def of_component(of: str | Mapping[str, Any]) -> OfOverlap:
    """The loss of overlaps that a name, or a mapping with its parameters, stands for.

    Raises:
        TypeError, ValueError: a loss of another kind, an unknown parameter, one out of its range.
    """
    given: dict[str, Any] = {"name": of} if isinstance(of, str) else dict(of)
    name = given.pop("name", None)
    if name not in OF:
        raise ValueError(f"of: {unknown('loss of components', name, OF)}")
    loss = OF[name](**given)
    return loss.bind({each: getattr(loss, each) for each in (*loss.takes, *loss.options)})[0]


def blob_of_region(pixels: Pixels, per_image: bool, of: str | Mapping[str, Any] = "dice") -> Tensor:
    """The mean of an overlap loss over the components of each unit and class, `(units, C)`; 0 where there are none.

    Of a component, tp and fn are summed over its pixels, and fp over all pixels of its image that are of another class:
    the other components of the class are left out.
    """
    images, classes = pixels.logits.shape[:2]
    p = torch.where(pixels.counted, pixels.logits.softmax(1), 0.0)
    numbers = components(pixels.target, pixels.valid & (pixels.target > 0)).flatten()
    inside = numbers > 0
    found, of_pixel = numbers[inside].unique(return_inverse=True)
    of_class = pixels.target.flatten()[found - 1]
    of_image = torch.div((found - 1) * images, max(numbers.numel(), 1), rounding_mode="floor")
    hit = pick(p, pixels.target).flatten()[inside]
    tp = hit.new_zeros(len(found)).index_add(0, of_pixel, hit)
    fn = hit.new_zeros(len(found)).index_add(0, of_pixel, 1 - hit)
    elsewhere = torch.where(at_class(pixels.target, classes), 0.0, p)
    fp = (elsewhere.flatten(2).sum(2) if elsewhere.dim() > 2 else elsewhere)[of_image, of_class]
    each = of_component(of)(Overlap(tp.unsqueeze(1), fp.unsqueeze(1), fn.unsqueeze(1))).squeeze(1)
    units = images if per_image else 1
    place = (of_image if per_image else torch.zeros_like(of_image)) * classes + of_class
    sums = each.new_zeros(units * classes).index_add(0, place, each)
    counts = each.new_zeros(units * classes).index_add(0, place, torch.ones_like(each))
    return ratio(sums, counts).view(units, classes)


class BlobLoss(RegionLoss):
    """Σ_k L_k/K per foreground class, L_k an overlap loss of its k-th connected component, p = softmax(z).

    Blob loss (Kofler 2022): L_k sees the component and all pixels of other classes of its image, the other components
    of the class left out, so that a small lesion counts as much as a large one. Use it beside the loss itself (the
    paper takes 2 of that to 1) where every lesion must be found. Not alone: every component sees all false positives,
    and an image without any sees none. The background, class 0, is left out. Components are joined by side, edge or
    corner.

    Args:
        of: `dice`, `iou`, `tversky` or `focal_tversky`, or a mapping with its parameters: `{name: iou, smooth: 1}`.
        per_image: average over the components of an image first; otherwise over all of the batch.
        classes: see `RegionLoss`, of the foreground; a class without components adds 0 under `all`.
        class_weights, num_classes, class_counts, ignore_index, reduction: see `RegionLoss`; `none` gives 0 for class 0.

    Raises:
        TypeError: soft labels, an unknown parameter of the loss.
        ValueError: an unknown loss of components, a parameter of it out of its range.

    >>> half = torch.zeros(1, 2, 5)  # p = ½; tp = fn = ½·size, fp = 1: 1 − 1/2.5 and 1 − 2/4
    >>> round(float(BlobLoss()(half, torch.tensor([[1, 0, 1, 1, 0]]))), 4)
    0.55
    """

    formula = staticmethod(blob_of_region)
    foreground: ClassVar[bool] = True
    capturable: ClassVar[bool] = False  # components are looked for until nothing changes

    def __init__(self, *, of: str | dict[str, Any] = "dice", **options: Unpack[RegionOptions]) -> None:
        of_component(of)
        super().__init__(**options)
        self.of = of
