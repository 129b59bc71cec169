"""What follows from the finished runs of an ablation: scores, verdicts, pictures; and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean

from matplotlib.figure import Figure

from segloss.document import ScoresDocument

from ..configuration.config import LossSection, RampSection
from ..console.sections import Section
from ..errors import NothingInCommonError
from ..experiment.identity import flat, within
from ..pictures.chart import save
from ..scoring import results
from ..scoring.floors import floor_section, mean_of_folds, read_floors
from .adjusted import adjusted
from .comparison import DETECTION, SMALLEST, Method
from .cost import cost
from .documents import arms_of
from .forest import acw_curves, class_bars, forest, learning_curves
from .journal import journal_table
from .ranking import ranking
from .record import Record
from .score_tables import beside_paper, scores_of
from .sweep import sweep_picture
from .tuning_report import TRIALS_CAPTION, trials_picture, tuned_beside_untuned, tuning_sections
from .verdict_sections import verdict_sections
from .verdicts import Verdicts, compare_arms

CAPTIONS = {
    "forest": "differences from the baseline, with 95 % intervals",
    "classes": "every class by every arm",
    "learning_curves": "validation score and training loss by arm",
    "acw_curves": "adaptive class weights",
    "sweep": "arms that differ in one value alone, beside what is tuned: mean over seeds and standard deviation",
    "trials": TRIALS_CAPTION,
}


@dataclass(frozen=True)
class Conclusion:
    """What is known of an ablation so far.

    Attributes:
        folder: of the ablation.
        record: its arms, seeds and folds.
        arms: by name, the scores of the seeds that have all of their folds.
        missing: a line for each seed of an arm that has not.
        verdicts: none where there is nothing to compare.
    """

    folder: Path
    record: Record
    arms: Mapping[str, Method]
    missing: list[str]
    verdicts: list[Verdicts]

    @classmethod
    def of(cls, folder: Path) -> Conclusion:
        """Read what is finished.

        Raises:
            UsageError: no ablation, or a file of it that is damaged.
        """
        record = Record.read(folder)
        arms: dict[str, Method] = {}
        missing = []
        for arm, one in record.arms.items():
            documents: dict[int | None, list[ScoresDocument]] = {}
            for seed, pair in zip(one.seeds, record.seeds, strict=True):
                runs = record.runs(folder, arm, pair)
                if all(run.finished for run in runs):
                    documents[pair] = [results.read(run.path) for run in runs]
                else:
                    missing.append(f"{arm} seed {seed}: not all folds are finished; left out of the tables")
            if documents:
                arms[arm] = Method(arm, documents, record.tune is not None and record.tune.per == "fold")
        missing += [
            f"{arm}: on disk, but not among the arms any more; left out of the tables: name it in ablation.arms again, "
            f"or remove {folder / arm}"
            for arm in arms_of(folder)
            if arm not in record.arms
        ]
        found: list[Verdicts] = []
        if record.baseline not in arms:
            missing.append(f"no seed of {record.baseline} has all of its folds: nothing to compare with")
        elif len(arms) > 1:
            floor = record.noise_floor if record.noise_floor in arms else None
            try:
                found = compare_arms(arms, record.baseline, SMALLEST | record.smallest, floor)
            except NothingInCommonError as error:  # no held-out case has a class that counts
                missing.append(f"nothing is compared: {error}")
        return cls(folder, record, arms, missing, found)

    def sections(self) -> Iterator[Section]:
        """The tables, as they are printed and written to files."""
        if (floors := self.floors()) is not None:
            yield floors
        yield scores_of(self.arms)
        yield from verdict_sections(self.verdicts, self.arms, self.record.noise_floor, self.differs, self.record.tune)
        yield from self.tuning()
        if (section := adjusted(self.arms)) is not None:
            yield section
        if (section := cost(self.record, self.folder)) is not None:
            yield section
        if self.record.paper is not None:
            yield beside_paper(self.arms, self.record.paper)

    def floors(self) -> Section | None:
        """What no network is needed for, beside the arms, and arms that find nothing of a class; None if not known."""
        if not self.arms:
            return None
        arm, method = next(iter(self.arms.items()))
        primary = method.header.primary
        seed = next(seed for seed in self.record.seeds if seed in method.documents)
        floors = read_floors(self.record.runs(self.folder, arm, seed), primary)
        means = {arm: [mean_of_folds(folds) for folds in one.documents.values()] for arm, one in self.arms.items()}
        known = {arm: [value for value in values if value is not None] for arm, values in means.items()}
        reached = {arm: mean(values) if values else None for arm, values in known.items()}
        section = floor_section(floors, reached, primary, len(method.documents[seed]))
        return section if section is None else replace(section, lines=[*missed_lines(self.arms), *section.lines])

    def journal(self) -> list[Section]:
        """The table for a paper; none where nothing can be compared."""
        floor = self.record.noise_floor
        ranks = next(ranking(self.arms, self.verdicts[0], floor), None) if self.verdicts else None
        if ranks is None:
            return []
        return [journal_table(self.verdicts, [ranks.rows[row][0] for row, _ in ranks.bold], floor)]

    def tuning(self) -> Iterator[Section]:
        """How the arms were tuned; nothing where they were not."""
        header = next(iter(self.arms.values())).header
        yield from tuning_sections(self.record.tunings(self.folder), str(header.primary))
        yield from tuned_beside_untuned(self.record, self.folder, str(header.primary))

    @property
    def differs(self) -> dict[str, list[str]]:
        """By arm, in what it differs from the baseline beside loss, ACW and its remedy."""
        return {arm: one.differs for arm, one in self.record.arms.items()}

    def draw(self) -> None:
        """Draw the pictures of what is finished into `figures`, and remove those of an earlier state."""
        pictures = self._pictures() if self.arms else {}
        for name in CAPTIONS:
            path, figure = self.figures / name, pictures.get(name)
            if figure is None:
                for suffix in (".png", ".svg"):
                    path.with_suffix(suffix).unlink(missing_ok=True)
            else:
                self.figures.mkdir(exist_ok=True)
                save(figure, path)

    def _pictures(self) -> dict[str, Figure | None]:
        """By name, what there is to draw."""
        header = next(iter(self.arms.values())).header
        runs = {
            arm: [run for name, _, _, run in self.record.every(self.folder) if name == arm and run.finished]
            for arm in self.arms
        }
        trained = {arm: of_arm for arm, of_arm in runs.items() if self.record.arms[arm].shares is None}
        histories = {arm: [run.history() for run in of_arm] for arm, of_arm in trained.items()}
        configs = {arm: of_arm[0].config() for arm, of_arm in runs.items()}
        losses = {arm: loss_in_words(configs[arm].loss) for arm in trained}
        tuned = () if self.record.tune is None else tuple(self.record.tune.keys)  # chosen by fold: no value of the arm
        values = {
            arm: {key: value for key, value in flat(config.document()) if not within(key, tuned)}
            for arm, config in configs.items()
        }
        return {
            "forest": forest([one for one in self.verdicts if one.measure.score not in DETECTION])
            if self.verdicts
            else None,
            "classes": class_bars(self.arms),
            "learning_curves": learning_curves(histories, str(header.primary), losses),
            "acw_curves": acw_curves(histories, header.classes),
            "sweep": sweep_picture(values, self.arms),
            "trials": trials_picture(self.record.tunings(self.folder), str(header.primary)),
        }

    @property
    def figures(self) -> Path:
        """The folder of the pictures."""
        return self.folder / "figures"

    def charts(self, name: str) -> dict[str, Path]:
        """A picture by its caption; nothing where it has not been drawn."""
        path = self.figures / f"{name}.svg"
        return {CAPTIONS[name]: path} if path.is_file() else {}


def missed_lines(arms: Mapping[str, Method]) -> list[str]:
    """A line for each arm and class that it misses in a quarter of the cases or more, with its first seed."""
    lines = []
    for arm, method in arms.items():
        for name in method.header.counted if method.has_counts else ():
            seed = next(iter(method.documents))
            rows = [row for _, row in method.rows(seed) if row.label == name]
            held = [row for row in rows if row.tp or row.fn]
            missed = sum(not row.tp and not row.fp for row in held)
            if missed and missed >= len(held) / 4:
                of_seed = f" (seed {seed})" if len(method.documents) > 1 else ""
                lines.append(f"{arm} finds no {name} in {missed} of {len(held)} cases that have it{of_seed}")
    return lines


def loss_in_words(sections: Sequence[LossSection]) -> str:
    """A loss, or the sum of several, with what is not as usual: `dice + 0.5 ce`, `focal (gamma 1)`."""
    return " + ".join(map(_term, sections))


def _term(section: LossSection) -> str:
    values = section.model_dump()
    usual = {key: field.default for key, field in type(section).model_fields.items()}
    changed = [f"{key} {values[key]}" for key in values if key not in ("name", "weight") and values[key] != usual[key]]
    weight = "" if section.weight == 1 else f"{_weight(section.weight)} "
    return weight + section.name + (f" ({', '.join(changed)})" if changed else "")


def _weight(weight: float | RampSection) -> str:
    """A weight in a sum, `0.5`, or one that follows the epochs, `0.01…1`."""
    ends = weight.model_dump().values() if isinstance(weight, RampSection) else [weight]
    return "…".join(f"{end:g}" for end in ends)
