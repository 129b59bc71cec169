"""A run with every fold: ordinary runs beside each other."""

from __future__ import annotations

from pathlib import Path

from datasets import DataError

from ..configuration import build
from ..configuration.config import Config
from .run import Run


class Folds:
    """The folder output/name of a configuration with `data.split.fold: all`: fold-0, fold-1, … are its runs.

    Args:
        path: the folder.
        count: how many folds there are; None for those that have begun.
    """

    def __init__(self, path: Path, count: int | None = None) -> None:
        self.path, self.count = path, count

    @property
    def runs(self) -> list[Run]:
        """The runs of the folds in order."""
        if self.count is not None:
            return [Run(self.path / f"fold-{fold}") for fold in range(self.count)]
        found = {path.parent.name.removeprefix("fold-"): path.parent for path in self.path.glob("fold-*/config.yaml")}
        return [Run(found[number]) for number in sorted(filter(str.isdecimal, found), key=int)]

    def unfinished(self, config: Config) -> list[str]:
        """The names of the folds that have not begun or are not finished, by the configuration of one."""
        try:
            count = build.build_splitter(config.data).divisions()
        except DataError:  # the split's file is gone: no other folds are known than those that have begun
            count = None
        return [run.path.name for run in Folds(self.path, count).runs if not run.finished]

    @staticmethod
    def wanted(config: Config) -> bool:
        """Whether a configuration asks for every fold."""
        return getattr(config.data.split, "fold", None) == "all"

    @classmethod
    def holds(cls, path: Path) -> bool:
        """Whether a folder holds the runs of folds."""
        return not (path / "config.yaml").is_file() and bool(cls(path).runs)


def fold_configs(config: Config) -> list[Config]:
    """The configuration of each fold: a run of its own in the folder output/name, with one cache for all."""
    folder = Path(config.output) / config.name
    cache = config.data.cache or str(Path(config.output) / ".cache")
    configs = []
    for fold in range(build.build_splitter(config.data).divisions()):
        split = config.data.split.model_copy(update={"fold": fold})
        data = config.data.model_copy(update={"split": split, "cache": cache})
        configs.append(config.model_copy(update={"data": data, "name": f"fold-{fold}", "output": str(folder)}))
    return configs
