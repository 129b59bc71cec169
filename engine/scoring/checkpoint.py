"""Scoring as a step of its own: from a checkpoint and how it is to be scored to a scores document."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from lightning_fabric import Fabric

import datasets

from ..configuration.config import Config
from ..console.display import Display
from ..errors import UsageError
from ..experiment.device import load_trained
from ..experiment.experiment import Experiment
from ..experiment.run import Run
from .adjustment import adjust
from .evaluation import Scores
from .inference import Ensemble
from .memory import out_of_memory_explained
from .part import score_part

Watch = Callable[[Iterable[Any]], Iterable[Any]]
"""Is given what a part is scored by as it comes, predictions of cases or batches of pictures, and gives it on."""


class ScoredCheckpoint(NamedTuple):
    """A network with the weights of a checkpoint, and what it scores.

    Attributes:
        model: set up by Fabric, its logits adjusted as `scores.adjust` says.
        scores: of the part.
    """

    model: Any
    scores: Scores


def load_networks(
    run: Run, checkpoint: str, config: Config, adapter: datasets.Adapter, fabric: Fabric
) -> tuple[Any, int | None]:
    """The network of a run with the weights of a checkpoint, set up by Fabric, and its epoch; of an ensemble all.

    Raises:
        UsageError: no such checkpoint, or one that is damaged or of another run; an ensemble of no other runs.
    """
    members = run.members
    if config.scores.ensemble and len(members) < 2:
        raise UsageError(
            f"{run.path}: scores.ensemble takes the networks of all seeds of an arm; it is for arms of an ablation"
        )
    found = [one.load(checkpoint) for one in members]
    networks = [
        load_trained(one, weights, checkpoint, config, adapter, fabric)
        for one, weights in zip(members, found, strict=True)
    ]
    if len(networks) > 1:
        return Ensemble(networks), None
    return networks[0], found[0].state["progress"]["epoch"]


def score_checkpoint(
    run: Run,
    checkpoint: str,
    part: datasets.Part,
    experiment: Experiment,
    fabric: Fabric,
    display: Display,
    watch: Watch = lambda predictions: predictions,
) -> ScoredCheckpoint:
    """Score a part with the weights of a checkpoint, as `experiment.config.scores` says.

    Args:
        run: whose training has made the checkpoint.
        checkpoint: `best` or `last`.
        part: train, val or test.
        experiment: the data, and the rules of scoring; with the part that `adjustment.parts_needed` names.
        fabric: the device and the precision.
        display: where progress is shown.
        watch: see `Watch`.

    Raises:
        UsageError: no such checkpoint, or one that is damaged or of another run; images that do not fit into memory.
    """
    model, epoch = load_networks(run, checkpoint, experiment.config, experiment.adapter, fabric)
    track = display.track(f"scoring {part}")
    with out_of_memory_explained():
        adjustment = adjust(model, run, checkpoint, experiment.config, fabric, lambda: experiment, display)
        counts = score_part(
            model,
            part,
            experiment,
            fabric,
            lambda found, total: watch(track(found, total)),
            thorough=True,
            adjustment=adjustment,
        )
    origin: dict[str, Any] = {"checkpoint": checkpoint, "epoch": epoch}
    if isinstance(model, Ensemble):
        origin |= {"ensemble": len(model.networks), "seed": None}
    if experiment.adapter.kind == "label":
        origin["class_images"] = experiment.class_images or run.class_images
    return ScoredCheckpoint(model, counts.scores(**origin))
