"""Augmentation of whole batches on the device: the names and parameters of albumentations, other random numbers.

Geometric transforms of a sample are composed, and its pixels sampled once: images linearly, masks by the nearest pixel,
black and ignored outside. Photometric ones come after. What a crop has cut off, a later rotation brings back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..augment import build_transform
from ..case import IGNORE
from ..errors import DataError
from .elastic import ElasticTransform
from .forms import Form, Geometric, Numbers, Photometric, Placed
from .geometric import GEOMETRIC
from .philox import normals, numbers
from .photometric import ColorJitter, GaussianBlur, GaussNoise, RandomBrightnessContrast, RandomGamma

FORMS: dict[str, type[Form]] = {
    **GEOMETRIC,
    "ElasticTransform": ElasticTransform,
    **{form.__name__: form for form in (RandomBrightnessContrast, RandomGamma, ColorJitter, GaussNoise, GaussianBlur)},
}
"""Device forms by albumentations' name."""


def device_form(name: str, **parameters: Any) -> Form:
    """The device form of a transform.

    Raises:
        ValueError: it has none, or not with these parameters.
    """
    if name not in FORMS:
        raise ValueError(f"{name} has no device form; those that have: {', '.join(FORMS)}")
    return FORMS[name](build_transform(name, **parameters))


@dataclass(frozen=True)
class Plan:
    """What happens to each sample of an epoch, on the device.

    Attributes:
        seed: of the run.
        epoch: from 0.
        positions: `(N,)` of the samples in the epoch.
        size: rows and columns that come out.
        places: from the pixels that come out to those that go in, step by step: `(N, 2, 2, 3)`, of the image and of the
            mask; between two of them lies an elastic transform.
        elastic: of each of these the form, its stream, the rows and columns it moves, and `(N,)` 1 where it is applied.
        blends: `(N,)`, see `Geometric`.
        photometric: the forms with their streams and parameters `(N, P)`.
        moves: whether any sample is resampled.
    """

    seed: int
    epoch: int
    positions: Tensor
    size: tuple[int, int]
    places: list[Tensor]
    elastic: list[tuple[ElasticTransform, int, tuple[int, int], Tensor]]
    blends: Tensor
    photometric: list[tuple[Photometric, int, Tensor]]
    moves: bool

    def apply(self, rows: slice, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Augment a batch.

        Args:
            rows: which samples of the epoch they are.
            images: `(n, C, H, W)` float32 in [0, 1].
            masks: `(n, H, W)` uint8; `(n, 1, 1)` of pictures with one label, which stay as they are.
        """
        if self.moves:
            of_image, of_mask = self._places(rows)
            if masks.shape[1:] == images.shape[2:]:
                masks = sampled_nearest(masks, of_mask)
            images = sampled(images, of_image, self.blends[rows])
        for form, stream, parameters in self.photometric:
            drawn = partial(self._normals, rows, stream)
            images = form.apply(images, parameters[rows], drawn)
        return images, masks

    def _normals(self, rows: slice, stream: int, count: int) -> Tensor:
        return normals(self.seed, self.epoch, self.positions[rows], count, stream)

    def _places(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Where the pixels that come out are sampled, of images and of masks: `(n, rows, columns, 2)` in pixels."""
        device = self.positions.device
        y, x = (torch.arange(count, device=device, dtype=torch.float32) for count in self.size)
        found = [torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1)[None]] * 2
        for number in range(len(self.places) - 1, -1, -1):
            found = [_moved(self.places[number][rows, which], place) for which, place in enumerate(found)]
            if number > 0:
                form, stream, size, applied = self.elastic[number - 1]
                field = form.field(self.seed, self.epoch, self.positions[rows], stream, size)
                field = field * applied[rows, None, None, None]
                found = [place + _at(field, place).movedim(1, -1) for place in found]
        return found[0], found[1]


class BatchAugmentation:
    """A chain of device forms.

    Args:
        transforms: `{"name": a key of FORMS, **parameters}` each.

    Raises:
        ValueError: one has no device form.
    """

    def __init__(self, transforms: Sequence[Mapping[str, Any]]) -> None:
        self.forms = [device_form(**transform) for transform in transforms]

    def plan(
        self, seed: int, epoch: int, positions: Sequence[int], size: tuple[int, int], device: torch.device
    ) -> Plan:
        """What happens to the samples of an epoch: all random parameters at once.

        Args:
            seed: of the run.
            epoch: from 0.
            positions: of the samples in the epoch.
            size: rows and columns of all of them.
            device: where they are.

        Raises:
            DataError: images of different sizes would come out; a crop is larger than an image.
        """
        at = torch.tensor(positions, dtype=torch.int64)
        count = len(at)
        drawn = iter(numbers(seed, epoch, at, sum(1 + form.draws for form in self.forms)).double().numpy().T)
        sizes = np.tile(np.array(size), (count, 1))
        image = mask = np.tile(np.eye(3), (count, 1, 1))
        blends, moves = np.zeros(count, dtype=bool), False
        places, elastic, photometric = [], [], []
        for stream, form in enumerate(self.forms, start=1):
            applied = form.applied(next(drawn))
            own = np.stack([next(drawn) for _ in range(form.draws)] or [np.zeros(count)], axis=1)
            if isinstance(form, Geometric):
                placed = _placed(form, own, sizes)
                moves, blends = True, blends | (applied & form.blends)
                image = np.where(applied[:, None, None], image @ placed.image, image)
                mask = np.where(applied[:, None, None], mask @ placed.mask, mask)
                sizes = np.where(applied[:, None], placed.sizes, sizes)
            elif isinstance(form, ElasticTransform):
                moves, blends = True, blends | applied
                places.append((image, mask))
                elastic.append((form, stream, _one_size(sizes), torch.from_numpy(applied).float().to(device)))
                image = mask = np.tile(np.eye(3), (count, 1, 1))
            elif isinstance(form, Photometric):
                parameters = torch.from_numpy(form.parameters(own, applied)).float()
                photometric.append((form, stream, parameters.to(device)))
        places.append((image, mask))
        return Plan(
            seed=seed,
            epoch=epoch,
            positions=at.to(device),
            size=_one_size(sizes),
            places=[torch.from_numpy(np.stack(each, axis=1)[:, :, :2]).float().to(device) for each in places],
            elastic=elastic,
            blends=torch.from_numpy(blends).to(device),
            photometric=photometric,
            moves=moves,
        )


def sampled(images: Tensor, places: Tensor, blends: Tensor) -> Tensor:
    """Images at some places, linearly between pixels, 0 outside.

    Args:
        images: `(n, C, H, W)` float32.
        places: `(n, rows, columns, 2)` columns and rows of theirs.
        blends: `(n,)`, see `Geometric`.
    """
    last = _last(images)
    blends = blends[:, None, None, None]
    inside = ((places >= -0.5) & (places <= last + 0.5)).all(-1).unsqueeze(1) | blends
    kept = torch.where(blends, places, torch.minimum(places.clamp_min(0), last))
    return _at(images, kept) * inside


def sampled_nearest(masks: Tensor, places: Tensor) -> Tensor:
    """Masks `(n, H, W)` at the pixels nearest to some places `(n, rows, columns, 2)`; ignored outside."""
    last = _last(masks)
    nearest = (places + 0.5).floor()
    inside = ((nearest >= 0) & (nearest <= last)).all(-1)
    column, row = torch.minimum(nearest.clamp_min(0), last).long().unbind(-1)
    found = masks.flatten(1).gather(1, (row * masks.shape[2] + column).flatten(1)).view(inside.shape)
    return torch.where(inside, found, IGNORE)


def _last(images: Tensor) -> Tensor:
    """The last column and the last row, `(2,)`, on the device."""
    height, width = images.shape[-2:]
    return torch.stack([torch.full((), side - 1.0, device=images.device) for side in (width, height)])


def _at(images: Tensor, places: Tensor) -> Tensor:
    """`(n, C, H, W)` at places `(n, rows, columns, 2)` in pixels, linearly between them, 0 outside."""
    grid = (2 * places + 1) / (_last(images) + 1) - 1
    return F.grid_sample(images, grid.expand(len(images), -1, -1, -1), "bilinear", "zeros", align_corners=False)


def _moved(matrices: Tensor, places: Tensor) -> Tensor:
    """Places `(n, rows, columns, 2)` by matrices `(n, 2, 3)`."""
    x, y = places.unbind(-1)
    entries = matrices[..., None, None]
    moved = [entries[:, row, 0] * x + entries[:, row, 1] * y + entries[:, row, 2] for row in (0, 1)]
    return torch.stack(moved, dim=-1)


def _placed(form: Geometric, own: Numbers, sizes: NDArray[np.int64]) -> Placed:
    try:
        return form.placed(own, sizes)
    except ValueError as error:
        raise DataError(f"data.augment: {error}; make it smaller, or put PadIfNeeded before it") from error


def _one_size(sizes: NDArray[np.int64]) -> tuple[int, int]:
    """Rows and columns, the same for all samples."""
    found = np.unique(sizes, axis=0)
    if len(found) > 1:
        shown = ", ".join(f"{width}x{height}" for height, width in found[:3].tolist())
        raise DataError(
            f"data.augment: gives images of different sizes ({shown}), but with data.resident a batch needs one; end "
            "with a RandomCrop, and have ElasticTransform where all images have one size"
        )
    return int(found[0, 0]), int(found[0, 1])
