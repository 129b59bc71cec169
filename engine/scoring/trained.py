"""What a run, or those of its folds, predict with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

import datasets

from ..configuration import build
from ..configuration.config import Config
from ..console.display import Display
from ..experiment.experiment import prepare
from ..experiment.folds import Folds
from ..experiment.run import Run
from .adjustment import adjust, parts_needed
from .checkpoint import load_networks
from .inference import Ensemble


@dataclass(frozen=True)
class Trained:
    """A run that predicts, or the folder of one with every fold, which predicts with all networks.

    Attributes:
        path: the folder.
        runs: the run, or those of the folds.
        checkpoint: `best`, `last` or `average`.
        overrides: `a.b=value` arguments.
        config: of the first run, with the overrides.
        adapter: of its data.
    """

    path: Path
    runs: list[Run]
    checkpoint: str
    overrides: Sequence[str]
    config: Config
    adapter: datasets.Adapter

    @classmethod
    def open(cls, path: Path, checkpoint: str | None, overrides: Sequence[str]) -> Trained:
        """Look at a folder; no weights are read.

        Args:
            path: the folder.
            checkpoint: None for the one that `scores.checkpoint` names.
            overrides: `a.b=value` arguments.

        Raises:
            UsageError: no run; an override that would make it another one.
        """
        runs = Folds(path).runs if Folds.holds(path) else [Run.open(path)]
        config = runs[0].config_with(overrides)
        adapter = build.build_adapter(config.data)
        return cls(path, runs, checkpoint or config.scores.checkpoint, overrides, config, adapter)

    def network(self, fabric: Fabric, display: Display) -> Any:
        """The network, or the mean of those of the folds, set up by Fabric, in evaluation mode.

        Raises:
            UsageError: no such checkpoint, or one that is damaged.
        """
        networks = [load_networks(run, self.checkpoint, self.config, self.adapter, fabric)[0] for run in self.runs]
        for run, network in zip(self.runs, networks, strict=True):
            parts = parts_needed(run, self.checkpoint, self.config)
            config = run.config_with(self.overrides) if parts else self.config  # with its own fold
            experiment = partial(prepare, config, run.training, display, parts)
            adjust(network, run, self.checkpoint, config, fabric, experiment, display)
        if Folds.holds(self.path) and (lacking := Folds(self.path).unfinished(self.config)):
            names = ", ".join(lacking)
            display.line(f"warning: not finished, so the mean lacks them or has them half trained: {names}")
        elif not self.runs[0].trained:
            display.line(f"warning: the training of {self.path} is not finished; this is what it has learnt so far")
        if len(networks) > 1:
            display.line(f"the mean of {len(networks)} networks, one a fold")
        return (Ensemble(networks) if len(networks) > 1 else networks[0]).eval()
