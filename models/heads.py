"""The last layer of a network: linear or cosine, and where its bias starts."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Literal, cast, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.amp import is_autocast_available

from segloss import prior_bias_
from segloss.names import check_choice

from .network import Network

Head = Literal["linear", "cosine"]
HeadBias = Literal["zero", "prior"]
TINY = 1e-12
"""The least squared length of a feature vector; a shorter one has logits near 0."""


class CosineHead(nn.Module):
    """logit_c = cos(x, w_c): both the features and the class vectors have length one (Cao 2019, the head of LDAM).

    Features `(N, K, H, W)` to logits `(N, C, H, W)` in [−1, 1], without a bias. The features of a pixel are those under
    the kernel. They are computed in float32, under autocast too. The class vectors start as those of the linear
    head in its place, so making it draws no random number.

    Args:
        linear: the convolution it replaces; of stride 1, not dilated, not grouped.
        share: how many heads are summed: each gives its share, so that the sum stays in [−1, 1].
    """

    def __init__(self, linear: nn.Conv2d, share: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(F.normalize(linear.weight.detach().flatten(1)).view_as(linear.weight))
        self.padding, self.share = cast(tuple[int, int], linear.padding), share

    def forward(self, features: Tensor) -> Tensor:
        """The cosine of each pixel's features to each class vector, over `share`."""
        device = features.device.type
        with torch.autocast(device, enabled=False) if is_autocast_available(device) else nullcontext():
            x, weight = features.float(), self.weight.float()
            vectors = F.normalize(weight.flatten(1)).view_as(weight)
            square = x.square().sum(1, keepdim=True)
            length = F.conv2d(square, torch.ones_like(weight[:1, :1]), padding=self.padding).clamp(min=TINY).sqrt()
            cosine = F.conv2d(x, vectors, padding=self.padding) / length
            return cosine if self.share == 1 else cosine / self.share

    def extra_repr(self) -> str:
        """The parameters that the representation shows."""
        classes, width, *size = self.weight.shape
        return f"{width}, {classes}, kernel_size={tuple(size)}, share={self.share}"


def set_heads(network: Network, head: Head, head_bias: HeadBias | None) -> None:
    """Make the heads of a network what is asked for; draws no random number.

    Args:
        network: changed in place.
        head: `linear` leaves the convolutions as they are.
        head_bias: `zero`, or `prior` for −log((1−π)/π), π = 1/C; None leaves the biases as they are. Of several heads
            that are summed the first has the prior.

    Raises:
        ValueError: an unknown head or bias, a bias for a cosine head.
    """
    check_choice("head", head, get_args(Head))
    if head_bias is not None:
        check_choice("head_bias", head_bias, get_args(HeadBias))
    if head == "cosine" and head_bias is not None:
        raise ValueError(f"head_bias: {head_bias}, but a cosine head has no bias; leave it out, or use head: linear")
    for index, name in enumerate([*network.heads, *network.coarse_heads]):
        layer = cast(nn.Conv2d, network.module.get_submodule(name))
        is_summed = index < len(network.heads)
        if head == "cosine":
            network.module.set_submodule(name, CosineHead(layer, len(network.heads) if is_summed else 1))
        elif head_bias is not None:
            bias = cast(Tensor, layer.bias)
            nn.init.zeros_(bias)
            if head_bias == "prior" and (index == 0 or not is_summed):
                prior_bias_(bias)
