"""The scores document, `scores.json`: what was scored, how, and the scores. Another trainer can write one too.

Needed of a document are `header.classes` and `cases`, a row for each case and class with `case`, `class`, `tp`, `fp`
and `fn`, or with `DSC` alone. All else is filled in: see `ScoresDocument.from_json`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

from .aggregation import (
    AGGREGATIONS,
    CLASS_SCORES,
    LABEL_METRICS,
    LABEL_RULE,
    METRICS,
    RULE,
    Aggregation,
    AggregationName,
    Metric,
    class_ratios,
    label_scores,
)
from .json_values import (
    amount,
    count,
    filled_list,
    fraction,
    mapping,
    measured,
    needed,
    number,
    numbers,
    text,
    truth,
    whole,
    whole_numbers,
)
from .names import check_choice

Kind = Literal["volume", "still", "label"]
KINDS: tuple[Kind, ...] = ("volume", "still", "label")
TITLES: dict[Metric, str] = {"f1": "macro F1", "balanced_accuracy": "balanced accuracy"}
"""What metrics are called where that is not their key."""
CLASS_SCORE: dict[Metric, Literal["DSC", "IoU", "f1", "recall"]] = {"mDSC": "DSC", "mIoU": "IoU", "f1": "f1"}
"""By metric that of one class; of the accuracies it is the recall."""
FORMAT = 2
"""Of the documents that are written; those before it hold neither `format` nor `kind` nor `primary`."""
DISTANCES = ("HD95", "ASSD")
"""Scores in mm, of which less is better."""
VOLUME_MEANS = (*DISTANCES, "surface_DSC", "volume_error_ml", "relative_volume_error")
"""What a row of a volume may hold beside the scores of its counts, and of which there are means by case."""
COUNTS = ("tp", "fp", "fn")


@dataclass(frozen=True)
class Primary:
    """The one score that chooses the best checkpoint and that methods are compared in.

    Attributes:
        aggregation: `dataset`, `case` or `image`; of pictures with one label `dataset`.
        metric: `mDSC` or `mIoU`; of pictures with one label `accuracy`, `balanced_accuracy` or `f1`.
    """

    aggregation: AggregationName
    metric: Metric

    @classmethod
    def of_kind(cls, kind: Kind) -> Primary:
        """What is usual: by case mDSC of volumes, pooled mIoU of stills, the accuracy of pictures with one label."""
        usual: dict[Kind, Metric] = {"volume": "mDSC", "still": "mIoU", "label": "accuracy"}
        return cls("case" if kind == "volume" else "dataset", usual[kind])

    @property
    def score(self) -> Literal["DSC", "IoU", "f1", "recall"]:
        """The metric of one class."""
        return CLASS_SCORE.get(self.metric, "recall")

    def __str__(self) -> str:
        return (
            TITLES.get(self.metric, self.metric)
            if self.metric in LABEL_METRICS
            else f"{self.aggregation} {self.metric}"
        )


@dataclass(frozen=True, kw_only=True)
class Adjustment:
    """What was done to the logits of a trained network: z / temperature + offsets; see `segloss.adjustment`.

    Attributes:
        kind: `prior`, `temperature` or `offsets`.
        part: `train` or `val`: what it follows from.
        groups: of that part.
        tau: of `prior`.
        temperature: None where it is another in each fold.
        offsets: one a class, None where they are others in each fold.
        before: on that part the negative log-likelihood (`temperature`) or the primary metric (`offsets`) without it.
        after: the same with it.
    """

    kind: str
    part: str
    groups: int | None = None
    tau: float | None = None
    temperature: float | None = None
    offsets: Sequence[float] | None = None
    before: float | None = None
    after: float | None = None

    def in_words(self, classes: Sequence[str]) -> str:
        """What is done to the logits of the classes, what it follows from, and what it was good for there."""
        groups = "" if self.groups is None else f" ({self.groups} {'group' if self.groups == 1 else 'groups'})"
        gain = "" if self.before is None or self.after is None else f": {self.before:.4f} → {self.after:.4f}"
        if self.kind == "temperature":
            value = "of each fold" if self.temperature is None else f"{self.temperature:.3g}"
            return f"logits divided by the temperature {value}, the most likely on the validation part{groups}{gain}"
        offsets = "an offset a class, others in each fold"
        if self.offsets is not None:
            named = [f"{name} {offset:+.2f}" for name, offset in zip(classes, self.offsets, strict=True) if offset]
            offsets = ", ".join(named) or "nothing"
        if self.kind == "prior":
            tau = "τ" if self.tau is None else f"{self.tau:g}"
            return f"added to the logits: {offsets}, {tau} × −log of the shares of the classes in the training part"
        return f"added to the logits: {offsets}, the best on the validation part{groups}{gain}"

    @classmethod
    def from_json(cls, value: object, at: str) -> Adjustment:
        """Read what `asdict` makes; a `ValueError` that begins with `at` where it is something else."""
        found = mapping(value, at)
        for key in ("kind", "part"):
            needed(found, key, f"{at}.")
        return cls(**_fields(cls, found, f"{at}."))


@dataclass(frozen=True, kw_only=True)
class Header:
    """What was scored, and whatever decided the scores; None where it is not known or does not apply.

    Attributes:
        kind: `volume`: a case is a scan; `still`: a case is one 2D image; `label`: a case is a picture with one label.
        primary: the score that counts.
        classes: the names of the C classes, in the order of the confusion matrix.
        background: the class that is left out of the means over classes.
        mask_classes: the names of the classes of the masks, where `classes` are regions, unions of these that may
            overlap; None where they are the classes themselves.
        ignore_index: the label that does not count.
        rule: what becomes of absent classes.
        grid: `original`, or the `network`'s.
        window: rows and columns of the windows that the network is given; None for the whole image.
        overlap: of the windows.
        flip: whether the logits are the mean with those of the mirrored image.
        largest_component: whether each class has kept its largest component alone.
        adjust: what was done to the logits; None for nothing.
        inference: window, flip and largest component in words.
        tolerance_mm: of the surface DSC.
        surface_rule: what becomes of absent surfaces.
        part: `train`, `val` or `test`.
        checkpoint: `best` or `last`.
        epoch: of the checkpoint.
        seed: of the training; None of an ensemble.
        ensemble: how many networks, of several seeds, it is the mean of; None for one.
        fold: that is held out.
        folds: of a document of all held-out cases, how many there are.
        class_images: of pictures with one label, how many of each class were trained on.
        grouped: of pictures with one label, whether groups hold several; else they are their own groups.
        format: of the document.
    """

    kind: Kind
    primary: Primary
    classes: Sequence[str]
    background: str | None = None
    mask_classes: Sequence[str] | None = None
    ignore_index: int | None = None
    rule: str = RULE
    grid: str | None = None
    window: Sequence[int] | None = None
    overlap: float | None = None
    flip: bool | None = None
    largest_component: bool | None = None
    adjust: Adjustment | None = None
    inference: str | None = None
    tolerance_mm: float | None = None
    surface_rule: str | None = None
    part: str | None = None
    checkpoint: str | None = None
    epoch: int | None = None
    seed: int | None = None
    ensemble: int | None = None
    fold: int | None = None
    folds: int | None = None
    class_images: Sequence[int] | None = None
    grouped: bool | None = None
    format: int = FORMAT

    @property
    def pictured(self) -> Sequence[str]:
        """The names of the classes of masks."""
        return self.classes if self.mask_classes is None else self.mask_classes

    @property
    def scored(self) -> Literal["class", "region"]:
        """What `classes` are, one of them in words."""
        return "class" if self.mask_classes is None else "region"

    @property
    def counted(self) -> list[str]:
        """The classes that count in means."""
        return [name for name in self.classes if name != self.background]

    @property
    def units(self) -> str:
        """What the groups are called."""
        if self.kind == "label" and not self.grouped:
            return "images"
        return "patients" if self.kind == "volume" else "groups"

    @property
    def left_out(self) -> set[int | None]:
        """The indices that are left out of means over classes."""
        background = None if self.background is None else list(self.classes).index(self.background)
        return {background, self.ignore_index}


class Unit(NamedTuple):
    """What a row is of: a case, or a slice of one; see `Row`."""

    case: str
    group: str
    slice: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A case, or a slice of one, and a class.

    Attributes:
        case: its id.
        group: what must not be split, such as a patient; the case itself where nothing else is known.
        label: the name of the class.
        tp: true positives; None where only scores are known.
        fp: false positives, as `tp`.
        fn: false negatives, as `tp`.
        scores: DSC, IoU, precision and recall, fractions of 1, None where undefined; of volumes also those in mm and
            ml that were measured.
        fold: that held it out, in a document of several.
        slice: its number, of a row that is of a slice.
    """

    case: str
    group: str
    label: str
    tp: int | None
    fp: int | None
    fn: int | None
    scores: Mapping[str, float | None]
    fold: int | None = None
    slice: int | None = None

    @classmethod
    def from_counts(
        cls,
        unit: Unit,
        label: str,
        counts: Iterable[int],
        more: Mapping[str, float | None] | None = None,
        fold: int | None = None,
    ) -> Row:
        """A row with the scores of its true positives, false positives and false negatives, and more after these."""
        tp, fp, fn = counts
        scores = {name: part / total if total else None for name, (part, total) in class_ratios(tp, fp, fn).items()}
        return cls(unit.case, unit.group, label, tp, fp, fn, scores | dict(more or {}), fold, unit.slice)

    @classmethod
    def from_dsc(
        cls,
        unit: Unit,
        label: str,
        dsc: float | None,
        more: Mapping[str, float | None] | None = None,
        fold: int | None = None,
    ) -> Row:
        """A row of which the DSC is known, and so its IoU, but not the counts; and more scores after these."""
        iou = None if dsc is None else dsc / (2 - dsc)
        scores = {"DSC": dsc, "IoU": iou, "precision": None, "recall": None}
        return cls(unit.case, unit.group, label, None, None, None, scores | dict(more or {}), fold, unit.slice)

    def flat(self) -> dict[str, Any]:
        """As it is written, to JSON or CSV."""
        begin: dict[str, Any] = {"case": self.case, "group": self.group}
        begin |= {} if self.slice is None else {"slice": self.slice}
        counts = {"class": self.label, "tp": self.tp, "fp": self.fp, "fn": self.fn}
        return {**begin, **counts, **self.scores, **({} if self.fold is None else {"fold": self.fold})}


SCORES = {one: Row.from_counts(Unit("", ""), "", one).scores for one in ((1, 0, 0), (0, 1, 0), (0, 0, 1))}
"""Of a row of a picture with one label, by its true positives, false positives and false negatives."""


class Picture(NamedTuple):
    """A picture with one label, and the one it is given.

    Attributes:
        case: its id.
        group: what must not be split; the case itself where nothing else is known.
        label: the name of its class.
        predicted: the name of the class it is given.
        top5: whether its class is among the five most probable; None where that is not known.
        probability: of the class it is given; None where that is not known.
        fold: that held it out, in a document of several.
    """

    case: str
    group: str
    label: str
    predicted: str
    top5: bool | None = None
    probability: float | None = None
    fold: int | None = None

    def rows(self) -> list[Row]:
        """A row of its class, and where it is given another a row of that: all others hold nothing."""
        if self.label == self.predicted:
            return [Row(self.case, self.group, self.label, 1, 0, 0, SCORES[1, 0, 0], self.fold)]
        return [
            Row(self.case, self.group, self.label, 0, 0, 1, SCORES[0, 0, 1], self.fold),
            Row(self.case, self.group, self.predicted, 0, 1, 0, SCORES[0, 1, 0], self.fold),
        ]

    def flat(self) -> dict[str, Any]:
        """As it is written, to JSON or CSV."""
        found: dict[str, Any] = {"case": self.case}
        found |= {} if self.group == self.case else {"group": self.group}
        found |= {"label": self.label, "predicted": self.predicted}
        found |= {} if self.top5 is None else {"top5": self.top5}
        found |= {} if self.probability is None else {"probability": round(self.probability, 4)}
        return found | ({} if self.fold is None else {"fold": self.fold})


@dataclass(frozen=True)
class ScoresDocument:
    """What `scores.json` holds.

    Attributes:
        header: what was scored, and how.
        aggregations: by name; those of another trainer's document may be missing. Of pictures with one label there is
            `dataset` alone.
        rows: one a case and class; those of a case come together, in the order of the classes. Of pictures with one
            label those of `Picture.rows`.
        confusion: `(C, C)` pixels or pictures, rows the reference, columns the prediction; None where it is not known.
        calibration: see `segloss.calibration.Calibration.document`; None where it was not measured.
        pictures: with one label, in place of whose rows they are written; None of other kinds.
    """

    header: Header
    aggregations: Mapping[AggregationName, Aggregation]
    rows: Sequence[Row]
    confusion: list[list[int]] | None = None
    calibration: dict[str, Any] | None = None
    pictures: Sequence[Picture] | None = None

    @classmethod
    def of_pictures(
        cls, header: Header, pictures: Sequence[Picture], calibration: dict[str, Any] | None = None
    ) -> ScoresDocument:
        """The document of pictures with one label, from which all of its scores follow."""
        import torch  # the rest of this module needs no torch

        places = {name: index for index, name in enumerate(header.classes)}
        side = len(places)
        cells = torch.tensor([places[one.label] * side + places[one.predicted] for one in pictures], dtype=torch.int64)
        matrix = torch.bincount(cells, minlength=side * side).view(side, side)
        known = [one.top5 for one in pictures]
        in_top = None if None in known else sum(map(bool, known))
        found = label_scores(matrix, header.classes, in_top, header.class_images)
        rows = [row for one in pictures for row in one.rows()]
        return cls(header, {"dataset": found}, rows, matrix.tolist(), calibration, pictures)

    @property
    def primary(self) -> float | None:
        """The primary metric."""
        return self.aggregations[self.header.primary.aggregation][self.header.primary.metric]

    def case_means(self) -> dict[tuple[str, int | None], float | None]:
        """By case and fold the mean DSC over the classes that count; None where none of them is defined."""
        found: dict[tuple[str, int | None], list[float]] = {}
        for row in self.rows:
            values = found.setdefault((row.case, row.fold), [])
            value = row.scores["DSC"]
            if row.label != self.header.background and value is not None:
                values.append(value)
        return {key: sum(values) / len(values) if values else None for key, values in found.items()}

    def to_json(self) -> dict[str, Any]:
        """The document as JSON writes it; the rows are `cases`.

        Of pictures with one label the confusion matrix is not written: it follows from their rows.
        """
        return {
            "header": asdict(self.header),
            **{name: self.aggregations[name] for name in self.aggregations},
            **({"confusion": self.confusion} if self.pictures is None else {}),
            "cases": self.flat_cases(),
            "calibration": self.calibration,
        }

    def flat_cases(self) -> list[dict[str, Any]]:
        """A row a case and class, or a picture with one label, as they are written."""
        return [one.flat() for one in (self.rows if self.pictures is None else self.pictures)]

    @classmethod
    def from_json(cls, document: object) -> ScoresDocument:
        """Read what `to_json`, an older program or another trainer wrote.

        DSC, IoU, precision and recall follow from the counts, of a row that has none its IoU from its DSC, and a group
        is its case where none is named. Without `kind` a document is of volumes where a row holds a distance in mm,
        where there are more images than cases, or where a background is left out; of stills otherwise. Without
        `primary` it is that of `Primary.of_kind`. An aggregation is whole or left out; of it accuracy and the scores of
        a class may be None. Of the kind `label`
        the rows are pictures, with `case`, `label` and `predicted`, and all scores follow from them.

        Raises:
            ValueError: a key that is missing or holds something else, two rows of one case and class, a class that does
                not exist, a format that is not `FORMAT`; says which, such as `cases.3.tp`.
        """
        given = mapping(document, "the whole")
        found = mapping(needed(given, "header", ""), "header")
        classes = class_names(needed(found, "classes", "header."), "header.classes")
        if found.get("kind") == "label":
            pictures = _pictures(filled_list(needed(given, "cases", ""), "cases"), dict.fromkeys(classes))
            _refuse_twice((one.case, one.fold, "") for one in pictures)
            return cls.of_pictures(_header(found, classes, [], {}), pictures, given.get("calibration"))
        rows = [
            _row(row, f"cases.{index}", classes)
            for index, row in enumerate(filled_list(needed(given, "cases", ""), "cases"))
        ]
        _refuse_twice((row.case, row.fold, row.label) for row in rows)
        aggregations: dict[AggregationName, Aggregation] = {
            name: _aggregation(given[name], name, classes) for name in AGGREGATIONS if given.get(name) is not None
        }
        header = _header(found, classes, rows, aggregations)
        return cls(header, aggregations, rows, given.get("confusion"), given.get("calibration"))


def _header(
    found: Mapping[str, Any],
    classes: Sequence[str],
    rows: Sequence[Row],
    aggregations: Mapping[AggregationName, Aggregation],
) -> Header:
    values = _fields(Header, found, "header.", ("kind", "primary", "classes"))
    if values.setdefault("format", FORMAT) != FORMAT:
        raise ValueError(
            f"header.format: {FORMAT} is needed, or no such key, got {values['format']}; read it with the version of "
            "segloss that wrote it"
        )
    background = values.get("background")
    if background not in (None, *classes):
        raise ValueError(f"header.background: {background!r} is none of {', '.join(classes)}")
    kind: Kind | None = found.get("kind")
    if kind is None:
        measured = any(row.scores.get("HD95") is not None for row in rows)
        sliced = len(aggregations) == len(AGGREGATIONS) and (
            aggregations["image"]["units"] > aggregations["case"]["units"]
        )
        kind = "volume" if measured or sliced or background is not None else "still"
    check_choice("header.kind", kind, KINDS)
    primary = Primary.of_kind(kind)
    if found.get("primary") is not None:
        given = mapping(found["primary"], "header.primary")
        primary = Primary(*(needed(given, key, "header.primary.") for key in ("aggregation", "metric")))
        check_choice("header.primary.aggregation", primary.aggregation, AGGREGATIONS)
        check_choice("header.primary.metric", primary.metric, LABEL_METRICS if kind == "label" else METRICS)
    if kind == "label":
        values.setdefault("rule", LABEL_RULE)
        if len(values.get("class_images", classes)) != len(classes):
            raise ValueError(f"header.class_images: one number a class is needed ({len(classes)})")
    return Header(kind=kind, primary=primary, classes=classes, **values)


def _fields(record: type, found: Mapping[str, Any], at: str, apart: Collection[str] = ()) -> dict[str, Any]:
    """What a mapping says of the fields of a dataclass but some, each read by its type."""
    hints = {key: hint for key, hint in get_type_hints(record).items() if key not in apart}
    readers = {key: READERS[(*get_args(hint), hint)[0]] for key, hint in hints.items()}
    return {key: read(found[key], f"{at}{key}") for key, read in readers.items() if found.get(key) is not None}


def class_names(value: object, at: str) -> list[str]:
    """Names, all different; a `ValueError` that begins with `at` where they are none."""
    found = [text(name, f"{at}.{index}") for index, name in enumerate(filled_list(value, at))]
    if len(set(found)) < len(found):
        raise ValueError(f"{at}: a class is named twice")
    return found


def _aggregation(given: object, at: str, classes: Sequence[str]) -> Aggregation:
    found = mapping(given, at)
    by_class = mapping(needed(found, "classes", f"{at}."), f"{at}.classes")
    for name in by_class.keys() - {*classes}:
        raise ValueError(f"{at}.classes: {name!r} is none of {', '.join(classes)}")
    scores = {}
    for name in classes:
        here = f"{at}.classes.{name}"
        values = mapping(needed(by_class, name, f"{at}.classes."), here)
        own = {key: fraction(values.get(key), f"{here}.{key}") for key in CLASS_SCORES}
        scores[name] = own | {key: measured(values[key], f"{here}.{key}") for key in values if key in VOLUME_MEANS}
    mdsc, miou = (fraction(needed(found, key, f"{at}."), f"{at}.{key}") for key in ("mDSC", "mIoU"))
    units, left_out = (count(needed(found, key, f"{at}."), f"{at}.{key}") for key in ("units", "left_out"))
    accuracy = fraction(found.get("accuracy"), f"{at}.accuracy")
    return {"mDSC": mdsc, "mIoU": miou, "accuracy": accuracy, "units": units, "left_out": left_out, "classes": scores}


def _row(given: object, at: str, classes: Sequence[str]) -> Row:
    row = mapping(given, at)
    case = text(needed(row, "case", f"{at}."), f"{at}.case")
    label = text(needed(row, "class", f"{at}."), f"{at}.class")
    if label not in classes:
        raise ValueError(f"{at}: the class {label!r} is none of {', '.join(classes)}")
    more = {key: MEASURED[key](value, f"{at}.{key}") for key, value in row.items() if key in MEASURED}
    group, fold = row.get("group"), row.get("fold")
    unit = Unit(case, text(group, f"{at}.group") if group else case)
    fold = None if fold is None else whole(fold, f"{at}.fold")
    if "DSC" in row and all(row.get(key) is None for key in COUNTS):
        return Row.from_dsc(unit, label, fraction(row["DSC"], f"{at}.DSC"), more, fold)
    counts = [count(needed(row, key, f"{at}."), f"{at}.{key}") for key in COUNTS]
    return Row.from_counts(unit, label, counts, more, fold)


def _pictures(rows: Sequence[object], classes: Collection[str]) -> list[Picture]:
    pictures = []
    for index, row in enumerate(rows):
        try:
            pictures.append(_picture(row, classes))
        except ValueError as error:
            raise ValueError(f"cases.{index}{error}") from error
    return pictures


def _picture(given: object, classes: Collection[str]) -> Picture:
    """A row; a `ValueError` that begins with where in it something is wrong, such as `.label: `."""
    found = mapping(given, "")
    case, label, predicted = (text(needed(found, key, "."), f".{key}") for key in ("case", "label", "predicted"))
    for name in (label, predicted):
        if name not in classes:
            raise ValueError(f": the class {name!r} is none of {', '.join(classes)}")
    group, fold, top = found.get("group"), found.get("fold"), found.get("top5")
    return Picture(
        case,
        text(group, ".group") if group else case,
        label,
        predicted,
        None if top is None else truth(top, ".top5"),
        fraction(found.get("probability"), ".probability"),
        None if fold is None else whole(fold, ".fold"),
    )


def _refuse_twice(keys: Iterable[tuple[str, int | None, str]]) -> None:
    """Raise a `ValueError` where a case and class, or a picture whose class is given as "", stands there twice."""
    seen = set[tuple[str, int | None, str]]()
    for key in keys:
        if key in seen:
            of, needed = (f" of {key[2]}", " and class, its slices added up") if key[2] else ("", "")
            raise ValueError(f"cases: {key[0]} has two rows{of}; needed is one for each case{needed}")
        seen.add(key)


READERS: dict[Any, Callable[[object, str], Any]] = {
    str: text,
    int: whole,
    float: number,
    bool: truth,
    Sequence[str]: class_names,
    Sequence[int]: whole_numbers,
    Sequence[float]: numbers,
    Adjustment: Adjustment.from_json,
}
"""What reads a key of a header, by its type."""
MEASURED: dict[str, Callable[[object, str], float | None]] = {
    **dict.fromkeys(VOLUME_MEANS, measured),  # errors of volumes have signs
    **dict.fromkeys((*DISTANCES, "volume_ml", "reference_ml"), amount),
    "surface_DSC": fraction,
}
"""What reads a score of a row that is measured, not counted, by its key."""
