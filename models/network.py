"""What every factory of a network returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import nn


class Network(NamedTuple):
    """A network, and what the wrapper and the options need to know of it.

    Attributes:
        module: maps images `(N, channels, H, W)`, H and W multiples of the stride, to logits at H/k × W/k.
        stride: what H and W are padded to a multiple of.
        heads: the names of the last linear convolutions; their outputs, summed, are the logits.
        encoder: the name of the part that ImageNet's weights fit, None where there is none.
        pools_image: it has batch normalisation on 1×1 maps, so it cannot train on a batch of one.
        smallest: the least H and W it works with; smaller images are padded to it.
        whole_image: its logits are of the image as a whole, `(N, C, 1, 1)`, for pictures with one label.
        coarse_heads: the names of the last linear convolutions of further logits that are trained and do not predict,
            those of half the resolution first; called with `supervised=True` the module gives a list of all.
    """

    module: nn.Module
    stride: int
    heads: tuple[str, ...]
    encoder: str | None = None
    pools_image: bool = False
    smallest: int = 1
    whole_image: bool = False
    coarse_heads: tuple[str, ...] = ()
