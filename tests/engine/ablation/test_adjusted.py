"""What is said of adjusted logits over folds and seeds."""

from dataclasses import replace

from engine.ablation.adjusted import adjusted
from engine.ablation.comparison import Method
from engine.scoring.pooling import pooled
from segloss.document import Adjustment, ScoresDocument

CLASSES = ["background", "gland", "lesion"]


def document(case, adjust):
    rows = [{"case": case, "class": name, "tp": 5, "fp": 1, "fn": 2} for name in CLASSES]
    found = ScoresDocument.from_json({"header": {"classes": CLASSES}, "cases": rows})
    return replace(found, header=replace(found.header, adjust=adjust))


def offsets(*values, **more):
    return Adjustment(kind="offsets", part="val", groups=3, temperature=1.0, offsets=[0.0, *values], **more)


def test_an_arm_is_said_by_its_mean_and_its_range():
    one, other = offsets(0.5, 1, before=0.8, after=0.9), offsets(1.0, 1, before=0.6, after=0.8)
    prior = Adjustment(kind="prior", part="train", tau=0.5, temperature=1.0, offsets=[0, 0.25, 2])
    cold = Adjustment(kind="temperature", part="val", temperature=1.5, offsets=[0.0] * 3, before=0.3, after=0.2)
    arms = {
        "plain": Method("plain", {0: [document("a", None)]}),
        "offsets": Method("offsets", {0: [document("a", one)], 1: [document("a", other)]}),
        "prior": Method("prior", {0: [document("a", prior)]}),
        "cold": Method("cold", {0: [document("a", cold)]}),
    }
    assert adjusted({"plain": arms["plain"]}) is None
    assert list(adjusted(arms).rows) == [
        ["offsets", "offsets", "validation", "-", "gland +0.75 (+0.50 to +1.00), lesion +1.00", "0.7000 → 0.8500"],
        ["prior", "prior, τ 0.5", "training", "-", "gland +0.25, lesion +2.00", "-"],
        ["cold", "temperature", "validation", "1.5", "-", "0.3000 → 0.2000"],
    ]


def test_folds_together_say_what_they_have_in_common():
    found = pooled([document("a", offsets(0.5, 1)), document("b", offsets(0.25, 1))], [[], []]).header.adjust
    assert found == replace(offsets(), offsets=None)
    assert found.in_words(CLASSES) == (
        "added to the logits: an offset a class, others in each fold, the best on the validation part (3 groups)"
    )
    same = pooled([document("a", offsets(0.5, 1)), document("b", offsets(0.5, 1))], [[], []]).header.adjust
    assert same.in_words(CLASSES).startswith("added to the logits: gland +0.50, lesion +1.00, the best")
    assert pooled([document("a", None), document("b", None)], [[], []]).header.adjust is None
