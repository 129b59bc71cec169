"""Starting a network from the weights of another run."""

from __future__ import annotations

import warnings
from pathlib import Path

from models import SegmentationModel, WeightsWarning, load_weights

from .checkpoint import Checkpoint


def checkpoint_of(source: str) -> Path:
    """The checkpoint that `model.init_from` names: the file itself, or the best one of a run's folder."""
    path = Path(source)
    return path / "checkpoints" / "best.safetensors" if path.is_dir() else path


def start_from(model: SegmentationModel, source: str) -> None:
    """Take the weights of another run's checkpoint.

    Head and adaptive class weights are left as they are where they differ, as they do with another number of classes,
    and class weights that the network has not are left out; a `WeightsWarning` says so.

    Args:
        model: changed in place.
        source: a run's folder, or a checkpoint.

    Raises:
        UsageError: there is no such checkpoint.
        WeightsError: it is of another network.
    """
    path = checkpoint_of(source)
    weights = Checkpoint.load(path).part("model")
    has_acw, kept = model.acw is not None, weights
    if not has_acw:
        kept = {key: tensor for key, tensor in weights.items() if not key.startswith("acw.")}
    left = load_weights(model, kept, str(path), [[*model.heads, *model.coarse_heads], ["acw"] if has_acw else []])
    left += ["acw"] if len(kept) < len(weights) else []
    if left:
        warnings.warn(f"model.init_from: {path}: not taken: {', '.join(left)}", WeightsWarning, stacklevel=2)
