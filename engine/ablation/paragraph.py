"""A paragraph on the statistical analysis, to be pasted into a paper: what was done, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from segloss.comparison import FEWEST
from segloss.document import DISTANCES, Header
from segloss.sign_flip import DRAWS, EXACT

from ..configuration.config import TuneSection
from ..console.sections import Section
from .comparison import DETECTION, Method
from .verdicts import Verdicts, fewer_seeds

TITLE = "statistical analysis, to paste"
MOST_NAMES = 10
"""Beyond which classes are counted, not named."""


def statistical_analysis(
    found: Sequence[Verdicts],
    arms: Mapping[str, Method],
    noise_floor: str | None = None,
    tune: TuneSection | None = None,
) -> Section:
    """The paragraph.

    Args:
        found: the verdicts of all measures, the primary first.
        arms: by name.
        noise_floor: the arm that is the baseline with other seeds.
        tune: how the arms were tuned; None where they were not.
    """
    first, *others = found
    compared = [arm for arm in first.found if arm != noise_floor] or [*first.found]
    sentences = [
        _outcome(first, compared, arms),
        *_tuning(tune),
        *_after_training([first.baseline, *compared], arms),
        *_test(first, compared, any(arms[name].tuned for name in (first.baseline, *compared))),
        *_others(others),
        *_margin(first, first.found[compared[0]].p_value is not None),
    ]
    return Section(TITLE, [" ".join(sentences)])


def _outcome(first: Verdicts, compared: Sequence[str], arms: Mapping[str, Method]) -> str:
    header, measure, one = first.header, first.measure, first.found[compared[0]]
    of_labels = header.kind == "label"
    mean = measure.name is None and not of_labels
    names = header.counted
    over = _listed(names) if len(names) <= MOST_NAMES else f"the {len(names):,} classes that were scored"
    what = f"the mean {measure.score} over {over}" if mean else measure.title
    kind = "scans" if header.kind == "volume" else "images"
    who = "patient" if header.kind == "volume" else "group"
    of_one = "by image" if header.units == "images" else f"by {who} (the mean of its {kind})"
    by = of_one if measure.aggregation == "case" else f"of {'' if of_labels else 'the pixels of '}all {kind} together"
    documents = next(iter(arms[first.baseline].documents.values()))
    folds = max(len(documents), documents[0].header.folds or 1)
    held = f", each held out once in {folds}-fold cross-validation" if folds > 1 else ""
    found = {name: first.found[name] for name in compared}
    most = max(one.seeds for one in found.values())
    seeds = f", with {most} random seeds for each training{fewer_seeds(found)}" if most > 1 else ""
    were = "was" if len(compared) == 1 else "were"
    return (
        f"The primary outcome was {what}, {by}; {_listed(compared)} {were} compared with {first.baseline} on the same "
        f"{one.groups} {header.units}{held}{seeds}."
    )


def _tuning(tune: TuneSection | None) -> Iterator[str]:
    if tune is None:
        return
    what = _listed(list(tune.keys)) if tune.keys else "the arms' own hyper-parameters"
    yield f"Before, {what} {'was' if len(tune.keys) == 1 else 'were'} tuned with {tune.trials} trials for every arm,"
    if tune.per == "fold":
        yield "chosen for each fold by its validation part, which was not used for testing."
    else:
        yield "chosen by the mean validation score over folds; cases that validated in one fold were tested in another."


def _after_training(names: Sequence[str], arms: Mapping[str, Method]) -> Iterator[str]:
    """What was done to trained networks and their predictions, each with the arms that it was done to."""
    done: dict[str, list[str]] = {}
    for name in names:
        for what in _done_to(arms[name].header):
            done.setdefault(what, []).append(name)
    for what, of in done.items():
        yield f"{'In all arms' if len(of) == len(names) else f'In {_listed(of)}'}, {what}."


def _done_to(header: Header) -> Iterator[str]:
    if header.checkpoint == "average":
        yield "the average of the weights over training was scored"
    if header.ensemble is not None:
        yield f"the logits of {header.ensemble} networks, trained with other seeds, were averaged"
    if header.flip:
        yield "logits were averaged with those of the mirrored image"
    if header.adjust is not None:
        yield _ADJUSTED[header.adjust.kind].format(tau="τ" if header.adjust.tau is None else f"{header.adjust.tau:g}")
    if header.largest_component:
        yield "the largest connected component of each class was kept"


_ADJUSTED = {
    "prior": "{tau} times the logarithm of the share of each class in the training part was subtracted from the logits "
    "(logit adjustment, Menon et al. 2021)",
    "temperature": "logits were divided by a temperature fitted on the validation part (Guo et al. 2017)",
    "offsets": "an offset for each class, which maximizes the primary metric on the validation part, was added to the "
    "logits",
}


def _test(first: Verdicts, compared: Sequence[str], tuned: bool) -> Iterator[str]:
    found = {name: first.found[name] for name in compared}
    one = found[compared[0]]
    if one.p_value is None:
        yield f"Differences were not tested, since there are fewer than {FEWEST} {first.header.units}."
        return
    patterns = f"all {2**one.groups:,}" if one.groups <= EXACT else f"{DRAWS:,} random, each with its complement"
    yield "Differences were tested with a two-sided sign-flip permutation test of the mean paired difference (sign"
    yield f"patterns: {patterns}); 95% confidence intervals are the inversion of that test (Hartigan 1969)."
    if first.measure.aggregation == "dataset":
        yield "Of the pooled score, what each group adds to the difference, to first order, was flipped."
    alone = [name for name, of_arm in found.items() if of_arm.seeds == 1]
    levels = ["training seeds"] * (len(alone) < len(found)) + ["the values that folds chose"] * tuned
    if freedoms := sorted(of_arm.networks.freedom for of_arm in found.values() if of_arm.networks.freedom):
        yield f"The variance between {_listed(levels)} was estimated by analysis of variance and added to the null"
        ends = dict.fromkeys(f"{freedom:.3g}" for freedom in (freedoms[0], freedoms[-1]))
        yield f"distribution as a t distribution with {' to '.join(ends)} degrees of freedom."
    if len(alone) == len(found):
        yield "With one training of each arm, conclusions are about these trained networks."
    elif alone:
        yield f"Conclusions on {_listed(alone)}, of one training each, are about these trained networks."
    if one.family > 1:
        yield f"P values and intervals of the primary outcome were adjusted for its {one.family} comparisons together"
        yield "by the single-step min-P method (Westfall and Young 1993)."


def _margin(first: Verdicts, tested: bool) -> Iterator[str]:
    if tested:
        yield f"A difference of {first.margin} was considered the smallest of relevance: arms were called better or"
        yield "worse where the interval lay beyond it, and equivalent where it lay within ± this margin (two one-sided"
        yield "tests at 2.5% each)."


def _others(others: Sequence[Verdicts]) -> Iterator[str]:
    if not others:
        return
    scores = dict.fromkeys(one.measure.score for one in others)
    units = {score: f"{score} in mm" if score in DISTANCES else score for score in scores if score not in DETECTION}
    listed = [f"{text} by class" for text in units.values()]
    if any(score in DETECTION for score in scores):
        listed.append(f"the numbers of {others[0].header.units} with a missed or an invented class")
    family = max(known.family for one in others for known in one.found.values())
    adjusted = f"; their {family} comparisons were adjusted as another family" if family > 1 else ""
    yield f"Secondary outcomes were {_listed(listed)}{adjusted}."
    if any(score in DISTANCES for score in scores):
        yield "Distances were compared where every arm found the class."


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
