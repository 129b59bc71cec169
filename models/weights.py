"""Initial weights from files: safetensors only, nothing is ever unpickled."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from .network import Network
from .unused import without_left_out

CLASSIFIERS = ("fc.", "classifier.", "head.", "last_linear.")
"""What an encoder's file may hold beyond the encoder: the layer that names ImageNet's classes."""


class WeightsError(OSError):
    """Initial weights that cannot be had."""


class WeightsWarning(UserWarning):
    """Initial weights that were not all taken."""


def is_file(pretrained: str) -> bool:
    """Whether `pretrained` is a path rather than the name of published weights."""
    return pretrained.endswith(".safetensors")


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        WeightsError: missing, or no such file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise WeightsError(f"{path}: no such file; give the path of a .safetensors file") from None
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: no whole safetensors file ({error}); save the weights again") from error


def load_weights(
    module: nn.Module, weights: dict[str, Tensor], source: str, optional: Sequence[Sequence[str]] = ()
) -> list[str]:
    """Put weights into a module.

    Args:
        module: changed in place.
        weights: by name, as in `module.state_dict()`; counters of batch normalisation may be missing, and there may be
            those of stages that the network does not run.
        source: where they come from, for errors.
        optional: groups of parts by name; a group that differs is left as it is, whole.

    Returns:
        The parts that were left.

    Raises:
        WeightsError: the first tensor that is missing, foreign or of another shape; nothing is changed.
    """
    weights = without_left_out(module, weights)
    own = {k: v for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked") or k in weights}
    left: list[str] = []
    for group in optional:
        starts = tuple(f"{part}." for part in group)
        mine = {key: tensor.shape for key, tensor in own.items() if key.startswith(starts)}
        theirs = {key: tensor.shape for key, tensor in weights.items() if key.startswith(starts)}
        if mine != theirs:
            left += group
    spared = tuple(f"{part}." for part in left)
    mine = {key: tensor.shape for key, tensor in own.items() if not key.startswith(spared)}
    theirs = {key: tensor.shape for key, tensor in weights.items() if not key.startswith(spared)}
    if mine != theirs:
        missing = [f"it lacks {key} {tuple(shape)}" for key, shape in mine.items() if key not in theirs]
        foreign = [f"it has {key}, which the network has not" for key in theirs if key not in mine]
        other = [
            f"{key} is {tuple(theirs[key])} there and {tuple(shape)} here"
            for key, shape in mine.items()
            if key in theirs and theirs[key] != shape
        ]
        facts = "; ".join(found[0] for found in (missing, foreign, other) if found)
        raise WeightsError(f"{source}: weights of another network: {facts}; set the parameters they were trained with")
    module.load_state_dict({key: weights[key] for key in mine}, strict=False)
    return left


def load_file(network: Network, path: Path) -> None:
    """Start a network from a file of its own weights, or of its encoder's.

    The class head may be another: it is left as it is, and so is the classifier of an encoder's file; a
    `WeightsWarning` says which.

    Raises:
        WeightsError: see `read_weights` and `load_weights`.
    """
    weights = read_weights(path)
    part, own = network.encoder, network.module.state_dict()
    if part is None or any(key in own for key in weights):
        left = load_weights(network.module, weights, str(path), [[*network.heads, *network.coarse_heads]])
    else:
        encoder = network.module.get_submodule(part)
        names = {key for key in weights if key.startswith(CLASSIFIERS)} - encoder.state_dict().keys()
        load_weights(encoder, {k: v for k, v in weights.items() if k not in names}, str(path))
        left = sorted({key.rpartition(".")[0] for key in names})
    if left:
        warnings.warn(f"model.pretrained: {path}: not taken: {', '.join(left)}", WeightsWarning, stacklevel=2)
