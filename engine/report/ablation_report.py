"""The report of an ablation: the verdict, the numbers behind it, the curves, the cases side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from segloss.document import Header

from ..ablation.adjusted import adjusted
from ..ablation.answer import in_words
from ..ablation.arms import PROBES
from ..ablation.conclusion import Conclusion
from ..ablation.cost import cost
from ..ablation.paired_dots import paired_dots
from ..ablation.score_tables import beside_paper, scores_of
from ..ablation.verdict_sections import verdict_sections
from ..console.sections import Section, Subject
from ..experiment.run import Run
from ..scoring import results
from ..scoring.floors import RULE
from ..store.files import read_json
from .run_report import CHARTS, drawn, progress
from .settings import settings
from .viewer import BYTES, viewer
from .worst import Scored, background, case_entries, reason, scored, spread


@dataclass(frozen=True)
class Seed:
    """The runs of one seed, to be looked at one by one.

    Attributes:
        number: the seed.
        runs: by arm, the runs of all folds; one of them at least is finished. Not the noise floor's.
        header: of their scores documents.
        lead: the baseline, or the first arm where that has no scores.
    """

    number: int
    runs: Mapping[str, Sequence[Run]]
    header: Header
    lead: str

    @classmethod
    def first(cls, found: Conclusion) -> Seed | None:
        """The first seed of an ablation that has a finished run; None where none has."""
        record = found.record
        for number in record.seeds:
            runs = {arm: record.runs(found.folder, arm, number) for arm in record.arms if arm != record.noise_floor}
            runs = {arm: folds for arm, folds in runs.items() if any(run.finished for run in folds)}
            if runs:
                lead = record.baseline if record.baseline in runs else next(iter(runs))
                finished = next(run for run in runs[lead] if run.finished)
                return cls(number, runs, results.read(finished.path).header, lead)
        return None


def ablation_subject(found: Conclusion, most_bytes: int = BYTES) -> Subject:
    """The report of an ablation as far as it is finished; its pictures are drawn on the way.

    Args:
        found: what is known of it.
        most_bytes: of the pictures of cases.

    Raises:
        UsageError: a file of it is damaged.
    """
    found.draw()
    seed = Seed.first(found)
    of_labels = seed is not None and seed.header.kind == "label"
    orders = {arm: [] if of_labels else scored(runs) for arm, runs in seed.runs.items()} if seed else {}
    told = verdict_sections(found.verdicts, found.arms, found.record.noise_floor, found.differs, found.record.tune)
    *tables, analysis, how = told if found.verdicts else [Section("")] * 2
    if tables:
        tables[0] = replace(tables[0], lines=())  # they stand at the top
    floors = found.floors()
    sections = [_verdict(found, seed, orders, floors), *_missing(found)]
    sections += [floors] if floors is not None else []
    sections += [scores_of(found.arms)] if found.arms else []
    sections += [*tables, *_charts("differences and their intervals", found, "forest")]
    cases = _cases(seed, orders, most_bytes) if seed and not of_labels else None
    if found.verdicts:
        pictured = cases is not None and cases.viewer is not None
        dots = paired_dots(found.verdicts[0], found.arms, found.record.noise_floor, pictured)
        sections += [dots] if dots.dots else []
    if found.record.paper is not None and found.arms:
        sections.append(beside_paper(found.arms, found.record.paper))
    sections += [*found.tuning(), *_charts("tuning: scores over trials", found, "trials")] if found.arms else []
    sections += _charts("scores over the values of a key", found, "sweep")
    sections += _charts("classes", found, "classes")
    sections += _charts("curves", found, "learning_curves", "acw_curves")
    if seed:
        of_cases = [] if of_labels else [_worst(seed, orders)]
        sections += [*of_cases, *_trainings(seed)]
    sections += [] if cases is None else [cases]
    sections += [analysis, how] if tables else []
    sections.append(_arms(found))
    if (fitted := adjusted(found.arms)) is not None:
        sections.append(fitted)
    if (costs := cost(found.record, found.folder)) is not None:
        sections.append(costs)
    if begun := _begun(found):
        sections += settings(begun)
    return Subject(found.record.name, sections)


def _verdict(
    found: Conclusion, seed: Seed | None, orders: Mapping[str, Sequence[Scored]], floors: Section | None
) -> Section:
    """What the comparison says in words, arms below the floor, and the baseline's worst case with its reason."""
    lines = (
        in_words(found.verdicts[0], found.record.noise_floor, found.differs)
        if found.verdicts
        else ["Nothing can be compared yet."]
    )
    if floors is not None and floors.bad:
        lines[1:1] = [line for line in floors.lines if line != RULE]
    if seed and orders[seed.lead]:
        one = orders[seed.lead][0]
        others = [f"{arm} {score:.3f}" for arm, score in _scores(one, orders).items() if arm != seed.lead]
        beside = f" ({', '.join(others)})" if others else ""
        why = reason(one, seed.runs[seed.lead], seed.header)
        lines.append(f"Worst case of {seed.lead}: {one.case}, mDSC {one.score:.3f}{beside}{f'; {why}' if why else ''}.")
    return Section("verdict", lines)


def _scores(one: Scored, orders: Mapping[str, Sequence[Scored]]) -> dict[str, float]:
    """What every arm has for a case."""
    return {arm: other.score for arm, order in orders.items() for other in order if (other.case, other.fold) == one[:2]}


def _missing(found: Conclusion) -> Iterator[Section]:
    """What is not finished."""
    every = list(found.record.every(found.folder))
    left = [f"{arm} seed {seed} fold {fold} ({progress(run)})" for arm, seed, fold, run in every if not run.finished]
    if left:
        title = f"{len(left)} of {len(every)} trainings are not finished; run the same `ablate` command to resume"
        yield Section(title, [*found.missing, ", ".join(left)], bad=True)
    elif found.missing:
        yield Section("left out", found.missing, bad=True)


def _charts(title: str, found: Conclusion, *names: str) -> Iterator[Section]:
    charts = {caption: path for name in names for caption, path in found.charts(name).items()}
    if charts:
        yield Section(title, charts=charts)


def _worst(seed: Seed, orders: Mapping[str, Sequence[Scored]]) -> Section:
    """The worst case of each arm, and the mistakes in it."""
    rows = [
        [
            arm,
            order[0].case,
            f"{order[0].score:.4f}",
            spread(order),
            reason(order[0], seed.runs[arm], seed.header) or "-",
        ]
        for arm, order in orders.items()
        if order
    ]
    columns = ["arm", "worst case", "mDSC", "median mDSC of the arm", "mistakes"]
    return Section(f"the worst case of each arm, seed {seed.number}", columns=columns, rows=rows)


def _trainings(seed: Seed) -> Iterator[Section]:
    """Of each arm the curves of the classes and the confusion matrix of the first finished fold."""
    for arm, runs in seed.runs.items():
        run = next(run for run in runs if run.finished)
        charts = {CHARTS[name]: path for name, path in drawn(run).items() if name == "class_curves"}
        confusion = run.figures / "confusion.svg"
        charts |= {CHARTS["confusion"]: confusion} if confusion.is_file() else {}
        if charts:
            title = f"by class during training: {arm}, seed {seed.number}, {run.path.name}"
            yield Section(title, charts=charts, folded=True)


def _cases(seed: Seed, orders: Mapping[str, Sequence[Scored]], most_bytes: int) -> Section:
    lines = [
        f"The networks of seed {seed.number}. Cases are ordered by the mDSC of {seed.lead}, the worst first; every arm "
        "is shown on the same cases and slices."
    ]
    folders = {arm: [run.path for run in runs] for arm, runs in seed.runs.items()}
    shown = viewer(
        folders, case_entries(orders, seed.lead), seed.header.pictured, background(seed.header), lines, most_bytes
    )
    if shown is None:
        return Section("cases", ["No pictures of cases: none that every arm has kept."])
    return Section("cases", viewer=shown)


def _arms(found: Conclusion) -> Section:
    """What the arms differ in before they are trained."""
    path = found.folder / PROBES
    probes = read_json(path) if path.is_file() else {}
    rows = []
    for arm, one in found.record.arms.items():
        known = probes.get(found.record.baseline if arm == found.record.noise_floor else one.shares or arm, {})
        norm = f"{known['gradient_norm']:.4g}" if known else "-"
        differs = f"scores alone, trained as {one.shares}" if one.shares else ", ".join(one.changed)
        rows.append([arm, ", ".join(map(str, one.seeds)), norm, differs or "-"])
    lines = ["Arms that do not differ from the baseline in data, model or batch size share first weights and batches."]
    return Section("arms", lines, ["arm", "seeds", "first gradient norm", "differs in data, model or batches"], rows)


def _begun(found: Conclusion) -> dict[str, Run]:
    """A run of each arm that has begun."""
    begun: dict[str, Run] = {}
    for arm, _, _, run in found.record.every(found.folder):
        if run.config_file.is_file():
            begun.setdefault(arm, run)
    return begun
