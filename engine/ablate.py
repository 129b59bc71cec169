"""Train every cell of an ablation that is not finished, and say what the arms differ in."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from datasets.files import write_atomically
from segloss.compare import FEWEST

from . import cells, results
from .ablation import NOISE_FLOOR, Ablation, Cell
from .comparison import Method, not_paired
from .config import Config
from .display import Display
from .documents import arms_of, method, scores_files
from .errors import UsageError
from .forest import class_bars, forest, trajectories
from .lock import Lock
from .masks import Options, masks_in, score_masks
from .probe import Probe, probe
from .report import Section
from .run import Run, mark_of, read_json, to_yaml, write_json
from .verdicts import COLUMNS, METHOD, Verdicts, beside_paper, latex, markdown, scores_of, verdicts


def ablate(path: Path, overrides: Sequence[str], dry: bool, display: Display) -> None:
    """Train all arms of an ablation on every fold with every seed, and compare them with the baseline.

    Args:
        path: a YAML file with a section `ablation`.
        overrides: `key=value`.
        dry: only list the cells and estimate how long they take.
        display: where progress is shown.

    Raises:
        UsageError, DataError: bad input; cells that have failed, after all others are done.
    """
    ablation = Ablation.load(path, overrides)
    every = list(ablation.cells())
    for cell in every:
        Run.of(cell.config)  # refuses another configuration under the same name
    gpus = _gpus(ablation.config)
    workers = ablation.section.workers or max(1, len(gpus))
    threads = ablation.section.threads or max(1, (os.cpu_count() or 1) // workers)
    left = [cell for cell in every if not cell.run.finished]
    finished = len(every) - len(left)
    display.line(
        f"{ablation.path}: {len(every)} cells, {finished} finished; {workers} at a time, {threads} threads each"
    )
    with Lock(ablation.path):
        _tell_plan(ablation, every, left, workers, dry, display)
        if dry:
            return
        failed = _train(left, workers, threads, gpus, display)
        _conclude(ablation, every, display)
    if failed:
        raise UsageError("\n".join(failed))


def compare(
    a: Path, b: Path, reference: Path | None, overrides: Sequence[str], smallest: float, display: Display
) -> None:
    """Compare two methods, group by group; of two ablations every arm that both have.

    Args:
        a: a run, an arm, an ablation, a scores document, or a folder of masks.
        b: what it is compared with.
        reference: the masks that folders of masks are scored against.
        overrides: what the masks mean; see `masks.Options`.
        smallest: the difference that would matter.
        display: where the verdicts are shown.

    Raises:
        UsageError, DataError: a path without scores or masks, or scores that have nothing in common.
    """
    if not 0 < smallest < 1:
        raise UsageError(f"--smallest: must lie between 0 and 1, got {smallest:g}")
    if a.resolve() == b.resolve():
        raise UsageError(f"{a}: compared with itself; give two")
    if reference is None and overrides:
        raise UsageError(f"command line: {overrides[0]}: says what masks mean; give their reference with --ref")
    pairs = [(a, b)]
    if arms_of(a) and arms_of(b):
        pairs = [(a / arm, b / arm) for arm in arms_of(a) if arm in arms_of(b)]
        if not pairs:
            raise UsageError(f"{a} and {b} have no arm in common: {', '.join(arms_of(a))}; {', '.join(arms_of(b))}")
    for pair in pairs:
        found = {str(path): _method(path, reference, overrides, display) for path in pair}
        if left_out := not_paired(*found.values()):
            display.section(Section("not paired", left_out))
        for section in _told(verdicts(found, str(pair[1]), smallest)):
            display.section(section)


def _method(path: Path, reference: Path | None, overrides: Sequence[str], display: Display) -> Method:
    """The scores under a path, or of the masks in it."""
    if reference is None or scores_files(path):
        return method(path)
    scores = score_masks(masks_in(path), reference, Options.parse(overrides), display.track(f"scoring {path}"))
    return Method(str(path), {None: [scores.document]})


def _tell_plan(
    ablation: Ablation, every: Sequence[Cell], left: Sequence[Cell], workers: int, dry: bool, display: Display
) -> None:
    """The cells where only they are wanted, and what a few steps of every arm tell."""
    if dry:
        for cell in every:
            display.line(f"  {cell.title}: {'finished' if cell.run.finished else 'to train'}")
    probes = _probes(ablation, every, display)
    rows = [
        [name, f"{one.gradient_norm:.4g}", f"{one.seconds / 60:.1f}", ", ".join(ablation.changed(name)) or "-"]
        for name, one in probes.items()
    ]
    columns = ["arm", "first gradient norm", "minutes a cell", "starts otherwise in"]
    display.section(Section("arms", columns=columns, rows=rows))
    seconds = sum(probes[cell.arm].seconds for cell in left)
    if left:
        display.line(f"{len(left)} cells to train: about {seconds / 60 / min(workers, len(left)):.0f} minutes")


def _probes(ablation: Ablation, every: Sequence[Cell], display: Display) -> dict[str, Probe]:
    """A few steps of every arm, kept in probe.json: they are tried once, until the arm is another."""
    kept = ablation.path / "probe.json"
    known = read_json(kept) if kept.is_file() else {}
    firsts = {cell.arm: cell for cell in reversed(every) if cell.arm != NOISE_FLOOR}
    marks = {arm: mark_of(cell.config) for arm, cell in firsts.items()}
    wanted = [cell for arm, cell in firsts.items() if known.get(arm, {}).get("of") != marks[arm]]
    for cell in display.track("trying a few steps of every arm")(reversed(wanted), len(wanted)):
        known[cell.arm] = probe(cell.config, Display(Console(quiet=True)))._asdict() | {"of": marks[cell.arm]}
    ablation.path.mkdir(parents=True, exist_ok=True)
    write_json(kept, known)
    probes = {arm: Probe(known[arm]["gradient_norm"], known[arm]["seconds"]) for arm in ablation.arms if arm in known}
    return probes | ({NOISE_FLOOR: probes[ablation.section.baseline]} if NOISE_FLOOR in ablation.arms else {})


def _train(left: Sequence[Cell], workers: int, threads: int, gpus: Sequence[str], display: Display) -> list[str]:
    """Train cells; a line for each that failed, with the end of its log."""
    jobs = []
    for cell in left:
        base = cell.run.path.parent / cell.run.path.name
        base.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(base.with_suffix(".yaml"), to_yaml(cell.config).encode())
        jobs.append(cells.Job(base.with_suffix(".yaml"), base.with_suffix(".log"), threads, gpus))
    failed: dict[int, str] = {}
    if not jobs:
        return []
    epochs = [cell.config.train.epochs for cell in left]
    done = 0
    with display.bar("training cells", sum(epochs)) as advance:
        for ended in cells.run(jobs, min(workers, len(jobs))):
            for index, code in ended.items():
                cell = left[index]
                if cell.run.finished:
                    display.line(f"{cell.title}: done")
                else:
                    failed[index] = _failure(jobs[index], cell, code)
                    display.line(failed[index])
            now = [epochs[index] if cell.run.finished else _epochs(cell) for index, cell in enumerate(left)]
            running = [
                f"{cell.title}: {epoch}/{total}"
                for cell, epoch, total in zip(left, now, epochs, strict=True)
                if 0 < epoch < total
            ]
            advance(sum(now) - done, ", ".join(running[:workers]))
            done = sum(now)
    return [failed[index] for index in sorted(failed)]


def _epochs(cell: Cell) -> int:
    """Epochs that a cell has logged."""
    log = cell.run.path / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.is_file() else 0


def _failure(job: cells.Job, cell: Cell, code: int | str) -> str:
    lines = job.log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if job.log.is_file() else []
    reason = lines[-1].strip() if lines else f"ended with {code}"
    return f"{cell.title} has failed ({reason}); its log: {job.log}; the same command tries it again"


def _conclude(ablation: Ablation, every: Sequence[Cell], display: Display) -> None:
    """The tables and pictures of what is finished."""
    arms = _methods(ablation, every, display)
    if ablation.section.baseline not in arms:
        display.line(f"no seed of {ablation.section.baseline} has all of its folds: nothing to compare with")
        return
    floor = NOISE_FLOOR if NOISE_FLOOR in arms else None
    told = verdicts(arms, ablation.section.baseline, ablation.section.smallest, floor) if len(arms) > 1 else []
    sections = [scores_of(arms), *_told(told, floor)]
    if ablation.section.paper is not None:
        sections.append(beside_paper(arms, ablation.section.paper))
    for section in sections:
        display.section(section)
    path = ablation.path
    write_atomically(path / "table.md", f"# {ablation.config.name}\n\n{markdown(sections)}".encode())
    write_atomically(path / "table.tex", latex(sections).encode())
    results.write_csv(path / "table.csv", [row for one in told for row in one.flat()])
    _draw(ablation, arms, told, every)
    display.line(f"tables: {path / 'table.md'}, .tex and .csv beside it; pictures: {path / 'figures'}")


def _methods(ablation: Ablation, every: Sequence[Cell], display: Display) -> dict[str, Method]:
    """The scores of every arm, of seeds that have all of their folds; the noise floor's under those of its pairs."""
    arms: dict[str, Method] = {}
    for arm in ablation.arms:
        documents: dict[int | None, list[dict[str, Any]]] = {}
        for seed, pair in zip(ablation.seeds_of(arm), ablation.seeds, strict=True):
            runs = [cell.run for cell in every if (cell.arm, cell.seed) == (arm, seed)]
            if all(run.finished for run in runs):
                documents[pair] = [results.read(run.path) for run in runs]
            else:
                display.line(f"{arm} seed {seed}: not all folds are finished; left out of the tables")
        if documents:
            arms[arm] = Method(arm, documents)
    return arms


def _told(told: Sequence[Verdicts], noise_floor: str | None = None) -> Iterator[Section]:
    """The verdicts in words and numbers: of the first measure those of all arms, of classes those that differ."""
    if not told:
        return
    first, *others = told
    lines = first.lines()
    if noise_floor is not None:
        same = first.found[noise_floor].difference
        lines.append(f"noise floor: with other seeds the baseline differs by {same:+.4f}; that much means nothing")
    yield Section(f"{first.measure.title} against {first.baseline}", lines, COLUMNS, first.rows())
    if others:
        found = [
            line
            for one in others
            for line, known in zip(one.lines(), one.found.values(), strict=True)
            if known.distinguishable
        ]
        rows = [row for one in others for row in one.rows()]
        yield Section(f"one by one, against {first.baseline}", found, COLUMNS, rows)
    fewest = min(one.groups for one in first.found.values())
    few = [] if fewest >= FEWEST else [f"Fewer than {FEWEST} {first.units}: nothing is tested."]
    yield Section("how this is worked out", [METHOD, *few])


def _draw(ablation: Ablation, arms: Mapping[str, Method], told: Sequence[Verdicts], every: Sequence[Cell]) -> None:
    folder = ablation.path / "figures"
    folder.mkdir(exist_ok=True)
    header = arms[ablation.section.baseline].header
    volumes = header["background"] is not None
    histories = {arm: [cell.run.history() for cell in every if cell.arm == arm and cell.run.finished] for arm in arms}
    pictures = {
        "forest": forest(told) if told else None,
        "classes": class_bars(arms, "case" if volumes else "dataset", "DSC" if volumes else "IoU"),
        "acw": trajectories(histories, header["classes"]),
    }
    for name, figure in pictures.items():
        if figure is not None:
            figure.savefig(folder / f"{name}.png", dpi=110)
            figure.savefig(folder / f"{name}.svg")


def _gpus(config: Config) -> list[str]:
    """The devices that cells may be put on; none where they train on the CPU."""
    if config.train.device not in ("auto", "cuda") or not torch.cuda.is_available():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(index) for index in range(torch.cuda.device_count())]
