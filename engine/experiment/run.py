"""A run is a folder: its configuration, its environment, its split, its log, its checkpoints, its scores."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from datasets import DataError, FromFile
from datasets.files import cannot_write, write_atomically
from segloss.names import unknown

from ..configuration.build import build_splitter
from ..configuration.checking import load_saved
from ..configuration.config import Config
from ..errors import UsageError
from ..store import formats
from ..store.checkpoint import Checkpoint
from ..store.files import read_json, write_json
from .environment import environment
from .identity import AUTOMATIC, FREE, MAY_CHANGE, SCORING, fingerprint, identity, within

TRAINED = "trained.json"
"""The file that says that the training is complete."""
SHARED = "training.json"
"""The file of a run that is scored from the checkpoints of another: it holds the path to that run."""
ENVIRONMENT = "environment.json"
"""The file of a run that has its own training: what it began with."""


class Run:
    """The folder of one run: a training, and the scores of its best checkpoint.

    A run that differs from another in how it is scored alone has no training of its own: `training` is then the other.

    Args:
        path: the folder.
        writes: false where another process of the same training writes it: then writing does nothing.
    """

    def __init__(self, path: Path, writes: bool = True) -> None:
        self.path, self.writes = path, writes

    @classmethod
    def of(cls, config: Config, writes: bool = True, remedy: str | None = None) -> Run:
        """The folder of a configuration, which may not exist yet; nothing is written.

        Args:
            config: of the run.
            writes: see `Run`.
            remedy: what to do where the folder holds another run; None for a name of its own.

        Raises:
            UsageError: it holds another run, or something else.
            DataError: the file of its split no longer says what it said when the run began.
        """
        run = cls(Path(config.output) / config.name, writes)
        if run.config_file.is_file():
            run._refuse_other(config, remedy or f"give this one a name of its own, such as name={config.name}-2")
            run._refuse_other_split(config)
        elif run.path.exists() and not (run.path.is_dir() and all(map(_may_precede, run.path.iterdir()))):
            raise UsageError(f"{run.path}: not empty and no run of this program; choose another name or output")
        return run

    def create(self, config: Config) -> None:
        """Make the folder, unless it is there; a `DataError` where that cannot be."""
        if not self.writes:
            return
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not self.config_file.is_file():
                write_atomically(self.config_file, config.to_yaml().encode())  # first: from now on it is a run
            if self.shares_training:
                return
            if not (self.path / ENVIRONMENT).is_file():
                found = environment(config.train.device) | {"seed": config.seed, "run": fingerprint(config)}
                self.write_json(ENVIRONMENT, {"format": formats.RUN} | found)
            self.checkpoints.mkdir(exist_ok=True)
        except OSError as error:
            raise DataError(f"{self.path}: {cannot_write(error, self.path)}") from error

    def share(self, config: Config, other: Run | None, members: Sequence[Run] = ()) -> None:
        """Say whose training this run, which is not finished, is scored from, unless it has begun its own.

        Scores of an ensemble of other members are removed.

        Args:
            config: of this run.
            other: None for a training of its own.
            members: of an ensemble, the runs whose networks are scored together, `other` among them.
        """
        if other is None:
            (self.path / SHARED).unlink(missing_ok=True)
        elif not self.has_own_training:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "scores.json").unlink(missing_ok=True)
            relative = [os.path.relpath(run.path, self.path) for run in (other, *members)]
            said = {"format": formats.RUN, "run": relative[0]}
            self.write_json(SHARED, said | ({"members": relative[1:]} if members else {}))
            self.create(config)

    @classmethod
    def open(cls, path: Path) -> Run:
        """An existing run; a `UsageError` where the folder is none."""
        run = cls(path)
        if not run.config_file.is_file():
            raise UsageError(f"{path}: not a run (no config.yaml in it); give the folder that train made, output/name")
        return run

    def config(self) -> Config:
        """The run's configuration as it was saved: its types are checked, and nothing is built.

        Raises:
            UsageError: the run is of a later version's format.
            ConfigError: as of `load_saved`.
        """
        self._refuse_newer()
        return load_saved(self.config_file, self._resolved)

    def config_with(self, overrides: Sequence[str], allowed: Sequence[str] = (*FREE, *MAY_CHANGE)) -> Config:
        """The run's configuration changed by overrides, every value in its range.

        Args:
            overrides: `a.b=value` arguments.
            allowed: the keys that they may change; by default only how the run is scored and computed, and where data
                lies.

        Raises:
            UsageError: an override that would make it another run; a value out of range; a later version's format.
        """
        for key in (override.split("=")[0] for override in overrides):
            if not within(key, allowed):
                first, second = (*key.split("."), "")[:2]
                section = self.config().document().get(first)
                if section is None or (isinstance(section, dict) and second and second not in section):
                    raise UsageError(f"command line: {unknown('key', key, allowed)}")
                raise UsageError(
                    f"command line: {key}: belongs to the training of this run; may be given: {', '.join(allowed)}"
                )
        self._refuse_newer()
        return load_saved(self.config_file, [*self._resolved, *overrides], ranges=True)

    def _refuse_newer(self) -> None:
        path = self.path / (SHARED if self.shares_training else ENVIRONMENT)
        found = read_json(path) if path.is_file() else None
        if isinstance(found, dict):
            formats.refuse_newer(path, found.get("format"), formats.RUN)

    @property
    def _resolved(self) -> list[str]:
        """What the data set's own file said of its classes, as overrides; earlier versions kept it in a file."""
        older = self.path / "labels.json"
        labels = read_json(older) if older.is_file() else {}
        return [f"data.{key}={json.dumps(value, ensure_ascii=False)}" for key, value in labels.items()]

    @property
    def config_file(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def training(self) -> Run:
        """The run whose checkpoints and log belong to this one: itself, but where it shares those of another."""
        return self._shared("run")[0] if self.shares_training else self

    @property
    def members(self) -> list[Run]:
        """The runs whose networks are scored: its training, or those of an ensemble."""
        return self._shared("members") if self.shares_training else [self]

    def is_ensemble_of(self, members: Sequence[Run]) -> bool:
        """Whether the networks that are scored are those of some runs, as far as it says whose they are."""
        wanted = [Path(os.path.normpath(one.path)) for one in members]
        return not self.shares_training or [one.path for one in self.members] == wanted

    def _shared(self, key: str) -> list[Run]:
        found = self.read_json(SHARED)
        paths = found.get(key, found.get("run")) if isinstance(found, dict) else None
        paths = [paths] if isinstance(paths, str) else paths
        if not isinstance(paths, list) or not paths or not all(isinstance(path, str) for path in paths):
            raise UsageError(f"{self.path / SHARED}: damaged; restore it, or remove the folder")
        return [Run(Path(os.path.normpath(self.path / path)), writes=False) for path in paths]

    @property
    def checkpoints(self) -> Path:
        """The folder of `last` and `best`."""
        return self.training.path / "checkpoints"

    @property
    def figures(self) -> Path:
        """The folder of curves and overlays."""
        return self.path / "figures"

    @property
    def shares_training(self) -> bool:
        """Whether it is scored from the checkpoints of another run."""
        return (self.path / SHARED).is_file()

    @property
    def has_own_training(self) -> bool:
        """Whether it has begun a training that is not another's."""
        return self.config_file.is_file() and not self.shares_training

    @property
    def trained(self) -> bool:
        """Whether the training is complete; of an ensemble, all of them."""
        return all(
            ((one.path / TRAINED).is_file() and one.checkpoint("best").is_file()) or one.finished
            for one in self.members
        )

    @property
    def finished(self) -> bool:
        """Whether the run is trained and scored: the scores are written last."""
        return (self.path / "scores.json").is_file()

    def tried(self, epochs: int) -> bool:
        """Whether a trial has trained so many epochs, or cannot go on."""
        return (self.training.path / TRAINED).is_file() or self.last_epoch >= epochs

    def trial_ended(self, epochs: int, total: int | None) -> bool:
        """Whether nothing is left of a trial of `total` epochs that trains so many of them.

        A trial that is complete has said so, and keeps no weights.
        """
        if (self.training.path / TRAINED).is_file():
            return not self.checkpoints.is_dir()
        return epochs != total and self.tried(epochs)

    @property
    def not_finite(self) -> bool:
        """Whether a trial has ended since its loss or gradient was not finite."""
        path = self.training.path / TRAINED
        return path.is_file() and "not_finite" in read_json(path)

    @property
    def class_images(self) -> list[int] | None:
        """Of pictures with one label, how many of each class it was trained on; None where that is not known."""
        path = self.training.path / TRAINED
        found: list[int] | None = read_json(path).get("class_images") if path.is_file() else None
        return found

    @property
    def last_epoch(self) -> int:
        """The last that is logged; 0 for none."""
        lines = self._log_lines()
        return int(self._entry(len(lines), lines[-1])["epoch"]) if lines else 0

    def checkpoint(self, name: str) -> Path:
        """The file of the checkpoint `last` or `best`."""
        return self.checkpoints / f"{name}.safetensors"

    def environment(self) -> dict[str, Any]:
        """What the run began with; empty where that was not written."""
        path = self.training.path / ENVIRONMENT
        found = read_json(path) if path.is_file() else {}
        if not isinstance(found, dict):
            raise UsageError(f"{path}: damaged; restore it, or remove it")
        return found

    def fingerprint(self) -> str | None:
        """The hash of its training's configuration, which its checkpoints carry."""
        found: str | None = self.environment().get("run")
        return found

    def threads(self) -> int | None:
        """How many threads its sums are made with."""
        threads = self.environment().get("threads")
        return threads if isinstance(threads, int) and threads > 0 else None

    def load(self, name: str) -> Checkpoint:
        """The checkpoint `last` or `best`; a `UsageError` where it is missing, damaged or of another run."""
        path = self.checkpoint(name)
        loaded = Checkpoint.load(path)
        if (mine := self.fingerprint()) is not None and loaded.state.get("run") != mine:
            raise UsageError(f"{path}: a checkpoint of another run; restore this one's, or remove the file")
        return loaded

    def save(self, name: str, checkpoint: Checkpoint) -> None:
        """Write the checkpoint `last` or `best`; a `DataError` where the disk is full, the previous one still whole."""
        if self.writes:
            checkpoint.save(self.checkpoint(name))

    def write_json(self, name: str, content: Any) -> None:
        """Write a JSON file of the run; a `DataError` where the disk is full."""
        if self.writes:
            write_json(self.path / name, content)

    def read_json(self, name: str) -> Any:
        """Read a JSON file of the run; a `UsageError` where it is missing or damaged."""
        return read_json(self.path / name)

    def log(self, entry: dict[str, Any]) -> None:
        """Append a line to log.jsonl and flush it; a `DataError` where the disk is full."""
        if not self.writes:
            return
        try:
            with self._log_file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, allow_nan=False) + "\n")
                file.flush()
                os.fsync(file.fileno())  # the checkpoint that counts this line must not outlive it
        except OSError as error:
            raise DataError(f"{self._log_file}: {cannot_write(error, self.path)}") from error

    def history(self) -> list[dict[str, Any]]:
        """The whole lines of log.jsonl; a `UsageError` where one is damaged."""
        return [self._entry(number, line) for number, line in enumerate(self._log_lines(), start=1)]

    def cut_log(self, lines: int) -> int:
        """Keep the first lines of log.jsonl, those that the checkpoint has seen, and return how many go.

        Raises:
            UsageError: the lines are not there, or damaged.
        """
        found = self._log_lines()
        kept = found[:lines]
        if len(kept) < lines:
            raise UsageError(
                f"{self._log_file}: holds {len(kept)} of the {lines} lines that the checkpoint has seen; "
                "restore it, or train under another name"
            )
        for number, line in enumerate(kept, start=1):
            self._entry(number, line)
        if self.writes and self._log_file.is_file():
            write_atomically(self._log_file, "".join(f"{line}\n" for line in kept).encode())
        return len(found) - lines

    @property
    def _log_file(self) -> Path:
        return self.training.path / "log.jsonl"

    def _log_lines(self) -> list[str]:
        path = self._log_file
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        return text.split("\n")[:-1]  # the last is a part, or empty

    def _entry(self, number: int, line: str) -> dict[str, Any]:
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict) or not {"epoch", "loss", "score"} <= entry.keys():
            raise UsageError(f"{self._log_file}:{number}: damaged; restore it, or train under another name")
        return entry

    def _refuse_other(self, config: Config, remedy: str) -> None:
        mine, theirs = identity(config), identity(self.config())
        mine |= {key: theirs.get(key) for key in AUTOMATIC if mine.get(key) == "auto"}
        other = [key for key in {**theirs, **mine} if mine.get(key) != theirs.get(key)]
        if other and self.trained and all(within(key, SCORING) for key in other):
            scores = config.document()["scores"]
            changed = [key for key in SCORING if any(within(one, [key]) for one in other)]
            given = shlex.join(f"{key}={json.dumps(scores[key.removeprefix('scores.')])}" for key in changed)
            raise UsageError(
                f"{self.path}: trained already, and scored otherwise: {other[0]} is {theirs.get(other[0])!r} there and "
                f"{mine.get(other[0])!r} here; `train_seg.py evaluate {self.path} {given}` scores it so"
            )
        if other:
            key = other[0]
            more = f" (and {len(other) - 1} more)" if len(other) > 1 else ""
            raise UsageError(
                f"{self.path}: holds another run: {key} is {theirs.get(key)!r} there and {mine.get(key)!r} here{more}; "
                f"{remedy}, or remove the folder"
            )

    def _refuse_other_split(self, config: Config) -> None:
        splitter, recorded = build_splitter(config.data), self.path / "split.json"
        if isinstance(splitter, FromFile) and recorded.is_file():
            splitter.refuse_other(read_json(recorded), str(recorded), config.data.imbalance is not None)


def _may_precede(path: Path) -> bool:
    """Whether a file may lie in a folder before it is a run: hidden, or what a kill has left alone."""
    return path.name.startswith(".") or path.name == SHARED
