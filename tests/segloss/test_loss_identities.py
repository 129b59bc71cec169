"""What must be equal, whatever the input: losses that contain one another, and what no loss may depend on."""

import math

import pytest
import torch

import segloss
from segloss import build_loss
from segloss_tests.losses import (
    BY_BATCH,
    COUNTS,
    FOREGROUND,
    NAMES,
    ONE_VS_REST,
    OWN_WEIGHTS,
    PIXELWISE,
    REGION,
    SPATIAL,
    build,
    sample,
    seeded,
    soft_labels,
    whole_graph,
)

ONES = {"class_weights": [1.0, 1.0, 1.0, 1.0]}


@pytest.mark.parametrize(
    ("name", "parameters", "same", "as_parameters"),
    [
        ("focal", {"gamma": 0.0}, "ce", {}),
        ("focal", {"gamma": 0.0, "alpha": 0.25, "class_weights": [4.0] * 4}, "ce", {}),
        ("cefl", {"gamma": 0.0}, "ce", {}),
        ("cefl2", {"gamma": 0.0}, "ce", {}),
        ("poly1", {"epsilon": 0.0}, "ce", {}),
        ("wce", ONES, "ce", {}),
        ("cb_ce", {"beta": 0.0}, "ce", {}),
        ("cb_sigmoid", {"beta": 0.0}, "sigmoid_ce", {}),
        ("cb_focal", {"beta": 0.0, "gamma": 2.0}, "sigmoid_focal", {"alpha": None}),
        ("cb_focal", {"beta": 0.99, "gamma": 0.0}, "cb_sigmoid", {"beta": 0.99}),
        ("sigmoid_focal", {"gamma": 0.0, "alpha": None}, "sigmoid_ce", {}),
        ("sigmoid_focal", {"gamma": 0.0, "alpha": 0.5, "class_weights": [2.0] * 4}, "sigmoid_ce", {}),
        ("dfl2021", {"alpha": 0.0, "beta": 0.0}, "ce", {}),
        ("ldam", {"s": 1.0, "max_m": 1e-9}, "ce", {}),
        ("cdb_ce", {}, "ce", {}),
        ("seql", {"gamma": 0.0}, "ce", {}),
        ("seql", {"lambda_": 0.0}, "ce", {}),
        ("topk", {"k": 1.0}, "ce", {}),
        ("logit_adjusted", {"tau": 0.0}, "ce", {}),
        ("logit_adjusted", {"class_counts": [7, 7, 7, 7]}, "ce", {}),
        ("balanced_softmax", {}, "logit_adjusted", {"tau": 1.0}),
        ("tversky", {"alpha": 0.5, "beta": 0.5}, "dice", {}),
        ("tversky", {"alpha": 1.0, "beta": 1.0}, "iou", {}),
        ("tversky", {"alpha": 0.5, "beta": 0.5, "smooth": 1.0}, "dice", {"smooth": 2.0}),
        ("focal_tversky", {"gamma": 1.0}, "tversky", {}),
    ],
)
def test_one_loss_within_another(name, parameters, same, as_parameters):
    for target in (sample()[1], soft_labels()):
        values, gradients = [], []
        for loss in (build(name, **parameters), build(same, **as_parameters)):
            logits = sample()[0].requires_grad_()
            value = seeded(loss.double(), logits, target)
            values.append(value.item())
            gradients.append(torch.autograd.grad(value, logits)[0])
        assert values[0] == pytest.approx(values[1], rel=1e-6)
        torch.testing.assert_close(*gradients, rtol=1e-6, atol=1e-8)


def test_recall_of_a_network_that_misses_everything_is_ce():
    name = "recall"
    logits, target = sample(ignored=0.0)
    wrong = logits.scatter(1, target.unsqueeze(1), -50.0)
    assert build(name)(wrong, target).item() == pytest.approx(build("ce")(wrong, target).item())
    right = logits.scatter(1, target.unsqueeze(1), 50.0)
    assert build(name)(right, target).item() == 0


def test_dfl_true_class_lies_below_ce_by_at_most_log_2():
    logits, target = sample(shape=(50, 2), ignored=0)
    term = build_loss("dfl", reduction="none")(logits, target)
    p_false = logits.softmax(1).gather(1, 1 - target[:, None])[:, 0]
    true_class = term + torch.log1p(-(p_false**2))
    ce = build_loss("ce", reduction="none")(logits, target)
    assert ((true_class <= ce + 1e-12) & (true_class >= ce - math.log(2) - 1e-12)).all()


def test_cefl_lies_between_focal_and_ce():
    logits, target = sample(ignored=0)
    ce, focal = (build(n, reduction="none")(logits, target) for n in ("ce", "focal"))
    for name in ("cefl", "cefl2"):
        each = build(name, reduction="none")(logits, target)
        assert ((each <= ce) & (each >= focal)).all()


def test_lovasz_is_the_jaccard_loss_of_hard_predictions():
    name = "lovasz"
    logits, target = sample(shape=(2, 4, 9, 7))
    hard = logits.argmax(1)
    sure = 1e4 * torch.nn.functional.one_hot(hard, 4).movedim(-1, 1).double()
    ious = []
    for c in range(4):
        p, t = (hard == c) & (target != 255), target == c
        ious.append(((p & t).sum() / (p | t).sum()).item())
    assert build(name)(sure, target).item() == pytest.approx(1 - sum(ious) / 4)
    hinge = build("lovasz_hinge")(sure.clamp(max=1) * 2 - 1, target)  # margins met or missed by 2
    assert hinge.item() == pytest.approx(2 * (1 - sum(ious) / 4))


def test_lovasz_softmax_lies_above_the_soft_jaccard_of_its_errors():
    """It is convex in the errors, between 0 and the largest of them."""
    logits, target = sample()
    errors = (torch.nn.functional.one_hot(target.clamp(max=3), 4).movedim(-1, 1) - logits.softmax(1)).abs()
    each = build("lovasz", reduction="none")(logits, target)
    for c in range(4):
        of_class = errors[:, c][target != 255]
        assert 0 <= each[c] <= of_class.max()


LEAST_AT_P = [
    *("ce", "wce", "cb_ce", "cdb_ce", "dfl", "dfl2021", "sigmoid_ce", "cb_sigmoid"),
    *("dice", "iou", "tversky", "focal_tversky", "generalized_dice", "mcc"),
]


@pytest.mark.parametrize(
    ("name", "own"), [*((n, {}) for n in LEAST_AT_P), ("topk", {"k": 1.0}), ("dice", {"squared": True})]
)
def test_soft_labels_are_what_is_learnt(name, own):
    """A blurred disc: with products in place of minima Dice and its kin drive every p to 0 or 1."""
    rows, columns = torch.meshgrid(torch.arange(12.0), torch.arange(12.0), indexing="ij")
    inside = torch.sigmoid((4 - ((rows - 5.5) ** 2 + (columns - 5.5) ** 2).sqrt()) / 1.5).double()
    soft = torch.stack([1 - inside, inside]).unsqueeze(0)
    loss = build_loss(name, num_classes=2, class_counts=[9, 5], **own)
    logits = torch.randn(soft.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    optimizer = torch.optim.Adam([logits], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    for _ in range(400):
        optimizer.zero_grad()
        loss(logits, soft).backward()
        optimizer.step()
        schedule.step()
    p = logits.sigmoid() if loss.activation == "sigmoid" else logits.softmax(1)
    assert (p - soft).abs().mean().item() < 0.01


def permuted(target, order):
    """Labels after classes were put in another order, `order[new] = old`."""
    if target.is_floating_point():
        return target[:, order]
    inverse = torch.full((256,), 255)
    inverse[torch.tensor(order)] = torch.arange(len(order))
    return inverse[target]


@pytest.mark.parametrize("name", [n for n in NAMES if n not in (*FOREGROUND, "seql")])
def test_the_order_of_the_classes_does_not_matter(name):
    logits, target = sample()
    order = [2, 0, 3, 1]
    weights = {} if name in OWN_WEIGHTS else {"class_weights": [1.0, 2.0, 3.0, 4.0]}
    moved = {} if name in OWN_WEIGHTS else {"class_weights": [[1.0, 2.0, 3.0, 4.0][c] for c in order]}
    loss = build(name, **weights).double()
    other = build(name, class_counts=[COUNTS[c] for c in order], **moved).double()
    assert loss(logits, target).item() == pytest.approx(other(logits[:, order], permuted(target, order)).item())


@pytest.mark.parametrize("name", [n for n in NAMES if n not in (*SPATIAL, "seql")])
def test_the_order_of_the_pixels_does_not_matter(name):
    logits, target = sample(shape=(2, 4, 30))
    order = torch.randperm(30, generator=torch.Generator().manual_seed(5))
    loss = build(name).double()
    assert loss(logits, target).item() == pytest.approx(loss(logits[..., order], target[..., order]).item())


@pytest.mark.parametrize("name", [n for n in NAMES if n != "seql"])
def test_the_order_of_the_images_does_not_matter(name):
    logits, target = sample(shape=(4, 4, 5, 3))
    loss = build(name).double()
    assert loss(logits, target).item() == pytest.approx(loss(logits.flip(0), target.flip(0)).item())


@pytest.mark.parametrize("name", [n for n in NAMES if n not in (*SPATIAL, "seql")])
def test_how_pixels_are_laid_out_does_not_matter(name):
    logits, target = sample(shape=(2, 4, 6, 4))
    loss = build(name).double()
    flat = loss(logits.flatten(2), target.flatten(1))
    assert loss(logits, target).item() == pytest.approx(flat.item())
    volume = loss(logits.view(2, 4, 2, 3, 4), target.view(2, 2, 3, 4))
    assert loss(logits, target).item() == pytest.approx(volume.item())


@pytest.mark.parametrize("name", [n for n in PIXELWISE if n not in BY_BATCH])
def test_a_batch_is_its_images(name):
    logits, target = sample(shape=(3, 4, 5, 3))
    loss = build(name, reduction="none").double()
    one_by_one = torch.cat([loss(logits[i : i + 1], target[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(loss(logits, target), one_by_one)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ONE_VS_REST and n not in ("mse", "mse_ol")])
def test_softmax_losses_do_not_see_a_shift_of_all_logits(name):
    logits, target = sample()
    shift = torch.randn(2, 1, 5, 3, dtype=torch.float64)
    loss = build(name).double()
    assert seeded(loss, logits, target).item() == pytest.approx(seeded(loss, logits + shift, target).item())


@pytest.mark.parametrize("name", [n for n in PIXELWISE if n not in OWN_WEIGHTS])
def test_class_weights_multiply_the_whole_pixel(name):
    logits, target = sample()
    plain = {"class_weights": [1.0] * 4} if name == "wce" else {}
    each = seeded(build(name, reduction="none", **plain).double(), logits, target)
    weighted = seeded(build(name, reduction="none", class_weights=[3.0, 0.0, 0.5, 2.0]).double(), logits, target)
    table = torch.zeros(256, dtype=torch.float64)
    table[:4] = torch.tensor([3.0, 0.0, 0.5, 2.0])
    torch.testing.assert_close(weighted, each * table[target], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", [n for n in REGION if n != "generalized_dice"])  # one fraction for all classes
def test_a_class_of_weight_zero_is_left_out_of_the_mean(name):
    logits, target = sample()
    each = build(name, reduction="none").double()(logits, target)
    found = build(name, class_weights=[0.0, 1.0, 1.0, 2.0]).double()(logits, target)
    assert found.item() == pytest.approx(((each[1] + each[2] + 2 * each[3]) / 4).item())


@pytest.mark.parametrize("gap", [20.0, 60.0, 300.0])
def test_dfl_of_a_sure_mistake_keeps_value_and_gradient(gap):
    logits = torch.tensor([[gap, 0.0, 0.0]], requires_grad=True)
    value = build_loss("dfl")(logits, torch.tensor([1]))
    (gradient,) = torch.autograd.grad(value, logits)
    # p = (1 - 2e, e, e) with e = exp(-gap): -log e - log 2 for the true class, gap - 2 log 2 for the false top
    assert value.item() == pytest.approx(gap - math.log(2) + gap - 2 * math.log(2), rel=1e-5)
    assert gradient[0].tolist() == pytest.approx([2.0, -1.5, -0.5], rel=1e-4)


@pytest.mark.parametrize("gap", [20.0, 60.0, 300.0])
def test_dfl2021_of_a_sure_mistake_keeps_value_and_gradient(gap):
    logits = torch.tensor([[gap, 0.0, 0.0]], requires_grad=True)
    value = build_loss("dfl2021")(logits, torch.tensor([1]))
    (gradient,) = torch.autograd.grad(value, logits)
    # true class: gap + 1, false top: gap - log 2 + 1; d/dz of -log p_1 - log(1 - p_0)
    assert value.item() == pytest.approx(gap + 1 + gap - math.log(2) + 1, rel=1e-5)
    assert gradient[0].tolist() == pytest.approx([2.0, -1.5, -0.5], rel=1e-4)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("focal", {"gamma": 0.5}),
        ("cefl", {"gamma": 0.5}),
        ("cefl2", {"gamma": 0.5}),
        ("sigmoid_focal", {"gamma": 0.5}),
        ("cb_focal", {"gamma": 0.5}),
        ("dfl2021", {"gamma": 0.5}),
        ("focal_tversky", {"gamma": 3.0}),
    ],
)
@pytest.mark.parametrize("label", [0, 1])
def test_roots_are_smooth_at_saturated_pixels(name, parameters, label):
    logits = torch.tensor([[60.0, -60.0, 0.0, 0.0]], requires_grad=True)
    value = build(name, **parameters)(logits, torch.tensor([label]))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_functional_is_the_same():
    logits, target = sample()
    f = segloss.functional
    accuracy = [0.9, 0.2, 0.6, 0.05]
    follows = build("cdb_ce")
    follows.new_epoch(1, accuracy)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0])
    effective = build("cb_ce", beta=0.99).class_weights
    pairs = {
        "ce": (f.ce(logits, target, label_smoothing=0.1), build("ce", label_smoothing=0.1)),
        "focal": (f.focal(logits, target, gamma=1.0), build("focal", gamma=1.0)),
        "sigmoid_ce": (f.sigmoid_ce(logits, target), build("sigmoid_ce")),
        "sigmoid_focal": (f.sigmoid_focal(logits, target, alpha=0.1), build("sigmoid_focal", alpha=0.1)),
        "dfl": (f.dfl(logits, target, class_weights=weights), build("dfl", class_weights=weights.tolist())),
        "dfl2021": (f.dfl2021(logits, target, rho=1.5), build("dfl2021", rho=1.5)),
        "dce": (f.dce(logits, target, beta=2.0), build("dce", beta=2.0)),
        "cefl": (f.cefl(logits, target, gamma=1.0), build("cefl", gamma=1.0)),
        "cefl2": (f.cefl2(logits, target, gamma=1.0), build("cefl2", gamma=1.0)),
        "mse": (f.mse(logits, target), build("mse")),
        "mse_ol": (f.mse_ol(logits, target, labels=segloss.outlying_labels(COUNTS)), build("mse_ol")),
        "ldam": (f.ldam(logits, target, margins=segloss.ldam_margins(COUNTS), s=2.0), build("ldam", s=2.0)),
        "cdb_ce": (f.cdb_ce(logits, target, difficulty=segloss.difficulty_weights(accuracy)), follows),
        "seql": (
            f.seql(logits, target, rare=torch.tensor([False, False, False, True]), gamma=1.0),
            build("seql", gamma=1.0),
        ),
        "topk": (f.topk(logits, target, k=0.3), build("topk", k=0.3)),
        "poly1": (f.poly1(logits, target, epsilon=2.0), build("poly1", epsilon=2.0)),
        "logit_adjusted": (
            f.logit_adjusted(logits, target, log_prior=segloss.log_prior(COUNTS)),
            build("logit_adjusted"),
        ),
        "recall": (f.recall(logits, target), build("recall")),
        "wce": (f.wce(logits, target, class_weights=build("wce").class_weights), build("wce")),
        "cb_ce": (f.cb_ce(logits, target, class_weights=effective.tolist()), build("cb_ce", beta=0.99)),
        "cb_sigmoid": (f.cb_sigmoid(logits, target, class_weights=effective), build("cb_sigmoid", beta=0.99)),
        "cb_focal": (f.cb_focal(logits, target, class_weights=effective), build("cb_focal", beta=0.99)),
        "balanced_softmax": (
            f.balanced_softmax(logits, target, log_prior=segloss.log_prior(COUNTS)),
            build("balanced_softmax"),
        ),
        "dice": (f.dice(logits, target, smooth=1.0, squared=True), build("dice", smooth=1.0, squared=True)),
        "iou": (f.iou(logits, target, per_image=True), build("iou", per_image=True)),
        "tversky": (f.tversky(logits, target, alpha=0.1), build("tversky", alpha=0.1)),
        "focal_tversky": (f.focal_tversky(logits, target, gamma=2.0), build("focal_tversky", gamma=2.0)),
        "generalized_dice": (
            f.generalized_dice(logits, target, class_weights=weights),
            build("generalized_dice", class_weights=weights.tolist()),
        ),
        "lovasz": (f.lovasz(logits, target, classes="all"), build("lovasz", classes="all")),
        "lovasz_hinge": (f.lovasz_hinge(logits, target), build("lovasz_hinge")),
        "boundary": (f.boundary(logits, target, per_image=True), build("boundary", per_image=True)),
        "mcc": (f.mcc(logits, target), build("mcc")),
        "unified_focal": (
            f.unified_focal(logits, target, delta=0.7, symmetric=True),
            build("unified_focal", delta=0.7, symmetric=True),
        ),
        "blob": (f.blob(logits, target, of="iou"), build("blob", of="iou")),
        "cldice": (f.cldice(logits, target, iterations=1), build("cldice", iterations=1)),
        "skeleton_recall": (f.skeleton_recall(logits, target, tube=1), build("skeleton_recall", tube=1)),
    }
    assert set(pairs) == set(f.__all__) == set(NAMES)
    for name, (value, loss) in pairs.items():
        assert value.item() == pytest.approx(loss(logits, target).item(), rel=1e-12), name


def test_a_weight_of_a_sum_follows_the_epochs():
    """As the boundary loss wants it: 0.01, 0.34, 0.67, 1 and then on at 1."""
    parts = [{"name": "dice"}, {"name": "boundary", "weight": {"from": 0.01, "to": 1.0, "epochs": 4}}]
    loss = build_loss(parts, num_classes=4)
    logits, target = sample()
    one, other = build("dice")(logits, target).item(), build("boundary")(logits, target).item()
    assert loss(logits, target).item() == pytest.approx(one + 0.01 * other, rel=1e-6)
    for epoch, weight in ((0, 0.01), (1, 0.34), (3, 1.0), (9, 1.0), (2, 0.67)):
        loss.new_epoch(epoch)
        assert loss.weights == [1.0, pytest.approx(weight)]
        assert loss(logits, target).item() == pytest.approx(one + weight * other, rel=1e-6)
    for given, message in (
        ({"from": 0.1}, "needs from, to and epochs, got"),
        ({"from": -1.0, "to": 1.0, "epochs": 3}, "weight.from must be ≥ 0, got -1"),
        ({"from": 0.0, "to": 1.0, "epochs": 0}, "weight.epochs must be a whole number ≥ 1, got 0"),
    ):
        with pytest.raises(ValueError, match=message):
            build_loss([{"name": "dice", "weight": given}])


def test_new_epoch_reaches_every_loss_of_a_sum():
    both = build_loss([{"name": "dice"}, {"name": "cdb_ce"}], num_classes=4, class_counts=COUNTS)
    assert both.follows_validation
    assert not build("dice").follows_validation
    both.new_epoch(1, [0.9, 0.2, 0.6, 0.05])
    assert both.losses[1].difficulty.tolist() == segloss.difficulty_weights([0.9, 0.2, 0.6, 0.05]).tolist()


def test_following_losses_do_not_recompile_and_move_with_the_module():
    torch.compiler.reset()
    logits, target = sample(dtype=torch.float32)
    loss = build("cdb_ce")
    compiled = whole_graph(loss, backend="eager")
    before = compiled(logits, target).item()
    with torch.compiler.set_stance("fail_on_recompile"):
        loss.new_epoch(1, [0.9, 0.2, 0.6, 0.05])
        after = compiled(logits, target).item()
    assert after != before
    assert after == pytest.approx(loss(logits, target).item())
    assert set(loss.state_dict()) == {"difficulty"}
