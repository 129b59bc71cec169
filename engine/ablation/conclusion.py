"""What follows from the finished runs of an ablation: scores, verdicts, pictures; and what is missing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from segloss.compare import FEWEST
from segloss.document import ScoresDocument

from ..console.sections import Section
from ..pictures.chart import save
from ..scoring import results
from .comparison import Method
from .forest import acw_curves, class_bars, forest, learning_curves
from .record import Record
from .verdicts import COLUMNS, METHOD, Verdicts, beside_paper, compare_arms, scores_of

CAPTIONS = {
    "forest": "differences from the baseline, with 95 % intervals",
    "classes": "every class by every arm",
    "learning_curves": "training loss and validation score by arm",
    "acw_curves": "adaptive class weights",
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
                arms[arm] = Method(arm, documents)
        found: list[Verdicts] = []
        if record.baseline not in arms:
            missing.append(f"no seed of {record.baseline} has all of its folds: nothing to compare with")
        elif len(arms) > 1:
            floor = record.noise_floor if record.noise_floor in arms else None
            found = compare_arms(arms, record.baseline, record.smallest, floor)
        return cls(folder, record, arms, missing, found)

    def sections(self) -> Iterator[Section]:
        """The tables, as they are printed and written to files."""
        yield scores_of(self.arms)
        yield from verdict_sections(self.verdicts, self.record.noise_floor)
        if self.record.paper is not None:
            yield beside_paper(self.arms, self.record.paper)

    def draw(self) -> None:
        """Draw the pictures of what is finished into `figures`."""
        self.figures.mkdir(exist_ok=True)
        header = next(iter(self.arms.values())).header
        histories = {
            arm: [run.history() for name, _, _, run in self.record.every(self.folder) if name == arm and run.finished]
            for arm in self.arms
            if self.record.arms[arm].shares is None  # else it has no training of its own
        }
        pictures = {
            "forest": forest(self.verdicts) if self.verdicts else None,
            "classes": class_bars(self.arms),
            "learning_curves": learning_curves(histories, str(header.primary)),
            "acw_curves": acw_curves(histories, header.classes),
        }
        for name, figure in pictures.items():
            if figure is not None:
                save(figure, self.figures / name)

    @property
    def figures(self) -> Path:
        """The folder of the pictures."""
        return self.folder / "figures"

    def charts(self, name: str) -> dict[str, Path]:
        """A picture by its caption; nothing where it has not been drawn."""
        path = self.figures / f"{name}.svg"
        return {CAPTIONS[name]: path} if path.is_file() else {}


def verdict_sections(found: Sequence[Verdicts], noise_floor: str | None = None) -> Iterator[Section]:
    """The verdicts in words and numbers: of the first measure those of all arms, of classes those that differ."""
    if not found:
        return
    first, *others = found
    yield Section(
        f"{first.measure.title} against {first.baseline}", in_words(first, noise_floor), COLUMNS, first.rows()
    )
    if others:
        lines = [
            line
            for one in others
            for line, known in zip(one.lines(), one.found.values(), strict=True)
            if known.distinguishable
        ]
        rows = [row for one in others for row in one.rows()]
        yield Section(f"one by one, against {first.baseline}, not corrected for their number", lines, COLUMNS, rows)
    yield Section("how this is worked out", [METHOD, *_remarks(first)])


def _remarks(first: Verdicts) -> Iterator[str]:
    """What is not compared, or not as the primary metric says."""
    header = first.header
    if header.kind == "volume" and header.primary.aggregation == "image":
        yield f"The primary metric is {header.primary}; scores list no slices, so volumes are compared by case instead."
    if min(one.groups for one in first.found.values()) < FEWEST:
        yield f"Fewer than {FEWEST} {header.units}: nothing is tested."


def in_words(first: Verdicts, noise_floor: str | None) -> list[str]:
    """A sentence for each arm, and one on the noise floor."""
    lines = first.lines()
    if noise_floor in first.found:
        same = first.found[noise_floor]
        within = "" if same.low is None else f" (95 % CI {same.low:+.4f} to {same.high:+.4f})"
        lines.append(
            f"noise floor: with other seeds the baseline differs by {same.difference:+.4f}{within}; differences of "
            "that size mean nothing"
        )
    return lines
