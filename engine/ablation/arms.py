"""An ablation: one configuration, changed by arms, trained on every fold with every seed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from segloss.names import unknown

from ..configuration.checking import check
from ..configuration.config import AblationSection, Config
from ..configuration.source import Node, load, merge
from ..errors import ConfigError, UsageError
from ..experiment.folds import Folds, fold_configs
from ..experiment.identity import FREE, fingerprint, flat
from ..experiment.run import Run
from .search import COUNTED, HELD_OUT, Search

FIXED = ("name", "seed", "output", "ablation", "extends", *HELD_OUT)
"""What an arm cannot change: the same patients are held out in every arm."""
SCORED = ("scores.background", "scores.grid", "scores.primary", *COUNTED)
"""Nor these: arms that are not scored alike cannot be compared."""
PROBES = "probe.json"
"""The file that holds the first gradient norms of the arms."""
TAKEN = (
    *("ablation.json", "figures", "jobs", PROBES, "report.html", "report-anonymous.html"),
    *("table.csv", "table.md", "table.tex"),
)
"""What else lies in the folder of an ablation."""
NOISE_FLOOR = "noise_floor"
NO_MEMBERS = (
    "scores.ensemble takes the networks of all seeds of another arm, but no other arm has the same training; add it"
)
EQUAL_EPOCHS = (
    "arms are compared after equal epochs, not after what the machine came to do in equal times; set train.epochs"
)
OTHER_SEEDS = 10_000
"""The seeds of the noise floor are those of the baseline and so many more."""


@dataclass(frozen=True)
class Cell:
    """One run of a grid: a fold of an arm with a seed, or a fold of a single configuration.

    Attributes:
        title: how it is called.
        config: of the run.
        arm: its arm; empty where there are no arms.
        fold: that is held out.
        training_of: the run whose training this one shares; None for a training of its own.
        members: of an ensemble, the runs of all seeds whose networks are scored together.
        trial: of a trial, which is not scored on the test part, how many epochs it trains now; None for other runs.
    """

    title: str
    config: Config
    arm: str
    fold: int
    training_of: Run | None = None
    members: tuple[Run, ...] = ()
    trial: int | None = None

    @property
    def run(self) -> Run:
        """Its folder, output/name."""
        return Run(Path(self.config.output) / self.config.name)

    @property
    def finished(self) -> bool:
        """Whether nothing of it is left to do; an ensemble that was scored with other members is to be scored again."""
        if self.trial is not None:
            return self.run.trial_ended(self.trial, self.config.train.epochs)
        return self.run.finished and (not self.members or self.run.is_ensemble_of(self.members))


def fold_cells(config: Config) -> list[Cell]:
    """The folds of a configuration with `data.split.fold: all`."""
    return [Cell(f"fold {fold}", one, "", fold) for fold, one in enumerate(fold_configs(config))]


def fold_runs(config: Config, folder: Path, seed: int) -> dict[int, Config]:
    """The folds of a configuration, or its only one, as runs `fold-F` in a folder, by their number."""
    cache = config.data.cache or str(Path(config.output) / ".cache")
    data = config.data.model_copy(update={"cache": cache})
    changes = {"seed": seed, "name": folder.name, "output": str(folder.parent), "data": data}
    whole = config.model_copy(update=changes)
    if Folds.wanted(config):
        return dict(enumerate(fold_configs(whole)))
    fold = getattr(config.data.split, "fold", 0)
    return {fold: whole.model_copy(update={"name": f"fold-{fold}", "output": str(folder)})}


def with_shared_trainings(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Cells, of which those that differ in how they are scored alone share a training.

    That which has begun is trained, or else the first.
    """
    trainings = [_training_key(cell.config) for cell in cells]
    begun = [cell.run.has_own_training for cell in cells]
    leads: dict[str, Cell] = {}
    for index in sorted(range(len(cells)), key=lambda index: not begun[index]):
        leads.setdefault(trainings[index], cells[index])
    return tuple(
        cell if own or cell.config.scores == leads[key].config.scores else replace(cell, training_of=leads[key].run)
        for cell, own, key in zip(cells, begun, trainings, strict=True)
    )


def assembled(cells: Sequence[Cell]) -> tuple[Cell, ...]:
    """Cells of which some share a training, and of each ensemble one a fold, last, with its members.

    Raises:
        UsageError: an ensemble of networks that no other arm trains.
    """
    whole = {cell.run.path: cell for cell in cells if cell.config.scores.ensemble}
    shared = with_shared_trainings([*(cell for cell in cells if not cell.config.scores.ensemble), *whole.values()])
    by_path = {cell.run.path: cell for cell in shared}
    found = []
    for cell in shared:
        if cell.config.scores.ensemble:
            if cell.training_of is None:
                raise UsageError(f"ablation.arms.{cell.arm}: {NO_MEMBERS}")
            lead = by_path[cell.training_of.path].arm
            of_lead = [one for one in shared if one.arm == lead and one.fold == cell.fold]
            cell = replace(cell, members=tuple(one.training_of or one.run for one in of_lead))
        found.append(cell)
    return tuple(found)


@dataclass(frozen=True)
class Ablation:
    """Arms, folds and seeds over one configuration.

    Attributes:
        config: the configuration without arms.
        section: what is asked for.
        arms: the configuration of each arm, the noise floor's among them where it is asked for.
        searches: the trials of each arm; empty where nothing is tuned.
    """

    config: Config
    section: AblationSection
    arms: dict[str, Config]
    searches: dict[str, Search]

    @classmethod
    def load(cls, path: Path, overrides: Sequence[str] = ()) -> Ablation:
        """Read and check an ablation and every one of its arms.

        Raises:
            ConfigError: every problem found, one a line.
        """
        root = load(path, overrides)
        config = check(deepcopy(root))
        section = config.ablation
        if section is None:
            raise ConfigError(
                [f"{path}:1:1: ablation: missing; it holds baseline and arms: configs/demo_ablation.yaml"]
            )
        node = root.value.pop("ablation")
        problems = list(_problems(section, node))
        if (tune := root.value.pop("tune", None)) is not None:
            problems.append(f"{tune.at}: tune: is for a single run; arms are tuned by ablation.tune; set tune: null")
        arms: dict[str, Config] = {}
        searches: dict[str, Search] = {}
        partly = False
        for name, changes in node.value["arms"].value.items():
            own = changes.value.pop("tune", None) if isinstance(changes.value, dict) else None
            try:
                merged = merge(root, changes)
                arms[name] = check(deepcopy(merged), like=config)
                if arms[name].train.minutes is not None:
                    raise ConfigError([f"{merged.find(['train', 'minutes'])[0].at}: train.minutes: {EQUAL_EPOCHS}"])
                if section.tune is not None:
                    searches[name] = Search.of(merged, arms[name], section.tune, node.value["tune"], own, name)
                elif own is not None:
                    needs = "needs ablation.tune, which sets the budget; null for none"
                    problems.append(f"{own.at}: ablation.arms.{name}.tune: {needs}")
            except ConfigError as error:
                problems += error.problems
                partly |= error.partly
        size = arms.get(section.baseline, config).data.size
        for name, arm in arms.items():
            if arm.scores.grid == "network" and arm.data.size != size:
                problems.append(
                    f"{node.value['arms'].value[name].at}: ablation.arms.{name}: data.size is the grid that "
                    "scores.grid: network scores on, so it is the same in every arm; use scores.grid: original"
                )
        problems += _ensemble_problems(section, node, arms)
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)), partly)
        if section.noise_floor:
            arms[NOISE_FLOOR] = arms[section.baseline]
            searches |= {NOISE_FLOOR: searches[section.baseline]} if searches else {}
        return cls(config, section, arms, searches)

    @property
    def path(self) -> Path:
        """Its folder, output/name."""
        return Path(self.config.output) / self.config.name

    @property
    def seeds(self) -> list[int]:
        """Of the trainings."""
        return self.section.seeds or [self.config.seed]

    def seeds_of(self, arm: str) -> list[int]:
        """The seeds of an arm, in the order of those that they are compared with; of an ensemble always the first."""
        if self.arms[arm].scores.ensemble:
            return self.seeds[:1] * len(self.seeds)
        return [(seed + OTHER_SEEDS) % 2**32 if arm == NOISE_FLOOR else seed for seed in self.seeds]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Every run of the arms as configured, those of one seed together, so that early results can be compared."""
        return assembled(
            [
                Cell(f"{arm} seed {seed} fold {fold}", one, arm, fold)
                for index in range(len(self.seeds))
                for arm, config in self.arms.items()
                for seed in [self.seeds_of(arm)[index]]
                for fold, one in fold_runs(config, self.path / arm / f"seed-{seed}", seed).items()
            ]
        )

    def training_of(self, arm: str) -> str | None:
        """The arm whose training an arm shares, since they differ in how they are scored alone; None for its own."""
        first = next(cell for cell in self.cells if cell.arm == arm)
        return None if first.training_of is None else first.training_of.path.relative_to(self.path).parts[0]

    def changed(self, arm: str) -> list[str]:
        """In what of data, model, batch size and mixing an arm differs from the baseline: what its batches follow from.

        Adaptive class weights draw no random number, so they are not counted.
        """
        mine, base = (_parts(self.arms[name]) for name in (arm, self.section.baseline))
        return [name for name in mine if mine[name] != base[name]]

    def differs(self, arm: str) -> list[str]:
        """In what an arm differs from the baseline beside loss, ACW and its remedy, with both values.

        What it changes of data and model is its remedy where it has the baseline's loss and ACW; another optimizer,
        schedule or number of epochs never is.
        """
        mine, base = (dict(flat(self.arms[name].document())) for name in (arm, self.section.baseline))
        keys = [key for key in {**base, **mine} if mine.get(key) != base.get(key) and key not in FREE]
        remedy: tuple[str, ...] = ("loss", "model.acw", "scores")
        if not any(key.startswith(("loss", "model.acw")) for key in keys):
            remedy = (*remedy, "data", "model")
        return [
            f"{key} {_plain(mine.get(key))}, not {_plain(base.get(key))}" for key in keys if not key.startswith(remedy)
        ]


def _plain(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).strip('"')


def _training_key(config: Config) -> str:
    """All that decides a training and how it is run: cells that agree in it may share one."""
    return json.dumps([fingerprint(config), config.train.model_dump(mode="json")])


def _parts(config: Config) -> dict[str, Any]:
    document = config.document()
    document["model"].pop("acw")
    train = document["train"]
    parts = {"data": document["data"], "model": document["model"], "batch size": train["batch_size"]}
    return parts | {"mix": train["mix"]}


def _ensemble_problems(section: AblationSection, node: Node, arms: Mapping[str, Config]) -> Iterator[str]:
    """Of arms that are ensembles: each takes the networks of at least two seeds of another."""
    ensembles = [name for name, arm in arms.items() if arm.scores.ensemble]
    trained = {_training_key(arm) for name, arm in arms.items() if ensembles and name not in ensembles}
    for name in ensembles:
        at = f"{node.value['arms'].value[name].at}: ablation.arms.{name}"
        if len(section.seeds or []) < 2:
            yield f"{at}: scores.ensemble takes the networks of two seeds or more; set ablation.seeds"
        if name == section.baseline:
            yield f"{at}: is the baseline, so it cannot be an ensemble; choose another"
        if _training_key(arms[name]) not in trained:
            yield f"{at}: {NO_MEMBERS}"


PRINTED = r"mDSC|mIoU|accuracy|top5|balanced_accuracy|f1|(DSC|IoU|f1|precision|recall) .+"
"""The scores that a paper may have printed."""


def _problems(section: AblationSection, node: Node) -> Iterator[str]:
    """What the types do not say."""
    arms = node.value["arms"]
    if section.baseline not in section.arms:
        yield f"{node.value['baseline'].at}: ablation.baseline: {unknown('arm', section.baseline, section.arms)}"
    if section.seeds is not None and len(set(section.seeds)) < len(section.seeds):
        yield f"{node.value['seeds'].at}: ablation.seeds: a seed is given twice, got {section.seeds}"
    if NOISE_FLOOR in section.arms:
        yield f"{arms.value[NOISE_FLOOR].at}: ablation.arms.{NOISE_FLOOR}: is the name of the baseline with other seeds"
    for name, changes in arms.value.items():
        if name in TAKEN:
            yield f"{changes.at}: ablation.arms.{name}: is the name of a file of every ablation; choose another"
        for key in (*FIXED, *SCORED):
            place, found = changes.find(key.split("."))
            if len(found) == len(key.split(".")):
                yield f"{place.at}: ablation.arms.{name}: {key} is the same in every arm; set it outside of ablation"
    for name in section.paper.values if section.paper is not None else ():
        if name not in section.arms:
            place, _ = node.find(["paper", "values", name])
            yield f"{place.at}: ablation.paper.values: {unknown('arm', name, section.arms)}"
        for score in section.paper.values[name] if section.paper is not None else ():
            if not re.fullmatch(PRINTED, score):
                place, _ = node.find(["paper", "values", name, score])
                known = "mDSC, mIoU, accuracy, top5, balanced_accuracy, f1; DSC, IoU, f1, precision or recall and the "
                known += "name of a class"
                yield f"{place.at}: ablation.paper.values.{name}: unknown score {score!r}; allowed: {known}"
