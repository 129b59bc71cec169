"""What score is reached in how many minutes, on the same patients, folds, cores and files.

    python -m benchmarks.time_to_score DATA --out FOLDER --minutes 5 15 45 --cores 0,1 --nnunet PYTHON

The contestants are nnU-Net 2 (`nnunet.py`, run by the Python of an environment that has nnunetv2; left out without
one), plain scripts with MONAI and with smp (`plain.py`), and ours: `init`, then `train` with `train.minutes`, nothing
else set. Each trains every fold, its masks of the held-out patients are scored by `compare`. DATA is a folder of scans
of one channel that `init` knows. What is in FOLDER is not done again.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.configuration.checking import load_config
from engine.experiment.experiment import Experiment
from segloss import compare

from .raw import Fold, write_raw

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
TRAIN_SEG = [sys.executable, str(ROOT / "train_seg.py")]


def shell(command: Sequence[object], log: Path) -> None:
    """Run a command, its output into a log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file:
        subprocess.run([str(word) for word in command], stdout=file, stderr=file, check=True, cwd=ROOT)


def divided(path: Path, folds: int) -> list[Fold]:
    """The cases of each fold, as a run divides them; its validation part is there to learn from."""
    found = []
    for fold in range(folds):
        overrides = [f"data.split.folds={folds}", f"data.split.fold={fold}"]
        split = Experiment.prepare(load_config(path, overrides)).data.split
        found.append({"train": sorted([*split["train"], *split["val"]]), "val": sorted(split["test"])})
    return found


class Contest:
    """The cells of it: a contestant, minutes and a fold each."""

    def __init__(self, folder: Path, folds: int, nnunet: Path | None, seed: int) -> None:
        self.folder = folder
        self.raw = folder / "Dataset001_contest"
        self.yaml = folder / "ours.yaml"
        self.folds = folds
        self.seed = seed
        plain: list[object] = [sys.executable, HERE / "plain.py"]
        self.scripts: dict[str, list[object]] = {
            "smp": [*plain, "--library", "smp"],
            "monai": [*plain, "--library", "monai"],
            **({"nnunet": [nnunet, HERE / "nnunet.py"]} if nnunet else {}),
        }
        self.contestants = ["ours", *self.scripts]

    def masks(self, name: str, minutes: float) -> Path:
        """Where a contestant's masks of all folds lie."""
        return self.folder / "masks" / f"{name}-{minutes:g}"

    def prepare(self, data: Path) -> None:
        """What `init` proposes for the folder, and the raw data with the folds that follow."""
        if not self.yaml.exists():
            shell([*TRAIN_SEG, "init", data, "--out", self.yaml], self.folder / "init.log")
        adapter = Experiment.prepare(load_config(self.yaml)).adapter
        if not (self.raw / "splits.json").exists():
            write_raw(self.raw, adapter, divided(self.yaml, self.folds))

    def run(self, name: str, minutes: float, fold: int) -> None:
        """Train one and predict what the fold holds out, once."""
        cell = self.folder / "cells" / f"{name}-{minutes:g}-{fold}"
        if cell.exists():
            return
        begun = cell.with_name(cell.name + ".begun")
        shutil.rmtree(begun, ignore_errors=True)
        begun.mkdir(parents=True)
        log = self.folder / "logs" / f"{cell.name}.log"
        if name == "ours":
            self._ours(begun, minutes, fold, log)
        else:
            given = ["--fold", fold, "--minutes", minutes, "--seed", self.seed, "--out", begun]
            shell([*self.scripts[name], self.raw, *given], log)
        target = self.masks(name, minutes)
        target.mkdir(parents=True, exist_ok=True)
        for mask in begun.glob("**/*.nii.gz"):
            shutil.copy(mask, target / mask.name.replace("_0000", ""))
        begun.rename(cell)

    def _ours(self, cell: Path, minutes: float, fold: int, log: Path) -> None:
        """Train as `init` has proposed, for minutes, and predict."""
        split = [f"data.split.folds={self.folds}", f"data.split.fold={fold}", f"seed={self.seed}"]
        name = f"{minutes:g}-{fold}"
        length = ["train.epochs=null", f"train.minutes={minutes}", f"name={name}", f"output={self.folder / 'runs'}"]
        shell([*TRAIN_SEG, "train", self.yaml, *split, *length], log)
        images = [self.raw / "imagesTr" / f"{case}_0000.nii.gz" for case in self.held_out(fold)]
        shell([*TRAIN_SEG, "predict", self.folder / "runs" / name, *images, "--out", cell, "--format", "nii.gz"], log)

    def held_out(self, fold: int) -> list[str]:
        """The cases that a fold is scored on."""
        found: list[Fold] = json.loads((self.raw / "splits.json").read_text(encoding="utf-8"))
        return found[fold]["val"]

    def scores(self, name: str, minutes: float, folds: Sequence[int]) -> dict[str, float]:
        """DSC by patient of a contestant's masks, the mean over classes without background."""
        where = self.folder / "scores" / f"{name}-{minutes:g}"
        shutil.rmtree(where, ignore_errors=True)
        for fold in folds:
            for case in self.held_out(fold):
                for kind, source in (("masks", self.masks(name, minutes)), ("references", self.raw / "labelsTr")):
                    (where / kind).mkdir(parents=True, exist_ok=True)
                    shutil.copy(source / f"{case}.nii.gz", where / kind)
        shutil.copy(self.raw / "dataset.json", where)
        sides = ["--pred", where / "masks", "--ref", where / "references", "--out", where]
        shell([*TRAIN_SEG, "evaluate", *sides], where / "evaluate.log")
        by_case: dict[str, list[float]] = {}
        with (where / "cases.csv").open(encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["class"] != "background":
                    by_case.setdefault(row["case"], []).append(float(row["DSC"]))
        return {case: statistics.fmean(values) for case, values in by_case.items()}


def table(contest: Contest, budgets: Sequence[float], folds: Sequence[int]) -> None:
    """Print the score of every contestant at every budget, and ours less each other's with interval and p."""
    of = [fold for fold in folds for _ in contest.held_out(fold)]
    cases = [case for fold in folds for case in contest.held_out(fold)]
    print("| minutes a fold | contestant | DSC by patient | worst patient | ours less this [95 %] | p |")
    print("|---|---|---|---|---|---|")
    for minutes in budgets:
        found = {name: contest.scores(name, minutes, folds) for name in contest.contestants}
        for name, scores in found.items():
            line = f"| {minutes:g} | {name} | {statistics.fmean(scores.values()):.3f} | {min(scores.values()):.3f} |"
            if name == "ours":
                print(line, "| |")
                continue
            mine, theirs = ([one[case] for case in cases] for one in (found["ours"], scores))
            against = compare.paired(mine, theirs, of, limit=1)
            interval = "" if against.low is None else f" [{against.low:+.3f}, {against.high:+.3f}]"
            p = "" if against.p_value is None else f"{against.p_value:.3f}"
            print(f"{line} {against.difference:+.3f}{interval} | {p} |", flush=True)


def main() -> None:
    """Run what is missing and print the table."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("data", type=Path)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--minutes", type=float, nargs="+", default=[5, 15, 45])
    arguments.add_argument("--folds", type=int, default=3, help="the patients are divided into")
    arguments.add_argument("--only", type=int, nargs="+", help="these folds; default: all")
    arguments.add_argument("--cores", default="0,1", help="that everything runs on")
    arguments.add_argument("--nnunet", type=Path, help="the Python of an environment that has nnunetv2")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    cores = {int(core) for core in options.cores.split(",")}
    os.sched_setaffinity(0, cores)
    os.environ["OMP_NUM_THREADS"] = str(len(cores))
    contest = Contest(options.out.resolve(), options.folds, options.nnunet, options.seed)
    contest.prepare(options.data.resolve())
    folds = options.only or range(options.folds)
    for minutes in options.minutes:
        for fold in folds:
            for name in contest.contestants:
                contest.run(name, minutes, fold)
                print(f"{name}, fold {fold}, {minutes:g} minutes: done", flush=True)
        table(contest, [minutes], folds)


if __name__ == "__main__":
    main()
