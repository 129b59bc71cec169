"""Train every cell of an ablation that is not finished, and say what the arms differ in."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from datasets import DataError
from datasets.files import write_atomically

from ..ablation.arms import NOISE_FLOOR, PROBES, Ablation, Cell
from ..ablation.conclusion import Conclusion
from ..ablation.executors import LocalExecutor, executor_of
from ..ablation.grid import train_cells
from ..ablation.record import FILE, Record
from ..ablation.trials import Tuner, settle, train_trials, trial_cells, tuned_cells, tuned_run, tuners_of
from ..console.display import Display
from ..console.sections import Section
from ..console.writing import latex, markdown
from ..errors import UsageError
from ..experiment.contents import changed_between
from ..experiment.identity import fingerprint
from ..experiment.run import Run
from ..processes.signals import Stop
from ..report.ablation_report import ablation_subject
from ..store.files import read_json, write_csv, write_json
from ..store.lock import Lock
from ..store.outputs import Outputs, refuse_foreign
from ..training.probe import Probe, probe
from .report import write_page
from .train import write_missing_pages

TABLES = ("table.md", "table.tex", "table.csv")
MARKS = (FILE, PROBES, "*/seed-*/fold-*/config.yaml")
"""What makes a folder that of an ablation."""


def ablate(ablation: Ablation, dry_run: bool, scheduler: str | None, display: Display) -> None:
    """Train all arms of an ablation on every fold with every seed, and compare them with the baseline.

    Args:
        ablation: the arms, as `Ablation.load` reads them.
        dry_run: only list the cells and estimate how long they take.
        scheduler: the address of a Dask scheduler whose workers train the cells; None for this machine, or for the
            jobs of a queue that the file asks for.
        display: where progress is shown.

    Raises:
        UsageError, DataError: a folder that is no ablation's, tables that have been edited; cells that have failed,
            after all others are done.
    """
    sys.warnoptions.append("ignore:resource_tracker:UserWarning")  # it cleans up after a grid that is killed
    tuners = tuners_of(ablation)
    first = trial_cells(tuners) if tuners else ablation.cells
    _refuse_unfit(ablation, first)
    refuse_foreign(ablation.path, MARKS)
    _tables(ablation.path).claim(TABLES, adopt=True)
    executor = executor_of(ablation.config, ablation.section, ablation.path, scheduler)
    finished = sum(cell.finished for cell in first)
    then = f"; then {len(ablation.cells)} cells with the values that they choose" if tuners else ""
    display.line(
        f"{ablation.path}: {len(first)} {'trials' if tuners else 'cells'}, {finished} finished{then}; {executor}"
    )
    with Lock(ablation.path):
        if dry_run:
            _list_cells(first, display)
        probes = _probes(ablation, dry_run or isinstance(executor, LocalExecutor), display)
        display.section(_arms(ablation, probes))
        _estimate(ablation, first, probes, executor.workers, display)
        if dry_run:
            return
        Record.of(ablation).write(ablation.path)
        failed = train_trials(tuners, executor, display)
        cells = _tuned(ablation, tuners, display) if tuners else ablation.cells
        left = [cell for cell in cells if not cell.finished]
        for cell in left:
            cell.run.share(cell.config, cell.training_of, cell.members)
        failed += train_cells([cell for cell in left if not cell.members], executor, display)
        failed += train_cells([cell for cell in left if cell.members], executor, display)  # once these are trained
        _conclude(ablation, cells, display)
    if failed:
        raise UsageError("\n".join(failed))


def _tuned(ablation: Ablation, tuners: Sequence[Tuner], display: Display) -> Sequence[Cell]:
    """The runs with what is chosen, once that is written down, and the runs of an earlier choice are out of the way."""
    for tuner in tuners:
        settle(tuner, display)
    cells = tuned_cells(ablation, tuners)
    _refuse_unfit(ablation, cells)
    finished = sum(cell.finished for cell in cells)
    display.line(f"{ablation.path}: {len(cells)} cells with the chosen values, {finished} finished")
    return cells


def _refuse_unfit(ablation: Ablation, cells: Sequence[Cell]) -> None:
    """A `UsageError` where a cell wants several devices, or its folder holds another configuration."""
    name = f"name={ablation.config.name}-2"
    renamed = f"name the arm otherwise in ablation.arms, or give the ablation a name of its own, such as {name}"
    for cell in cells:
        if cell.config.train.devices > 1:
            raise UsageError(
                f"train.devices: {cell.config.train.devices}: the cells of an ablation train on one device each, "
                "many at a time; leave it at 1"
            )
        Run.of(cell.config, remedy=renamed)


def _list_cells(cells: Sequence[Cell], display: Display) -> None:
    for cell in cells:
        todo = "to train" if cell.training_of is None else f"to score, with the training of {cell.training_of.path}"
        todo += f" and {len(cell.members) - 1} more" if cell.members else ""
        display.line(f"  {cell.title}: {'finished' if cell.finished else todo}")


def _probes(ablation: Ablation, tries: bool, display: Display) -> dict[str, Probe]:
    """What a few steps of every arm tell, kept in probe.json until the arm changes.

    Args:
        ablation: its arms; one that shares a training has the probe of that, the noise floor that of the baseline.
        tries: take the steps of arms that nothing is known of.
        display: where progress is shown, and an arm whose steps fail.
    """
    kept = ablation.path / PROBES
    firsts: dict[str, Cell] = {}
    for cell in ablation.cells:
        if cell.training_of is None and cell.arm != NOISE_FLOOR:
            firsts.setdefault(cell.arm, cell)
    trainings = {arm: fingerprint(cell.config) for arm, cell in firsts.items()}
    known = read_json(kept) if kept.is_file() else {}
    known = {arm: one for arm, one in known.items() if one.get("of") == trainings.get(arm)}
    wanted = [cell for arm, cell in firsts.items() if tries and arm not in known]
    for cell in display.track("trying a few steps of every arm")(wanted, len(wanted)):
        try:
            found = probe(cell.config, Display(Console(quiet=True)))
        except (DataError, UsageError, RuntimeError, ValueError) as error:
            display.line(f"{cell.arm}: a few steps of it fail: {error}")
        else:
            known[cell.arm] = found._asdict() | {"of": trainings[cell.arm]}
    ablation.path.mkdir(parents=True, exist_ok=True)
    write_json(kept, known)
    configured = {arm: ablation.section.baseline if arm == NOISE_FLOOR else arm for arm in ablation.arms}
    trained = {arm: ablation.training_of(own) or own for arm, own in configured.items()}
    return {
        arm: Probe(known[own]["gradient_norm"], known[own]["seconds"]) for arm, own in trained.items() if own in known
    }


def _arms(ablation: Ablation, probes: Mapping[str, Probe]) -> Section:
    """The table of the arms: what a few steps tell, and in what an arm differs from the baseline."""
    rows = []
    for arm in ablation.arms:
        one, shared = probes.get(arm), ablation.training_of(arm)
        numbers = [f"{one.gradient_norm:.4g}", f"{one.seconds / 60:.1f}"] if one is not None else ["-", "-"]
        differs = [f"scores alone, trained as {shared}"] if shared else ablation.changed(arm)
        rows.append([arm, *numbers, ", ".join(differs) or "-"])
    columns = ["arm", "first gradient norm", "minutes a cell", "differs in data, model or batches"]
    return Section("arms", columns=columns, rows=rows)


def _estimate(
    ablation: Ablation, first: Sequence[Cell], probes: Mapping[str, Probe], workers: int | None, display: Display
) -> None:
    """How long the cells that are left take, where every arm of them has a probe; with trials also what follows."""
    left = [cell for cell in first if not cell.finished]
    trials = [cell for cell in left if cell.trial is not None and cell.training_of is None]
    if ablation.section.tune is not None:
        left = [cell for cell in ablation.cells if not tuned_run(ablation, cell).finished]
    trained = [cell for cell in left if cell.training_of is None]
    every = [*trials, *trained]
    if every and all(cell.arm in probes for cell in every):
        whole = [(cell.config.train.epochs or 1) / (ablation.arms[cell.arm].train.epochs or 1) for cell in every]
        seconds = sum(probes[cell.arm].seconds * share for cell, share in zip(every, whole, strict=True))
        first_trained = f"{len(trials)} trials, then " if trials else ""
        scored = f", {len(left) - len(trained)} to score" if len(left) > len(trained) else ""
        order = "" if workers else ", one after the other"
        minutes = seconds / 60 / min(workers or 1, len(every))
        display.line(f"{first_trained}{len(trained)} cells to train{scored}: about {minutes:.0f} minutes{order}")


def _tables(path: Path) -> Outputs:
    return Outputs(path, "ablate", "rename it")


def _conclude(ablation: Ablation, cells: Sequence[Cell], display: Display) -> None:
    """The tables, the pictures and the page of what is finished, and the pages of cells that were killed before."""
    path = ablation.path
    found = Conclusion.of(path)
    for line in found.missing:
        display.line(line)
    if found.record.baseline in found.arms:
        sections = list(found.sections())
        for section in sections:
            display.section(section)
        with _tables(path).writing(*TABLES):
            write_atomically(path / "table.md", f"# {ablation.config.name}\n\n{markdown(sections)}".encode())
            write_atomically(path / "table.tex", latex([*found.journal(), *sections], ablation.config.name).encode())
            write_csv(path / "table.csv", [row for one in found.verdicts for row in one.flat()])
        display.line(f"tables: {path / 'table.md'}, .tex and .csv beside it; pictures: {path / 'figures'}")
    if changed := changed_between([cell.run for cell in cells]):
        display.line(f"warning: {changed}")
    write_missing_pages(cells, display, Stop(listens=False))
    display.line(f"page: {write_page(path, ablation_subject(found))}")
