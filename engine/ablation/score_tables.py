"""The scores of all arms in every aggregation, and beside those of a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from segloss.aggregation import CLASS_SCORES, LABEL_METRICS, METRICS, Aggregation, AggregationName
from segloss.document import Primary, ScoresDocument

from ..configuration.config import PaperSection
from ..console.sections import Section
from ..scoring.leading import distinct_aggregations
from ..scoring.pooling import pooled
from .comparison import Method


def scores_of(arms: Mapping[str, Method]) -> Section:
    """Every arm in every aggregation, the mean over seeds and its standard deviation: what leads comes first.

    That is the primary metric, before it the same score of a class that leads; see `leading_class`.
    """
    first = next(iter(arms.values()))
    primary, of_labels, rarer = first.header.primary, first.header.kind == "label", first.leading_class
    every: list[tuple[str, list[AggregationName], str]]
    if of_labels:
        every = [(str(Primary("dataset", metric)), ["dataset"], metric) for metric in LABEL_METRICS]
    else:
        found = [one.aggregations for arm in arms.values() for seed in arm.documents.values() for one in seed]
        every = [(_title(same, metric), same, metric) for same in distinct_aggregations(found) for metric in METRICS]
    every.sort(key=lambda one: primary.aggregation not in one[1] or one[2] != primary.metric)
    if rarer is not None:
        same, score = every[0][1], f"{primary.score} {rarer}"
        every.insert(0, (_title(same, score), same, score))
    rows = [
        [
            name,
            "all in one" if arm.header.ensemble else str(len(arm.documents)),
            *(_spread(score_by_seed(arm, same[0], score)) for _, same, score in every),
        ]
        for name, arm in arms.items()
    ]
    title = f"scores of the held-out {'images' if of_labels else 'cases'}, mean over seeds ± standard deviation"
    return Section(title, columns=["arm", "seeds", *(column for column, _, _ in every)], rows=rows)


def _title(aggregations: Sequence[AggregationName], score: str) -> str:
    """A score in aggregations that are the same numbers, such as `case = image mDSC`."""
    return f"{' = '.join(aggregations)} {score}"


def scores_by_class(arm: Method, aggregation: AggregationName, score: str) -> dict[str, list[float]]:
    """By class that counts, one number a seed of a score such as DSC; those that are defined. One of an ensemble."""
    classes = [values["classes"] for values in _by_seed(arm, aggregation)]
    return {
        name: [value for one in classes if (value := one[name].get(score)) is not None] for name in arm.header.counted
    }


def score_by_seed(arm: Method, aggregation: AggregationName, score: str) -> list[float]:
    """One number a seed of a score such as mDSC or `DSC <class>`; those that are defined. One of an ensemble."""
    found = []
    for values in _by_seed(arm, aggregation):
        kind, _, name = score.partition(" ")
        every: Mapping[str, Any] = {**values}
        value = values["classes"].get(name, {}).get(kind) if name else every.get(score)
        if value is not None:
            found.append(value)
    return found


def _by_seed(arm: Method, aggregation: AggregationName) -> list[Aggregation]:
    """The scores of each seed; of an ensemble once."""
    every = [*arm.documents.values()][: 1 if arm.header.ensemble else None]
    return [_of_folds(documents, aggregation) for documents in every]


def beside_paper(arms: Mapping[str, Method], paper: PaperSection) -> Section:
    """Our numbers and a paper's, and whether the arms come in the same order."""
    rows, lines = [], [f"{paper.source}; our aggregation: {paper.aggregation}"]
    scores = list(dict.fromkeys(score for values in paper.values.values() for score in values))
    for score in scores:
        pairs = {
            name: (mean(ours), values[score])
            for name, values in paper.values.items()
            if score in values and name in arms and (ours := score_by_seed(arms[name], paper.aggregation, score))
        }
        rows += [
            [name, score, f"{ours:.4f}", f"{theirs:.4f}", f"{ours - theirs:+.4f}"]
            for name, (ours, theirs) in pairs.items()
        ]
        if len(pairs) > 1:
            mine, printed = (sorted(pairs, key=lambda name: -pairs[name][side]) for side in (0, 1))
            same = "the arms come in the paper's order" if mine == printed else "the order is another"
            lines.append(f"{score}: {same}: {' > '.join(mine)} here, {' > '.join(printed)} there")
    return Section("beside the paper", lines, ["arm", "score", "here", "paper", "difference"], rows)


def _of_folds(documents: Sequence[ScoresDocument], aggregation: AggregationName) -> Aggregation:
    """All folds' cases together, or the mean of the folds for the slices of volumes, which a document does not list.

    They weigh by the number of slices that count: exact for the means over classes, and near it for one class.
    """
    first = documents[0]
    if len(documents) == 1:
        return first.aggregations[aggregation]
    if aggregation != "image" or first.header.kind == "still":
        return pooled(documents, [[] for _ in documents]).aggregations[aggregation]
    found = [document.aggregations["image"] for document in documents]
    weights = [one["units"] - one["left_out"] for one in found]

    def weighted(values: Sequence[float | None]) -> float | None:
        known = [(value, weight) for value, weight in zip(values, weights, strict=True) if value is not None]
        total = sum(weight for _, weight in known)
        return sum(value * weight for value, weight in known) / total if total else None

    return {
        "mDSC": weighted([one["mDSC"] for one in found]),
        "mIoU": weighted([one["mIoU"] for one in found]),
        "accuracy": weighted([one["accuracy"] for one in found]),
        "units": sum(one["units"] for one in found),
        "left_out": sum(one["left_out"] for one in found),
        "classes": {
            name: {key: weighted([one["classes"][name].get(key) for one in found]) for key in CLASS_SCORES}
            for name in first.header.classes
        },
    }


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    return f"{mean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")
