"""The networks by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from segmentation_models_pytorch.decoders.deeplabv3.decoder import ASPPPooling
from torch import nn

from segloss import AdaptiveClassWeight

from .segmentation import SegmentationModel
from .smp import deeplabv3plus, unet

MODELS: dict[str, Callable[..., nn.Module]] = {"deeplabv3plus": deeplabv3plus, "unet": unet}


class WeightsError(OSError):
    """Pretrained weights that cannot be had."""


def _shown(parameters: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in parameters.items() if value is not None)


def build(
    name: str, *, num_classes: int, channels: int, seed: int, acw: AdaptiveClassWeight | None = None, **parameters: Any
) -> SegmentationModel:
    """Build a network with initial weights that follow from the seed, whatever the loss, with or without ACW.

    The caller's random state is left as it was.

    Args:
        name: a key of `MODELS`.
        num_classes: C.
        channels: of the images.
        seed: of the initial weights.
        acw: a layer to put on the logits.
        **parameters: the network's own.

    Raises:
        ValueError: a parameter out of its range.
        WeightsError: pretrained weights are out of reach.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            network = MODELS[name](num_classes=num_classes, channels=channels, **parameters)
        except (RuntimeError, KeyError, AssertionError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{name} cannot be built with {_shown(parameters)}: {reason}") from error
        except OSError as error:
            raise WeightsError(
                f"model.pretrained: the weights of {parameters.get('encoder', name)} cannot be downloaded "
                f"({type(error).__name__}); connect to the network once, or set pretrained: null"
            ) from error
    encoder: Any = network.encoder
    pools_image = any(isinstance(module, ASPPPooling) for module in network.modules())
    return SegmentationModel(network, stride=encoder.output_stride, acw=acw, pools_image=pools_image)
