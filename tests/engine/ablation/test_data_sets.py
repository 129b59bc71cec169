"""What several ablations say together."""

from types import SimpleNamespace

import numpy as np
import pytest

from engine.ablation.comparison import Measure
from engine.ablation.data_sets import _differences, joined
from engine.ablation.verdicts import Verdicts
from segloss import compare
from segloss.document import Header, Primary


@pytest.mark.parametrize(
    ("error", "answer"),
    [
        (0.001, "Use ce: nothing is better by 0.01 DSC."),
        (0.0, "Undecided: no arm is better than ce by 0.01 DSC beyond chance."),
    ],
)
def test_the_baseline_is_advised_only_where_all_arms_are_known(error, answer):
    """An arm without an error in one of the data sets, as of one patient, has no interval over data sets."""

    def verdicts(shift):
        found = {
            arm: SimpleNamespace(difference=shift - 0.02, error=error if arm == "b" else 0.001, groups=10)
            for arm in ("a", "b")
        }
        header = Header(kind="volume", primary=Primary("case", "mDSC"), classes=["a", "b"])
        return Verdicts(Measure("case", "DSC"), "ce", found, header, 0.01)

    of_sets = {"one": verdicts(0.0), "two": verdicts(0.0005), "three": verdicts(-0.0004)}
    (section,) = _differences(of_sets, ["ce", "a", "b"])
    assert section.lines[0] == answer


def ablation(name, seed, aggregation="case", score="DSC", shifts=(("dfl", 0.0), ("noise_floor", 0.05))):
    """A finished one of twelve patients, whose noise floor looks much better than the baseline."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.7, 0.01, 12)
    found = {arm: compare.paired(scores + by + rng.normal(0, 0.001, 12), scores) for arm, by in shifts}
    header = Header(kind="still", primary=Primary("dataset", "mIoU"), classes=["a", "b"])
    first = Verdicts(Measure(aggregation, score), "ce", found, header, 0.01)
    record = SimpleNamespace(name=name, noise_floor="noise_floor")
    return SimpleNamespace(record=record, arms=["ce", *found], verdicts=[first])


def test_the_noise_floor_is_no_arm_of_several_data_sets():
    differences, ranks = joined([ablation(f"set{seed}", seed) for seed in range(3)]).sections
    assert differences.lines[0] == "Use ce: nothing is better by 0.01 DSC."
    assert [row[0] for row in differences.rows] == ["dfl"]
    assert sorted(row[0] for row in ranks.rows) == ["ce", "dfl"]
    assert joined([ablation(f"set{seed}", seed, shifts=[("noise_floor", 0.0)]) for seed in range(3)]) is None


def test_scores_of_other_aggregations_are_not_averaged():
    of_sets = [ablation("one", 0, "case", "IoU"), ablation("two", 1, "dataset", "IoU")]
    differences, _ = joined(of_sets).sections
    assert differences.lines == [
        "Not worked out, since these are not the same: one: IoU against ce, two: pooled IoU against ce."
    ]
