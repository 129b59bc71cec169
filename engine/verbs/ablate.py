"""Train every cell of an ablation that is not finished, and say what the arms differ in."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from datasets import DataError
from datasets.files import write_atomically

from ..ablation.arms import NOISE_FLOOR, Ablation, Cell
from ..ablation.conclusion import Conclusion
from ..ablation.executors import Executor, LocalExecutor, executor_of
from ..ablation.grid import train_cells
from ..ablation.record import Record
from ..ablation.verdicts import latex, markdown
from ..console.display import Display
from ..console.sections import Section
from ..errors import UsageError
from ..experiment.run import Run, fingerprint
from ..report.ablation_report import ablation_subject
from ..store.files import read_json, write_csv, write_json
from ..store.lock import Lock
from ..training.probe import Probe, probe
from .report import write_page


def ablate(ablation: Ablation, dry: bool, scheduler: str | None, display: Display) -> None:
    """Train all arms of an ablation on every fold with every seed, and compare them with the baseline.

    Args:
        ablation: the arms, as `Ablation.load` reads them.
        dry: only list the cells and estimate how long they take.
        scheduler: the address of a Dask scheduler whose workers train the cells; None for this machine, or for the
            jobs of a queue that the file asks for.
        display: where progress is shown.

    Raises:
        UsageError, DataError: cells that have failed, after all others are done.
    """
    every = list(ablation.cells())
    for cell in every:
        if cell.config.train.devices > 1:
            raise UsageError(
                f"train.devices: {cell.config.train.devices}: the cells of an ablation train on one device each, "
                "many at a time; leave it at 1"
            )
        Run.of(cell.config)  # refuses another configuration under the same name
    executor = executor_of(ablation.config, ablation.section, ablation.path, scheduler)
    left = [cell for cell in every if not cell.run.finished]
    finished = len(every) - len(left)
    display.line(f"{ablation.path}: {len(every)} cells, {finished} finished; {executor}")
    with Lock(ablation.path):
        _tell_plan(ablation, every, left, executor, dry, display)
        if dry:
            return
        Record.of(ablation).write(ablation.path)
        for cell in left:
            cell.run.share(cell.config, cell.shares)
        failed = train_cells(left, executor, display)
        _conclude(ablation, display)
    if failed:
        raise UsageError("\n".join(failed))


def _tell_plan(
    ablation: Ablation, every: Sequence[Cell], left: Sequence[Cell], executor: Executor, dry: bool, display: Display
) -> None:
    """The cells where only they are wanted, and what a few steps of every arm tell."""
    if dry:
        for cell in every:
            todo = "to train" if cell.shares is None else f"to score, with the training of {cell.shares.path}"
            display.line(f"  {cell.title}: {'finished' if cell.run.finished else todo}")
    probes = _probes(ablation, every, dry or isinstance(executor, LocalExecutor), display)
    rows = []
    for name in ablation.arms:
        one, shares = probes.get(name), ablation.shares(name)
        numbers = [f"{one.gradient_norm:.4g}", f"{one.seconds / 60:.1f}"] if one is not None else ["-", "-"]
        differs = [f"scores alone, trained as {shares}"] if shares else ablation.changed(name)
        rows.append([name, *numbers, ", ".join(differs) or "-"])
    columns = ["arm", "first gradient norm", "minutes a cell", "differs from the baseline in"]
    display.section(Section("arms", columns=columns, rows=rows))
    trained = [cell for cell in left if cell.shares is None]
    if trained and all(cell.arm in probes for cell in trained):
        minutes = sum(probes[cell.arm].seconds for cell in trained) / 60
        scored = f", {len(left) - len(trained)} to score" if len(left) > len(trained) else ""
        order = "" if executor.workers else ", one after the other"
        minutes /= min(executor.workers or 1, len(trained))
        display.line(f"{len(trained)} cells to train{scored}: about {minutes:.0f} minutes{order}")


def _probes(ablation: Ablation, every: Sequence[Cell], tries: bool, display: Display) -> dict[str, Probe]:
    """A few steps of every arm that is trained, where `tries` says so; kept in probe.json until the arm changes."""
    kept = ablation.path / "probe.json"
    known = read_json(kept) if kept.is_file() else {}
    firsts = {cell.arm: cell for cell in reversed(every) if cell.arm != NOISE_FLOOR and cell.shares is None}
    trainings = {arm: fingerprint(cell.config) for arm, cell in firsts.items()}
    known = {arm: one for arm, one in known.items() if one.get("of") == trainings.get(arm)}
    wanted = [cell for arm, cell in firsts.items() if tries and arm not in known]
    for cell in display.track("trying a few steps of every arm")(reversed(wanted), len(wanted)):
        try:
            found = probe(cell.config, Display(Console(quiet=True)))
        except (DataError, UsageError, RuntimeError, ValueError) as error:
            display.line(f"{cell.arm}: a few steps of it fail: {error}")
        else:
            known[cell.arm] = found._asdict() | {"of": trainings[cell.arm]}
    ablation.path.mkdir(parents=True, exist_ok=True)
    write_json(kept, known)
    probes = {}
    for arm in ablation.arms:
        configured = ablation.section.baseline if arm == NOISE_FLOOR else arm
        trained = ablation.shares(configured) or configured
        if trained in known:
            probes[arm] = Probe(known[trained]["gradient_norm"], known[trained]["seconds"])
    return probes


def _conclude(ablation: Ablation, display: Display) -> None:
    """The tables, the pictures and the page of what is finished."""
    path = ablation.path
    found = Conclusion.of(path)
    for line in found.missing:
        display.line(line)
    if found.record.baseline in found.arms:
        sections = list(found.sections())
        for section in sections:
            display.section(section)
        write_atomically(path / "table.md", f"# {ablation.config.name}\n\n{markdown(sections)}".encode())
        write_atomically(path / "table.tex", latex(sections).encode())
        write_csv(path / "table.csv", [row for one in found.verdicts for row in one.flat()])
        display.line(f"tables: {path / 'table.md'}, .tex and .csv beside it; pictures: {path / 'figures'}")
    display.line(f"page: {write_page(path, ablation_subject(found))}")
