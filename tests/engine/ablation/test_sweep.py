"""Which arms make a curve over a number, and what is drawn of them."""

import numpy as np

from engine.ablation.comparison import Method
from engine.ablation.sweep import sweep_picture, sweeps
from segloss.document import ScoresDocument

SHARED = {"name": "x", "seed": 0, "data.workers": 2, "train.epochs": 4}


def arm(**values):
    return {**SHARED, **{key.replace("__", "."): value for key, value in values.items()}}


ARMS = {
    "softmax": arm(loss__name="ce"),
    "sm_9": arm(loss__name="cb_ce", loss__beta=0.9, name="y"),
    "sm_99": arm(loss__name="cb_ce", loss__beta=0.99, data__workers=0),
    "sm_0": arm(loss__name="cb_ce", loss__beta=0, seed=1),
    "f_9": arm(loss__name="cb_focal", loss__gamma=1, loss__beta=0.9),
    "f_99": arm(loss__name="cb_focal", loss__gamma=1, loss__beta=0.99),
    "f_999": arm(loss__name="cb_focal", loss__gamma=1, loss__beta=0.999),
    "other": arm(loss__name="cb_focal", loss__gamma=2, loss__beta=0.9),
    "g_9": arm(loss__name="cb_focal", loss__gamma=3, loss__beta=0.9),
    "g_99": arm(loss__name="cb_focal", loss__gamma=3, loss__beta=0.99),
    "g_999": arm(loss__name="cb_focal", loss__gamma=3, loss__beta=0.999),
    "average": arm(loss__name="ce", train__average=True),
}


def scored(name, accuracies):
    """A method of one document a seed, so many of ten pictures right."""
    header = {"kind": "label", "classes": ["a", "b"]}
    documents = {}
    for seed, right in enumerate(accuracies):
        cases = [{"case": str(n), "label": "a", "predicted": "a" if n < right else "b"} for n in range(10)]
        documents[seed] = [ScoresDocument.from_json({"header": header, "cases": cases})]
    return Method(name, documents)


def test_arms_that_differ_in_one_number_alone_make_a_curve():
    found = sweeps(ARMS)
    assert [(one.key, one.arms) for one in found] == [
        ("loss.beta", {0: "sm_0", 0.9: "sm_9", 0.99: "sm_99"}),
        ("loss.beta", {0.9: "f_9", 0.99: "f_99", 0.999: "f_999"}),
        ("loss.beta", {0.9: "g_9", 0.99: "g_99", 0.999: "g_999"}),
        ("loss.gamma", {1: "f_9", 2: "other", 3: "g_9"}),
    ]
    assert not sweeps({name: ARMS[name] for name in ("sm_9", "sm_99", "f_9", "f_99", "other")})


def test_each_set_of_arms_is_a_line_over_the_values_with_its_spread():
    methods = {name: scored(name, (right, right + 2)) for right, name in enumerate(ARMS)}
    axis = sweep_picture(ARMS, methods).axes[0]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["0", "0.9", "0.99", "0.999"]
    assert axis.get_legend_handles_labels()[1] == ["cb_ce", "cb_focal, gamma 1", "cb_focal, gamma 3"]
    softmax, focal, _ = axis.containers
    assert [*softmax.lines[0].get_xdata()] == [0, 1, 2]
    np.testing.assert_allclose([*softmax.lines[0].get_ydata()], [0.4, 0.2, 0.3])  # means of 3 and 5, 1 and 3, 2 and 4
    assert [*focal.lines[0].get_xdata()] == [1, 2, 3]
    ends = softmax.lines[2][0].get_segments()[0][:, 1]
    np.testing.assert_allclose(ends, [0.4 - 0.2 / 2**0.5, 0.4 + 0.2 / 2**0.5])
    assert sweep_picture({"ce": ARMS["softmax"]}, {"ce": methods["softmax"]}) is None
