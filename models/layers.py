"""The layers of an encoder, for learning rates that fall towards the image, and for recomputing them; internal."""

from __future__ import annotations

import re
from typing import Any

from torch import nn

from .network import Network


def layer_scales(encoder: nn.Module, decay: float) -> dict[nn.Parameter, float]:
    """The factor on the learning rate of each parameter: `decay` for the last layer, times it for each one before.

    A layer is a numbered block, such as `layer1.0` or `blocks.11`, in the order in which the encoder defines them; what
    has no number belongs to the block before it, the stem to the first layer.

    Args:
        encoder: of a network.
        decay: in (0, 1].

    Raises:
        ValueError: an encoder without numbered blocks.
    """
    layers: dict[nn.Parameter, int] = {}
    block, order = "", {"": 0}
    named = list(encoder.named_parameters())
    if hasattr(encoder, "patch_embed1"):  # a mix transformer: the embeddings of all stages come before all blocks
        named.sort(key=lambda one: re.sub(r"\D*(\d).*", r"\1", one[0]))
    for name, parameter in named:
        if (found := re.match(r".*?\.\d+(?=\.)", f".{name}")) is not None:
            block = found[0]
        layers[parameter] = order.setdefault(block, len(order))
    if len(order) < 2:
        raise ValueError(
            "optim.layer_decay: the blocks of this encoder have no numbers, so its layers are not known; leave it out, "
            "or take another encoder, such as resnet50"
        )
    return {parameter: float(decay ** (len(order) - layer)) for parameter, layer in layers.items()}


def recompute_activations(network: Network, name: str) -> None:
    """Let the stages of a network be computed again in the backward pass, in place of keeping what they gave.

    Args:
        network: changed in place.
        name: of the network.

    Raises:
        ValueError: it has no such stages.
    """
    module: Any = network.module if network.encoder is None else network.module.get_submodule(network.encoder)
    switch = getattr(module, "set_grad_checkpointing", None)
    switch = switch or getattr(getattr(module, "model", None), "set_grad_checkpointing", None)  # of timm, within smp
    if switch is None:
        raise ValueError(
            f"gradient_checkpointing: {name} cannot recompute its stages; use resenc_unet, or an encoder of timm, such "
            "as encoder: tu-resnet18"
        )
    switch(True)
