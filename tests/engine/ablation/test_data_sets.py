"""What several ablations say together."""

from types import SimpleNamespace

import pytest

from engine.ablation.data_sets import _differences


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
        measure = SimpleNamespace(score="DSC", title="mDSC")
        return SimpleNamespace(baseline="ce", measure=measure, smallest=0.01, found=found)

    of_sets = {"one": verdicts(0.0), "two": verdicts(0.0005), "three": verdicts(-0.0004)}
    (section,) = _differences(of_sets, ["ce", "a", "b"])
    assert section.lines[0] == answer
