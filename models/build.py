"""The networks by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from segloss import AdaptiveClassWeight
from segloss.names import unknown

from .architectures import FACTORIES
from .classifier import classifier
from .fastfcn import fastfcn
from .heads import Head, HeadBias, set_heads
from .layers import recompute_activations
from .network import Network
from .resenc_unet import resenc_unet
from .resnet_cifar import resnet_cifar
from .segmentation import SegmentationModel
from .smp import weights_of
from .unet2015 import unet2015
from .vgg19_fcn import vgg19_fcn
from .weights import WeightsError, is_file, load_file

MODELS: dict[str, Callable[..., Network]] = {
    **FACTORIES,
    "unet2015": unet2015,
    "resenc_unet": resenc_unet,
    "vgg19_fcn": vgg19_fcn,
    "fastfcn": fastfcn,
    "resnet_cifar": resnet_cifar,
    "classifier": classifier,
}
LABEL_MODELS = ("resnet_cifar", "classifier")
"""The networks for pictures with one label."""
WITHOUT_CHOICE = {"vgg19_fcn": ["imagenet"], "unet2015": [], "resenc_unet": [], "resnet_cifar": []}
"""The published weights of the networks that have no choice of encoder."""


def check_pretrained(name: str, pretrained: str | None, encoder: str | None = None) -> None:
    """Raise a `ValueError` where a network has no such weights; fetches and reads nothing.

    Args:
        name: a key of `MODELS`.
        pretrained: a path that ends in .safetensors, the name of published weights, or None.
        encoder: None for the network's default.
    """
    if pretrained is None or is_file(pretrained):
        return
    encoder = encoder or _default_encoder(name)
    offered = WITHOUT_CHOICE.get(name, [] if encoder is None else weights_of(encoder))
    if pretrained not in offered:
        raise ValueError(
            f"pretrained: {encoder or name} has no weights {pretrained!r}, only "
            f"{', '.join([*offered, 'those of a .safetensors file'])}"
        )


def _default_encoder(name: str) -> str | None:
    parameter = inspect.signature(MODELS[name]).parameters.get("encoder")
    return None if parameter is None else parameter.default


def _shown(parameters: dict[str, Any]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in parameters.items() if value is not None)


def build(
    name: str,
    *,
    num_classes: int,
    channels: int,
    seed: int,
    acw: AdaptiveClassWeight | None = None,
    head: Head = "linear",
    head_bias: HeadBias | None = None,
    pretrained: str | None = None,
    gradient_checkpointing: bool = False,
    shapes_only: bool = False,
    **parameters: Any,
) -> SegmentationModel:
    """Build a network with initial weights that follow from the seed, whatever the loss, the head, with or without ACW.

    The caller's random state is left as it was.

    Args:
        name: a key of `MODELS`.
        num_classes: C.
        channels: of the images.
        seed: of the initial weights.
        acw: a layer to put on the logits.
        head: `linear`, or `cosine` for the cosine of features and class vectors.
        head_bias: where the bias of a linear head starts; None for the network's own way.
        pretrained: the name of published weights of the encoder, a .safetensors file of the encoder or the whole
            network, or None.
        gradient_checkpointing: compute stages again in the backward pass, in place of keeping what they gave.
        shapes_only: on torch's device `meta`, where tensors have shapes and no values: fast, and enough to check what
            is asked for, files of weights included.
        **parameters: the network's own.

    Raises:
        ValueError: an unknown name, a parameter out of its range, a network that cannot recompute.
        WeightsError: pretrained weights are out of reach, or of another network.
    """
    if name not in MODELS:
        raise ValueError(unknown("model", name, MODELS))
    check_pretrained(name, pretrained, parameters.get("encoder"))
    published = None if pretrained is None or is_file(pretrained) else pretrained
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []  # nobody draws on the others
    with torch.random.fork_rng(devices), _on_meta() if shapes_only else nullcontext():
        torch.manual_seed(seed)
        try:
            network = MODELS[name](num_classes=num_classes, channels=channels, pretrained=published, **parameters)
        except (RuntimeError, KeyError, AssertionError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{name} cannot be built with {_shown(parameters)}: {reason}") from error
        except OSError as error:
            raise WeightsError(
                f"model.pretrained: the weights of {parameters.get('encoder', name)} cannot be downloaded "
                f"({type(error).__name__}); connect to the network once, or set pretrained: null"
            ) from error
    set_heads(network, head, head_bias)
    if gradient_checkpointing:
        recompute_activations(network, name)
    if pretrained is not None and published is None:
        load_file(network, Path(pretrained))
    return SegmentationModel(network, acw)


class _RatesOnCpu(TorchFunctionMode):
    """Keeps `torch.linspace` on the CPU: transformers read their rates of stochastic depth from its values."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {"device": "cpu"} if function is torch.linspace else {}
        return function(*args, **{**given, **(kwargs or {})})


@contextmanager
def _on_meta() -> Iterator[None]:
    with torch.device("meta"), _RatesOnCpu():
        yield
