"""The wrapper that every network gets: any input size in, logits of that size out."""

from __future__ import annotations

import copy
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import SymInt, Tensor, nn

from segloss import AdaptiveClassWeight
from segloss.adjustment import LogitAdjustment
from segloss.resize import interpolate
from segloss.tensors import full

from .layers import layer_scales
from .network import Network
from .repeatable import make_repeatable

Decay = Literal["kernels", "all", "all_but_head_bias"]
"""What weight decay pulls at."""


class SegmentationModel(nn.Module):
    """Pad to the stride → network → adaptive class weight → adjustment → resize to the padded input → crop.

    Resizing is bilinear with `align_corners=False`, for every network alike. The logits are float32 (float64 where the
    network computes in it) from the end of the network on: under autocast too they are weighted and resized in it, and
    their gradients summed. The logits of a network for pictures with one label,
    `(N, C, 1, 1)`, are not resized.

    Args:
        network: a network and its needs.
        acw: a layer to put on the logits.

    Attributes:
        adjustment: what is done to the logits once the network is trained; None for nothing.
        heads: the names of the last linear or cosine layers, whose outputs, summed, are the logits before `acw`.
        coarse_heads: those of further logits that are trained and do not predict, at half the resolution first.
        encoder: the name of the part that may have pretrained weights; None where there is none.
        pools_image: the network has batch normalisation on 1×1 maps, so it cannot train on a batch of one.
        whole_image: its logits are of the image as a whole.
    """

    def __init__(self, network: Network, acw: AdaptiveClassWeight | None = None) -> None:
        super().__init__()
        make_repeatable(network.module)
        self.network = network.module
        self.acw = acw
        self.adjustment: LogitAdjustment | None = None
        self.stride, self.smallest, self.pools_image = network.stride, network.smallest, network.pools_image
        self.whole_image = network.whole_image
        self.heads = [f"network.{name}" for name in network.heads]
        self.coarse_heads = [f"network.{name}" for name in network.coarse_heads]
        self.encoder = None if network.encoder is None else f"network.{network.encoder}"

    def padded_size(self, images: Tensor) -> tuple[int, int]:
        """The height and width that images are padded to, which `low_resolution` logits stand for."""
        height, width = (self._padded_side(size) for size in images.shape[-2:])
        return height, width

    def _padded_side(self, size: int) -> int:
        strides = (size + self.stride - 1) // self.stride  # in this form torch.export knows the multiple of a symbol
        side: int = strides * self.stride
        if self.smallest > self.stride:
            side = cast(Any, torch).sym_max(side, self.smallest)
        return side

    def low_resolution(self, images: Tensor) -> Tensor:
        """The logits before the resize, `(N, C, h, w)` float32, of the padded input."""
        return self._weighted(self.network(self._padded(images)))

    def supervised_sizes(self, images: Tensor) -> list[tuple[int, int]]:
        """The height and width of each level of `forward` with `supervised`, the finest first."""
        height, width = images.shape[-2:]
        return [(-(-height // 2**level), -(-width // 2**level)) for level in range(1 + len(self.coarse_heads))]

    def _padded(self, images: Tensor) -> Tensor:
        rows, columns = (more - size for more, size in zip(self.padded_size(images), images.shape[-2:], strict=True))
        return F.pad(images, (0, columns, 0, rows)) if _unknown(rows) or rows or columns else images

    def _weighted(self, logits: Tensor) -> Tensor:
        logits = full(logits)
        logits = logits if self.acw is None else self.acw(logits)
        return logits if self.adjustment is None else self.adjustment(logits)

    def forward(self, images: Tensor, resize: bool = True, supervised: bool = False) -> Tensor | list[Tensor]:
        """Logits `(N, C, H, W)`, or `(N, C, 1, 1)`, for images of any size; without `resize`, `low_resolution`.

        With `supervised`, those of a network with `coarse_heads` at every level, a list as `segloss.DeepSupervision`
        takes it.
        """
        if supervised:
            found = self.network(self._padded(images), supervised=True)
            sizes = self.supervised_sizes(images)
            return [
                self._weighted(one)[..., :rows, :columns] for one, (rows, columns) in zip(found, sizes, strict=True)
            ]
        height, width = images.shape[-2:]
        padded = self.padded_size(images)
        logits = self.low_resolution(images)
        if not resize or self.whole_image:
            return logits
        if _unknown(height) or logits.shape[-2:] != padded:
            logits = interpolate(logits, padded)
        return logits[..., :height, :width]

    def folded(self) -> SegmentationModel:
        """A copy without ACW that gives the same logits: the class weights are merged into its linear heads.

        Raises:
            TypeError: cosine heads, which have no scale to take the weights.
        """
        other = copy.deepcopy(self)
        if self.acw is not None:
            for name in (*self.heads, *self.coarse_heads):
                other.set_submodule(name, self.acw.fold(cast(nn.Conv2d, self.get_submodule(name))))
            other.acw = None
        return other

    def parameter_groups(
        self, weight_decay: float, decay: Decay = "kernels", layer_decay: float | None = None
    ) -> list[dict[str, object]]:
        """Groups for an optimizer: what decays, what does not, and the ACW weights, which never do.

        Args:
            weight_decay: of the first group.
            decay: `kernels` and matrices, but no biases and norms; `all`; `all_but_head_bias`.
            layer_decay: with it each layer of the encoder has groups of its own, whose `lr_scale` is that of the next
                layer times so much; the rest has 1, and comes first.

        Raises:
            ValueError: a layer decay for a network without encoder, or whose encoder has no numbered blocks.
        """
        if layer_decay is not None and self.encoder is None:
            raise ValueError(
                "optim.layer_decay: is of the layers of an encoder, which this network has not; leave it out"
            )
        acw = [] if self.acw is None else list(self.acw.parameters())
        rest = list(self.network.parameters())
        spared = {id(p) for p in rest if p.dim() <= 1} if decay == "kernels" else set[int]()
        if decay == "all_but_head_bias":
            biases = (getattr(self.get_submodule(name), "bias", None) for name in self.heads)
            spared = {id(bias) for bias in biases if bias is not None}
        scales = {} if layer_decay is None else layer_scales(self.get_submodule(self.encoder or ""), layer_decay)
        found: list[dict[str, object]] = []
        for scale in sorted({scales.get(p, 1.0) for p in rest}, reverse=True):
            own = [p for p in rest if scales.get(p, 1.0) == scale]
            rate = {} if layer_decay is None else {"lr_scale": scale}
            found += [
                {
                    "name": "decay",
                    "params": [p for p in own if id(p) not in spared],
                    "weight_decay": weight_decay,
                    **rate,
                },
                {"name": "no_decay", "params": [p for p in own if id(p) in spared], "weight_decay": 0.0, **rate},
            ]
        found.append({"name": "acw", "params": acw, "weight_decay": 0.0})
        return [group for group in found if group["params"]]


def _unknown(size: int) -> bool:
    """Whether a size is a symbol, of a graph that is exported for images of any size: then every step is taken."""
    return isinstance(size, SymInt)
