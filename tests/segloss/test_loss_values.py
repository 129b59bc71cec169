"""Every loss against its formula in NumPy, and against numbers worked by hand."""

import math

import numpy as np
import pytest
import torch

import segloss
from segloss import build_loss
from segloss_tests import reference as ref
from segloss_tests.losses import COUNTS, HARD_ONLY, build, sample, seeded, soft_labels

WCE = np.array([1 / n for n in COUNTS]) / sum(1 / n for n in COUNTS)
WEIGHTS = [1.0, 2.0, 3.0, 4.0]


def pixelwise(term, weights=None, by_weights=False, **parameters):
    return lambda z, t: ref.mean(term, z, t, weights, by_weights, **parameters)


def over(of_class, per_image=False, classes="present", weights=None, **parameters):
    return lambda z, t: ref.region(of_class, z, t, per_image, classes, weights, **parameters)


def over_foreground(of_class, per_image=False, weights=None, **parameters):
    return lambda z, t: ref.of_foreground(lambda p, t: of_class(p, t, **parameters), z, t, per_image, weights)


CASES = [
    ("ce", {}, pixelwise(ref.ce)),
    ("ce", {"label_smoothing": 0.2}, pixelwise(ref.ce, label_smoothing=0.2)),
    ("ce", {"class_weights": WEIGHTS, "normalize": "weights"}, pixelwise(ref.ce, WEIGHTS, by_weights=True)),
    ("wce", {}, pixelwise(ref.ce, WCE)),
    ("focal", {}, pixelwise(ref.focal)),
    ("focal", {"gamma": 0.5, "alpha": 0.25}, pixelwise(ref.focal, gamma=0.5, alpha=0.25)),
    (
        "focal",
        {"alpha": [0.1, 0.2, 0.3, 0.4], "class_weights": WEIGHTS},
        pixelwise(ref.focal, WEIGHTS, alpha=[0.1, 0.2, 0.3, 0.4]),
    ),
    ("sigmoid_ce", {}, pixelwise(ref.sigmoid_ce)),
    ("sigmoid_ce", {"class_weights": WEIGHTS}, pixelwise(ref.sigmoid_ce, WEIGHTS)),
    ("sigmoid_focal", {}, pixelwise(ref.sigmoid_focal)),
    ("sigmoid_focal", {"gamma": 0.5, "alpha": 0.9}, pixelwise(ref.sigmoid_focal, gamma=0.5, alpha=0.9)),
    ("sigmoid_focal", {"gamma": 1.0, "alpha": None}, pixelwise(ref.sigmoid_focal, gamma=1.0, alpha=None)),
    ("dfl", {}, pixelwise(ref.dfl)),
    ("dfl", {"class_weights": "inverse_frequency"}, pixelwise(ref.dfl, WCE)),
    ("dfl2021", {}, pixelwise(ref.dfl2021)),
    (
        "dfl2021",
        {"alpha": 0.3, "beta": 2.0, "gamma": 1.5, "rho": 1.1},
        pixelwise(ref.dfl2021, alpha=0.3, beta=2.0, gamma=1.5, rho=1.1),
    ),
    ("dce", {}, pixelwise(ref.dce)),
    ("dce", {"alpha": 1.2, "beta": 3.0}, pixelwise(ref.dce, alpha=1.2, beta=3.0)),
    ("cefl", {}, pixelwise(ref.cefl)),
    ("cefl", {"gamma": 0.5}, pixelwise(ref.cefl, gamma=0.5)),
    ("cefl2", {}, pixelwise(ref.cefl2)),
    ("cefl2", {"gamma": 5.0}, pixelwise(ref.cefl2, gamma=5.0)),
    ("cb_ce", {"beta": 0.99}, pixelwise(ref.ce, ref.effective_number(COUNTS, 0.99))),
    ("cb_sigmoid", {"beta": 0.99}, pixelwise(ref.sigmoid_ce, ref.effective_number(COUNTS, 0.99))),
    (
        "cb_focal",
        {"beta": 0.99},
        pixelwise(ref.sigmoid_focal, ref.effective_number(COUNTS, 0.99), gamma=0.5, alpha=None),
    ),
    ("mse", {}, pixelwise(ref.mse)),
    ("mse_ol", {}, pixelwise(ref.mse_ol, counts=COUNTS)),
    ("mse_ol", {"alpha": 3.0}, pixelwise(ref.mse_ol, counts=COUNTS, alpha=3.0)),
    ("ldam", {}, pixelwise(ref.ldam, counts=COUNTS)),
    ("ldam", {"s": 2.0, "max_m": 0.9}, pixelwise(ref.ldam, counts=COUNTS, s=2.0, max_m=0.9)),
    ("cdb_ce", {}, pixelwise(ref.ce)),  # before the first validation
    ("seql", {"gamma": 1.0, "lambda_": 0.05}, pixelwise(ref.seql_all, counts=COUNTS, lambda_=0.05)),
    ("topk", {}, ref.topk),
    ("topk", {"k": 0.4, "class_weights": WEIGHTS}, lambda z, t: ref.topk(z, t, 0.4, WEIGHTS)),
    ("topk", {"k": 0.3, "label_smoothing": 0.2}, lambda z, t: ref.topk(z, t, 0.3, label_smoothing=0.2)),
    ("topk", {"threshold": 0.4}, lambda z, t: ref.topk_below(z, t, 0.4)),
    ("topk", {"threshold": 0.01, "min_kept": 3}, lambda z, t: ref.topk_below(z, t, 0.01, 3)),
    ("poly1", {}, pixelwise(ref.poly1)),
    ("poly1", {"epsilon": -0.5}, pixelwise(ref.poly1, epsilon=-0.5)),
    ("logit_adjusted", {}, pixelwise(ref.logit_adjusted, counts=COUNTS)),
    ("logit_adjusted", {"tau": 0.3}, pixelwise(ref.logit_adjusted, counts=COUNTS, tau=0.3)),
    ("balanced_softmax", {}, pixelwise(ref.balanced_softmax, counts=COUNTS)),
    ("recall", {}, ref.recall),
    ("recall", {"class_weights": WEIGHTS}, lambda z, t: ref.recall(z, t, WEIGHTS)),
    ("dice", {}, over(ref.dice)),
    ("dice", {"smooth": 1.0, "squared": True}, over(ref.dice, smooth=1.0, squared=True)),
    ("dice", {"classes": "all", "per_image": True}, over(ref.dice, per_image=True, classes="all")),
    ("dice", {"class_weights": WEIGHTS}, over(ref.dice, weights=WEIGHTS)),
    ("iou", {}, over(ref.iou)),
    ("iou", {"smooth": 2.0, "per_image": True}, over(ref.iou, per_image=True, smooth=2.0)),
    ("tversky", {}, over(ref.tversky)),
    (
        "tversky",
        {"alpha": 0.9, "beta": 0.2, "smooth": 0.5, "class_weights": WEIGHTS},
        over(ref.tversky, weights=WEIGHTS, alpha=0.9, beta=0.2, smooth=0.5),
    ),
    ("focal_tversky", {}, over(ref.focal_tversky)),
    (
        "focal_tversky",
        {"alpha": 0.8, "beta": 0.1, "gamma": 2.0},
        over(ref.focal_tversky, alpha=0.8, beta=0.1, gamma=2.0),
    ),
    ("generalized_dice", {}, ref.generalized_dice),
    (
        "generalized_dice",
        {"smooth": 0.1, "per_image": True, "class_weights": WEIGHTS},
        lambda z, t: ref.generalized_dice(z, t, 0.1, True, WEIGHTS),
    ),
    (
        "generalized_dice",
        {"class_weights": [1.0, 2.0, 3.0, 0.0]},
        lambda z, t: ref.generalized_dice(z, t, weights=[1, 2, 3, 0]),
    ),
    ("lovasz", {}, over(ref.lovasz)),
    ("lovasz", {"per_image": True, "class_weights": WEIGHTS}, over(ref.lovasz, per_image=True, weights=WEIGHTS)),
    ("lovasz", {"classes": "all", "per_image": True}, over(ref.lovasz, per_image=True, classes="all")),
    ("lovasz_hinge", {}, over(ref.lovasz_hinge, classes="all")),
    ("lovasz_hinge", {"per_image": True}, over(ref.lovasz_hinge, per_image=True, classes="all")),
    ("lovasz_hinge", {"per_image": True, "classes": "present"}, over(ref.lovasz_hinge, per_image=True)),
    ("boundary", {}, ref.boundary),
    ("boundary", {"per_image": True, "classes": "all"}, lambda z, t: ref.boundary(z, t, True, "all")),
    ("mcc", {}, over(ref.mcc)),
    ("mcc", {"class_weights": WEIGHTS}, over(ref.mcc, weights=WEIGHTS)),
    ("unified_focal", {}, ref.unified_focal),
    (
        "unified_focal",
        {"lambda_": 0.2, "delta": 0.7, "gamma": 0.3, "symmetric": True, "smooth": 0.5, "class_weights": WEIGHTS},
        lambda z, t: ref.unified_focal(z, t, 0.2, 0.7, 0.3, True, 0.5, WEIGHTS),
    ),
    ("cldice", {}, over_foreground(ref.cldice)),
    (
        "cldice",
        {"iterations": 1, "smooth": 0.1, "per_image": True},
        over_foreground(ref.cldice, True, iterations=1, smooth=0.1),
    ),
    ("skeleton_recall", {}, over_foreground(ref.skeleton_recall)),
    (
        "skeleton_recall",
        {"iterations": 0, "tube": 0, "smooth": 0.5, "class_weights": WEIGHTS},
        over_foreground(ref.skeleton_recall, False, WEIGHTS, iterations=0, tube=0, smooth=0.5),
    ),
    ("blob", {}, over_foreground(ref.blob)),
    (
        "blob",
        {"of": {"name": "tversky", "alpha": 0.2, "beta": 0.9}, "per_image": True},
        over_foreground(ref.blob, True, of=lambda tp, fp, fn: 1 - tp / (tp + 0.2 * fp + 0.9 * fn)),
    ),
]
IDS = [f"{name}-{'-'.join(map(str, parameters)) or 'default'}" for name, parameters, _ in CASES]


def test_every_loss_has_its_formula():
    assert {name for name, _, _ in CASES} == set(segloss.LOSSES)


@pytest.mark.parametrize(("name", "parameters", "expected"), CASES, ids=IDS)
@pytest.mark.parametrize("shape", [(2, 4, 5, 3), (6, 4), (3, 4, 7), (1, 4, 2, 3, 2)], ids=str)
def test_value_is_the_papers_formula(name, parameters, expected, shape):
    logits, target = sample(shape=shape)
    found = seeded(build(name, **parameters).double(), logits, target)
    assert found.item() == pytest.approx(expected(logits.numpy(), target.numpy()), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [case for case in CASES if case[0] not in HARD_ONLY],
    ids=[i for i, case in zip(IDS, CASES, strict=True) if case[0] not in HARD_ONLY],
)
def test_soft_labels_follow_the_formula(name, parameters, expected):
    logits, soft = sample()[0], soft_labels()
    found = seeded(build(name, **parameters).double(), logits, soft)
    assert found.item() == pytest.approx(expected(logits.numpy(), soft.numpy()), rel=1e-12)


LOG3 = math.log(3)
P = np.array([0.5, 0.3, 0.2])  # softmax of the logits below; the true class is 1


@pytest.mark.parametrize(
    ("name", "parameters", "by_hand"),
    [
        ("ce", {}, -math.log(0.3)),
        ("wce", {"class_counts": [6, 3, 1]}, -2 / 9 * math.log(0.3)),  # 1/6 : 1/3 : 1 = 1 : 2 : 6
        ("focal", {}, -0.49 * math.log(0.3)),
        ("dfl", {}, -math.log(0.75) - math.log(0.51) - math.log(0.96)),
        ("dfl2021", {}, -math.log(0.3) - math.log(0.5) - math.log(0.8) + 0.7 + 0.5 + 0.2),
        ("dce", {}, -math.log(0.3) + 1.5 * (math.log(2.5) + math.log(2.2))),
        ("cefl", {}, -(0.7 + 0.3 * 0.49) * math.log(0.3)),
        ("cefl2", {}, -(0.49 + 0.09 * 0.49) / 0.58 * math.log(0.3)),
        ("cb_ce", {"class_counts": [1, 2, 2], "beta": 0.5}, -3 * (2 / 3) / (1 + 4 / 3) * math.log(0.3)),
        (
            "ldam",
            {"class_counts": [16, 1, 16], "s": 1.0},
            -math.log(0.3 * math.exp(-0.5) / (0.7 + 0.3 * math.exp(-0.5))),
        ),
        ("cdb_ce", {}, -math.log(0.3)),
        ("seql", {"class_counts": [998, 1, 1], "gamma": 1.0}, -math.log(0.3 / 0.8)),  # class 2 is left out
        ("topk", {}, -math.log(0.3)),
        ("poly1", {"epsilon": 2.0}, -math.log(0.3) + 1.4),
        ("logit_adjusted", {"class_counts": [1, 1, 3]}, -math.log(0.3 / (0.5 + 0.3 + 0.6))),
        ("balanced_softmax", {"class_counts": [1, 2, 1]}, -math.log(0.6 / 1.3)),
        ("recall", {}, -math.log(0.3)),
        ("dice", {}, 1 - 0.6 / 1.3),
        ("iou", {}, 0.7),
        ("tversky", {}, 1 - 0.3 / (0.3 + 0.7 * 0.7)),
        ("focal_tversky", {"gamma": 2.0}, math.sqrt(1 - 0.3 / (0.3 + 0.7 * 0.7))),
        ("generalized_dice", {}, 1 - 0.6 / 1.3),
        ("lovasz", {}, 0.7),
        ("boundary", {}, 0.0),
        ("mcc", {}, 1.0),
        ("unified_focal", {}, 0.5 * (1 - 0.3 / (0.3 + 0.6 * 0.7)) ** 0.5 - 0.5 * 0.6 * math.log(0.3)),
        ("cldice", {}, 0.0),
        ("skeleton_recall", {}, 0.0),
        ("blob", {}, 1 - 0.6 / 1.3),
    ],
)
def test_a_pixel_by_hand(name, parameters, by_hand):
    logits, target = torch.log(torch.tensor(P)).unsqueeze(0), torch.tensor([1])
    loss = build_loss(name, **{"num_classes": 3, "class_counts": [5, 3, 1], **parameters})
    assert loss.double()(logits, target).item() == pytest.approx(by_hand, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "parameters", "by_hand"),
    [
        ("sigmoid_ce", {}, -math.log(0.25) - math.log(0.5) - math.log(0.2)),
        ("sigmoid_focal", {}, -0.75 * (0.25 * math.log(0.5) + 0.64 * math.log(0.2)) - 0.25 * 0.5625 * math.log(0.25)),
        ("cb_sigmoid", {"beta": 0.0}, -math.log(0.25) - math.log(0.5) - math.log(0.2)),
        (
            "cb_focal",
            {"beta": 0.0, "gamma": 1.0},
            -0.75 * math.log(0.25) - 0.5 * math.log(0.5) - 0.8 * math.log(0.2),
        ),
        ("mse", {}, 0.5 * (0 + (-LOG3 - 1) ** 2 + math.log(4) ** 2)),
        ("mse_ol", {}, 0.5 * (0 + (-LOG3 - 2) ** 2 + math.log(4) ** 2)),  # the middle rank
        ("lovasz_hinge", {}, (1 + (1 + LOG3) + (1 + math.log(4))) / 3),  # absent classes count too
    ],
)
def test_a_pixel_of_raw_logits_by_hand(name, parameters, by_hand):
    logits = torch.tensor([[0.0, -LOG3, math.log(4)]], dtype=torch.float64)  # q = ½, ¼, ⅘
    loss = build_loss(name, **{"num_classes": 3, "class_counts": [5, 3, 1], **parameters})
    assert loss.double()(logits, torch.tensor([1])).item() == pytest.approx(by_hand, rel=1e-12)


def test_region_losses_of_two_pixels_by_hand():
    """Class 0 at p = (0.8, 0.4), class 1 at (0.2, 0.6), labels 0 and 1: tp = .8, .6, fp = .4, .2, fn = .2, .4."""
    p = torch.tensor([[[0.8, 0.4], [0.2, 0.6]]], dtype=torch.float64)
    target = torch.tensor([[0, 1]])
    by_hand = {
        "dice": (0.6 / 2.2 + 0.6 / 1.8) / 2,
        "iou": (0.6 / 1.4 + 0.6 / 1.2) / 2,
        "tversky": (1 - 0.8 / (0.8 + 0.3 * 0.4 + 0.7 * 0.2) + 1 - 0.6 / (0.6 + 0.3 * 0.2 + 0.7 * 0.4)) / 2,
        "generalized_dice": 1 - 2 * 1.4 / (2.2 + 1.8),
        # class 0: .4 of the other pixel first, .4 · ½ + .2 · ½; class 1: .4 of its own pixel first, .4 · 1 + .2 · 0
        "lovasz": (0.3 + 0.4) / 2,
    }
    for name, expected in by_hand.items():
        assert build_loss(name)(p.log(), target).item() == pytest.approx(expected), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pixels", [1, 7, 10_001])
def test_mcc_of_one_class_alone_is_no_correlation(pixels, dtype):
    """The variance of the labels is 0: what rounding leaves of it is no correlation either."""
    logits = torch.randn(1, 3, pixels, generator=torch.Generator().manual_seed(0), dtype=dtype)
    target = torch.ones(1, pixels, dtype=torch.long)
    for labels in (target, torch.nn.functional.one_hot(target, 3).movedim(-1, 1).to(dtype)):
        assert build_loss("mcc")(logits, labels).item() == 1.0


def test_mcc_of_four_pixels_by_hand():
    """Of class 1 tp = 1 + 0.6 + 0.4, fp = 1, fn = 0.4 + 0.6, tn = 0: (0 − 1)/√(3 · 3 · 1 · 1) = −⅓; so of class 0."""
    p = torch.tensor([[[0.0, 0.4, 0.0, 0.6], [1.0, 0.6, 1.0, 0.4]]], dtype=torch.float64).clamp(1e-300, 1)
    target = torch.tensor([[1, 1, 0, 1]])
    assert build_loss("mcc")(p.log(), target).item() == pytest.approx(4 / 3)


@pytest.mark.parametrize(
    ("name", "own", "by_hand"),
    [
        ("skeleton_recall", {"tube": 0}, 0.5),
        ("skeleton_recall", {"tube": 1}, (0.75 + 0.5 + 0.75) / 3),  # the whole bar, and no pixel beside it
    ],
)
def test_a_line_by_hand(name, own, by_hand):
    """A bar of three rows, whose skeleton is the middle row; predicted at ½ there, at ¼ beside it, at 0 elsewhere."""
    target = torch.zeros(1, 5, 5, dtype=torch.long)
    target[:, 1:4] = 1
    assert segloss.skeleton(target.unsqueeze(1).float(), 3)[0, 0].sum(1).tolist() == [0, 0, 5, 0, 0]
    p = torch.tensor([1e-300, 0.25, 0.5, 0.25, 1e-300], dtype=torch.float64).view(1, 1, 5, 1).expand(1, 1, 5, 5)
    logits = torch.cat([(1 - p).log(), p.log()], 1)
    assert build_loss(name, **own)(logits, target).item() == pytest.approx(by_hand)


def test_cldice_of_a_line_by_hand():
    """The same bar predicted at ½ everywhere, whose skeleton is empty: a = 1/1, b = (2.5 + 1)/(5 + 1)."""
    target = torch.zeros(1, 5, 5, dtype=torch.long)
    target[:, 1:4] = 1
    expected = 1 - 2 * (3.5 / 6) / (1 + 3.5 / 6)
    assert build_loss("cldice")(torch.zeros(1, 2, 5, 5), target).item() == pytest.approx(expected)


def test_blob_counts_lesions_alike_by_hand():
    """A lesion of 4 pixels is found, one of 1 is missed: Dice 0 and 1, where Dice of both together is 1 − 8/9."""
    target = torch.tensor([[1, 1, 1, 1, 0, 0, 1, 0]])
    sure = 1e3 * torch.tensor([[[-1, -1, -1, -1, 1, 1, 1, 1], [1, 1, 1, 1, -1, -1, -1, -1]]]).double()
    assert build_loss("blob")(sure, target).item() == pytest.approx(0.5)
    assert build_loss("dice", class_weights=[0.0, 1.0])(sure, target).item() == pytest.approx(1 - 8 / 9)


def test_the_draws_of_seql_are_those_of_the_default_generator():
    logits, target = sample(ignored=0.0)
    loss = build("seql", gamma=0.6, lambda_=0.05).double()
    found = seeded(loss, logits, target)
    torch.manual_seed(0)
    drawn = (torch.rand(logits.shape, dtype=torch.float32) < 0.6).numpy()
    rare = np.array(COUNTS) / sum(COUNTS) < 0.05
    expected = []
    for index, z, P in ref.pixels(logits.numpy(), target.numpy()):
        dropped = drawn[index[0], :, *index[1:]] & rare & (P == 0)
        expected.append(-np.log(np.exp(z[P == 1]) / np.exp(z[~dropped]).sum()))
    assert found.item() == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("tau", ["dynamic", 0.5, 2.0])
def test_cdb_ce_weighs_by_the_last_validation(tau):
    name = "cdb_ce"
    logits, target = sample()
    accuracy = [0.9, 0.2, 0.6, 0.05]
    loss = build(name, tau=tau).double()
    loss.new_epoch(3, accuracy)
    weights = ref.difficulty(accuracy, tau)
    assert weights.sum() == pytest.approx(4)
    assert loss(logits, target).item() == pytest.approx(
        ref.mean(ref.ce, logits.numpy(), target.numpy(), weights), rel=1e-12
    )
    loss.new_epoch(4)
    assert loss.difficulty.tolist() == pytest.approx(weights.tolist(), rel=1e-12)


def test_ldam_defers_its_class_weights():
    name = "ldam"
    logits, target = sample()
    plain = ref.mean(ref.ldam, logits.numpy(), target.numpy(), counts=COUNTS)
    weighted = ref.mean(ref.ldam, logits.numpy(), target.numpy(), 4 * WCE, counts=COUNTS)
    loss = build(name, drw_epoch=3).double()
    for epoch, expected in ((0, plain), (2, plain), (3, weighted), (500, weighted), (1, plain)):
        loss.new_epoch(epoch)
        assert loss(logits, target).item() == pytest.approx(expected, rel=1e-12), epoch
    own = build(name, drw_epoch=1, class_weights=WEIGHTS).double()
    own.new_epoch(1)
    by_weights = ref.mean(ref.ldam, logits.numpy(), target.numpy(), WEIGHTS, counts=COUNTS)
    assert own(logits, target).item() == pytest.approx(by_weights, rel=1e-12)


def test_boundary_uses_exact_distances():
    from scipy.ndimage import distance_transform_edt

    generator = torch.Generator().manual_seed(3)
    for shape in [(40,), (31, 23), (9, 11, 7)]:
        inside = torch.rand((2, 3, *shape), generator=generator) < 0.1
        inside[0, 0], inside[0, 1] = False, True
        found = segloss.signed_distance(inside).numpy()
        for n, c in np.ndindex(2, 3):
            mask = inside[n, c].numpy()
            expected = np.zeros(shape)
            if mask.any() and not mask.all():
                expected = np.where(mask, 1 - distance_transform_edt(mask), distance_transform_edt(~mask))
            np.testing.assert_allclose(found[n, c], expected, atol=1e-5)


@pytest.mark.parametrize("spacing", [(0.5, 3.0), (2.0, 1.0, 0.7)])
def test_boundary_measures_in_millimetres(spacing):
    from scipy.ndimage import distance_transform_edt

    shape = (19, 13) if len(spacing) == 2 else (7, 9, 8)
    labels = torch.randint(0, 3, (2, *shape), generator=torch.Generator().manual_seed(2)) // 2
    labels[:, :4] = 0
    logits = sample(shape=(2, 2, *shape))[0]
    masks = torch.stack([labels == c for c in range(2)], 1)
    sampling = {"sampling": spacing}
    expected = np.stack([
        [
            np.where(m, min(spacing) - distance_transform_edt(m, **sampling), distance_transform_edt(~m, **sampling))
            for m in image.numpy()
        ]
        for image in masks
    ])  # fmt: skip
    distance = segloss.signed_distance(masks, torch.float64, spacing)
    np.testing.assert_allclose(distance.numpy(), expected, atol=1e-5)
    by_hand = (expected * logits.softmax(1).numpy()).sum((0, 2, 3, *([4] * (len(shape) - 2)))) / labels.numel()
    loss = build_loss("boundary", spacing=list(spacing))
    assert loss(logits, labels).item() == pytest.approx(by_hand.mean(), rel=1e-5)
    handed = build_loss("boundary")(logits, labels, distance=distance)
    assert handed.item() == pytest.approx(by_hand.mean(), rel=1e-5)
    both = build_loss([{"name": "boundary"}, {"name": "ce"}])(logits, labels, distance=distance)
    assert both.item() == pytest.approx(by_hand.mean() + build_loss("ce")(logits, labels).item(), rel=1e-5)


def test_wrong_spacings_and_distances_are_named():
    logits, labels = torch.zeros(1, 2, 4, 4), torch.eye(4).long().unsqueeze(0)
    with pytest.raises(
        ValueError, match=r"spacing must be one positive number for each of 2 spatial axes, got \[1.0\]"
    ):
        build_loss("boundary", spacing=[1.0])(logits, labels)
    with pytest.raises(ValueError, match="spacing must be positive numbers"):
        build_loss("boundary", spacing=[1.0, -1.0])
    with pytest.raises(
        ValueError, match=r"distance must be floating of shape \(1, 2, 4, 4\) on cpu, got .* of \(1, 4, 4\)"
    ):
        build_loss("boundary")(logits, labels, distance=torch.zeros(1, 4, 4))
    with pytest.raises(ValueError, match="CrossEntropyLoss takes no distance: that is for boundary alone"):
        build_loss("ce")(logits, labels, distance=torch.zeros(1, 2, 4, 4))


def test_mse_ol_puts_the_rarest_farthest():
    assert segloss.outlying_labels([20, 500, 3, 100]).tolist() == [3.0, 1.0, 4.0, 2.0]
    assert segloss.outlying_labels([500, 20, 100, 20], alpha=2.0).tolist() == [2.0, 6.0, 4.0, 8.0]


def test_ldam_margins_by_hand():
    assert segloss.ldam_margins([10_000, 16, 1], max_m=0.8).tolist() == pytest.approx([0.08, 0.4, 0.8])
    with pytest.warns(segloss.ClassWeightWarning, match=r"class\(es\) 1 have zero count"):
        assert segloss.ldam_margins([16, 0, 1], max_m=0.8).tolist() == pytest.approx([0.4, 0.8, 0.8])


def test_difficulty_weights():
    assert segloss.difficulty_weights([1.0, 1.0]).tolist() == [1.0, 1.0]
    assert segloss.difficulty_weights([0.5, float("nan"), 0.8], tau=1.0).tolist() == pytest.approx([10 / 7, 1, 4 / 7])
    assert segloss.difficulty_weights(torch.tensor([0.0, 0.0])).tolist() == [1.0, 1.0]


def test_prior_bias_starts_every_class_at_its_prior():
    head = torch.nn.Linear(5, 8)
    assert segloss.prior_bias_(head.bias) is head.bias
    assert head.bias.tolist() == pytest.approx([-math.log(7)] * 8)
    assert segloss.prior_bias_(torch.zeros(1)).item() == 0
    assert segloss.prior_bias_(torch.zeros(1), 0.01).sigmoid().item() == pytest.approx(0.01)
    with pytest.raises(ValueError, match=r"prior must be in \(0, 1\), got 1.5"):
        segloss.prior_bias_(head.bias, 1.5)
