"""Documents of folds, pooled, against one document of all of their cases."""

from dataclasses import replace

import pytest
import torch

from engine.errors import UsageError
from engine.scoring.pooling import pooled
from segloss import ClassificationScores, SegmentationScores
from segloss.calibration import Calibration
from segloss.document import Adjustment, Unit

CLASSES = ["ground", "crack", "hole"]
FOLDS = (range(3), range(3, 7))
NAMES = [f"case{number}" for number in range(7)]
UNIONS = torch.tensor([[False, True, True], [False, False, True]])


@pytest.mark.parametrize("regions", [None, UNIONS])
def test_masks_of_folds_are_scored_as_all_at_once(regions):
    """Two slices a case; accuracy is of classes alone, since regions overlap."""
    generator = torch.Generator().manual_seed(0)
    target, labels = torch.randint(0, 3, (2, 14, 5, 4), generator=generator)
    names = CLASSES if regions is None else ["damage", "hole"]
    header = {"kind": "volume", "mask_classes": None if regions is None else CLASSES}
    background = 0 if regions is None else None

    def scored(cases):
        scores = SegmentationScores(3, background=background, regions=regions)
        for case in cases:
            place = slice(2 * case, 2 * case + 2)
            scores.update(labels[place], target[place], image=[2 * case, 2 * case + 1], case=[case, case])
        units = [Unit(NAMES[image // 2], NAMES[image // 2], image % 2) for image in range(14)]
        return scores.document(names, NAMES, NAMES, **header), scores.image_rows(names, units)

    whole, _ = scored(range(7))
    found = pooled(*zip(*map(scored, FOLDS), strict=True))
    assert found.aggregations == whole.aggregations
    assert found.confusion == whole.confusion
    assert [replace(row, fold=None) for row in found.rows] == list(whole.rows)
    assert (found.aggregations["case"]["accuracy"] is None) == (regions is not None)
    assert found.header == replace(whole.header, folds=2)


def test_pictures_of_folds_are_scored_as_all_at_once():
    generator = torch.Generator().manual_seed(0)
    logits, target = torch.randn(7, 3, generator=generator), torch.randint(0, 3, (7,), generator=generator)

    def scored(pictures):
        scores, calibration = ClassificationScores(3), Calibration(3)
        scores.update(logits[pictures], target[pictures], image=pictures)
        calibration.update(logits[pictures], target[pictures])
        document = scores.document(CLASSES, NAMES, NAMES, class_images=[4, 3, 2])
        return replace(document, calibration=calibration.document(CLASSES))

    whole, folds = scored([*range(7)]), [scored([*pictures]) for pictures in FOLDS]
    found = pooled(folds, [[], []])
    assert found.aggregations == whole.aggregations
    assert [picture._replace(fold=None) for picture in found.pictures] == whole.pictures
    assert found.calibration["ece"] == pytest.approx(whole.calibration["ece"])
    assert found.header == replace(whole.header, folds=2)
    other = replace(folds[1], calibration=None, header=replace(folds[1].header, class_images=[4, 4, 2]))
    found = pooled([folds[0], other], [[], []])
    assert (found.calibration, found.header.class_images) == (None, None)


def test_what_folds_have_in_common_is_said_of_them_together():
    adjustments = [Adjustment(kind="offsets", part="val", groups=3, offsets=[0, number % 2]) for number in range(3)]
    scores = SegmentationScores(2)
    scores.update(torch.tensor([[0, 1]]), torch.tensor([[0, 1]]), image=[0], case=[0])
    folds = [scores.document(["a", "b"], ["x"], ["x"], kind="still", adjust=one) for one in adjustments]
    assert pooled(folds, [[], [], []]).header.adjust == replace(adjustments[0], offsets=None)


def test_folds_that_leave_other_classes_out_are_refused():
    names = [f"class {number}" for number in range(9)]
    scores = SegmentationScores(9)
    scores.update(torch.tensor([[0, 1]]), torch.tensor([[0, 1]]), image=[0], case=[0])
    whole = scores.document(names, ["x"], ["x"], kind="still")
    for left_out in (names, names[:2]):
        folds = [replace(whole, header=replace(whole.header, background=name)) for name in left_out]
        with pytest.raises(UsageError, match=rf"^folds: .* left out of the means \({' and '.join(left_out)}\)"):
            pooled(folds, [[] for _ in folds])
