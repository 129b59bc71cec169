"""Wrong arguments get an error that says what was given and what is allowed."""

import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import segloss
from segloss import build_loss
from segloss_tests.losses import COUNTS, NAMES, SOFT, build, sample, seeded, soft_labels

NEED_COUNTS = ["wce", "cb_ce", "cb_sigmoid", "cb_focal", "mse_ol", "ldam", "seql", "logit_adjusted", "balanced_softmax"]


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("focal", {"gamma": -1.0}, "gamma must be ≥ 0, got -1"),
        ("focal", {"alpha": -0.1}, "alpha must be finite and not negative, got -0.1"),
        ("ce", {"class_weights": [0, 0, 0, 0]}, "class_weights: all are 0, so no pixel would count"),
        ("focal", {"alpha": [0.5, 0.5]}, r"one number a class \(4\), got 2"),
        ("sigmoid_focal", {"gamma": -1.0}, "gamma must be ≥ 0"),
        ("sigmoid_focal", {"alpha": 1.5}, r"alpha must be in \[0, 1\], or None, got 1.5"),
        ("cefl", {"gamma": -0.1}, "gamma must be ≥ 0"),
        ("cefl2", {"gamma": float("nan")}, "gamma must be ≥ 0, got nan"),
        ("cb_focal", {"gamma": -2.0}, "gamma must be ≥ 0"),
        ("cb_ce", {"beta": 1.0}, r"beta must be in \[0, 1\), got 1.0"),
        ("cb_sigmoid", {"beta": -0.1}, r"beta must be in \[0, 1\)"),
        ("cb_focal", {"unit": "voxel"}, "unit must be one of pixel, image, component, got 'voxel'"),
        ("cb_ce", {"unit": "image"}, "class_counts.images"),
        ("dfl2021", {"alpha": -1.0}, "alpha must be ≥ 0"),
        ("dfl2021", {"rho": 0.9}, "rho must be ≥ 1, got 0.9"),
        ("dce", {"alpha": 1.0}, "alpha must be > 1, got 1.0"),
        ("dce", {"beta": 0.5}, "beta must be > 1, got 0.5"),
        ("mse_ol", {"alpha": 0.0}, "alpha must be > 0, got 0"),
        ("ldam", {"s": 0.0}, "s must be > 0"),
        ("ldam", {"max_m": -1.0}, "max_m must be > 0"),
        ("ldam", {"drw_epoch": -1}, "drw_epoch must be ≥ 0, or None, got -1"),
        ("cdb_ce", {"tau": -1.0}, "tau must be ≥ 0, or dynamic, got -1"),
        ("cdb_ce", {"tau": "static"}, "tau must be ≥ 0, or dynamic, got 'static'"),
        ("cdb_ce", {"num_classes": None, "class_counts": None}, "cdb_ce needs num_classes"),
        ("seql", {"gamma": 1.1}, r"gamma must be in \[0, 1\]"),
        ("seql", {"lambda_": -0.1}, r"lambda_ must be in \[0, 1\]"),
        ("topk", {"k": 0.0}, r"k must be in \(0, 1\], got 0.0"),
        ("poly1", {"epsilon": -1.5}, "epsilon must be ≥ -1"),
        ("logit_adjusted", {"tau": -1.0}, "tau must be ≥ 0"),
        ("ce", {"label_smoothing": 1.5}, r"label_smoothing must be in \[0, 1\]"),
        ("ce", {"class_weights": [1.0, 2.0]}, r"one weight a class \(4\)"),
        ("ce", {"normalize": "pixel"}, "normalize must be one of pixels, weights"),
        ("ce", {"reduction": "average"}, "reduction must be one of mean, sum, none"),
        ("ce", {"class_counts": [1, 2, 3, -4]}, "finite and not negative, got -4"),
        ("dice", {"smooth": -1.0}, "smooth must be ≥ 0"),
        ("dice", {"classes": "some"}, "classes must be one of present, all"),
        ("tversky", {"alpha": -0.3}, "alpha must be ≥ 0"),
        ("tversky", {"beta": float("inf")}, "beta must be ≥ 0, got inf"),
        ("focal_tversky", {"gamma": 0.0}, "gamma must be > 0"),
        ("focal", {"gamma": "2"}, "gamma must be ≥ 0, got '2'"),
        ("focal", {"gamma": None}, "gamma must be ≥ 0, got None"),
        ("focal", {"alpha": "x"}, "alpha must hold numbers, got 'x'"),
        ("sigmoid_focal", {"alpha": [0.1, 0.2]}, r"alpha must be in \[0, 1\], or None, got \[0.1, 0.2\]"),
        ("topk", {"k": "a"}, r"k must be in \(0, 1\], got 'a'"),
        ("ldam", {"drw_epoch": "3"}, "drw_epoch must be ≥ 0, or None, got '3'"),
        ("ce", {"ignore_index": None}, "ignore_index must be a whole number, got None"),
        ("ce", {"ignore_index": 1.5}, "ignore_index must be a whole number, got 1.5"),
        ("ce", {"num_classes": 0}, "num_classes must be a whole number ≥ 2 .*, got 0"),
        ("ce", {"num_classes": "4"}, "num_classes must be a whole number ≥ 2 .*, got '4'"),
        ("wce", {"class_counts": [1, None, 3, 4]}, "class_counts must hold numbers"),
        ("wce", {"class_counts": [[1, 2], [3, 4]]}, "class_counts must hold one count a class, got shape"),
        ("focl", {}, "did you mean 'focal'"),
        ("lovasz_softmax", {}, "here that is 'lovasz'"),
        ("BCEWithLogitsLoss", {}, "here that is 'sigmoid_ce'"),
        ("dice_ce", {}, r"here that is the list \[\{name: dice\}, \{name: ce\}\]"),
        ("wce", {"class_weights": {"beta": 0.9}}, "class_weights: name is missing"),
        ("ce", {"class_weights": {"name": "enet", "from_epoch": -1}}, "from_epoch must be a whole number ≥ 0, got -1"),
        ("ldam", {"class_weights": {"name": "enet", "from_epoch": 1}, "drw_epoch": 2}, "give one of them"),
        ("adfl", {}, "AdaptiveClassWeight"),
    ],
)
def test_bad_parameters_are_named(name, parameters, message):
    with pytest.raises(ValueError, match=message):
        build(name, **parameters)


@pytest.mark.parametrize("name", NEED_COUNTS)
def test_missing_counts_say_who_needs_them_and_how_to_get_them(name):
    with pytest.raises(ValueError, match=r"needs class_counts: pass class_counts=.*training images") as caught:
        build_loss(name, num_classes=3)
    assert name in str(caught.value) or name in ("wce", "cb_ce", "cb_sigmoid", "cb_focal")  # these name the weights


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_parameter_is_named_with_the_nearest(name):
    with pytest.raises(TypeError, match=rf"{name}: unknown parameter 'ignore_indx'; did you mean 'ignore_index'\?"):
        build(name, ignore_indx=0)


@pytest.mark.parametrize("name", NAMES)
def test_counts_of_another_number_of_classes_are_refused(name):
    with pytest.raises(ValueError, match="class_counts must hold 3 classes, got 4"):
        build_loss(name, num_classes=3, class_counts=COUNTS)


def test_a_list_is_a_weighted_sum():
    logits, target = sample()
    parts = [{"name": "dice", "weight": 2.0}, {"name": "focal", "gamma": 1.0}]
    loss = build_loss(parts, num_classes=4, class_counts=COUNTS, ignore_index=255)
    expected = 2 * build("dice")(logits, target) + build("focal", gamma=1.0)(logits, target)
    assert loss(logits, target).item() == pytest.approx(expected.item(), rel=1e-6)
    with pytest.raises(TypeError, match="dice: unknown parameter 'wieght'; did you mean 'weight'"):
        build_loss([{"name": "dice", "wieght": 2}, {"name": "ce"}])
    with pytest.raises(TypeError, match="focal: unknown parameter 'gama'; did you mean 'gamma'"):
        build_loss([{"name": "focal", "gama": 1.0}])
    alone = build_loss({"name": "focal", "gamma": 1.0}, num_classes=4)
    assert alone(logits, target).item() == pytest.approx(build("focal", gamma=1.0)(logits, target).item(), rel=1e-6)
    with pytest.raises(ValueError, match="needs at least one"):
        build_loss([])
    with pytest.raises(TypeError, match="by its name or from a list of mappings, got int"):
        build_loss(3)
    with pytest.raises(TypeError, match=r"a list of mappings with a name, such as .*, got 'dice'"):
        build_loss(["dice", "ce"])
    with pytest.raises(ValueError, match="weight must be ≥ 0"):
        build_loss([{"name": "dice", "weight": -1.0}])
    with pytest.raises(TypeError, match="a sum is made of losses of segloss, got MSELoss"):
        segloss.WeightedSum([torch.nn.MSELoss()])


@pytest.mark.parametrize(
    ("logits", "target", "error", "message"),
    [
        (torch.zeros(2, 3, 4, dtype=torch.long), torch.zeros(2, 4).long(), TypeError, "logits must be floating"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 5).long(), ValueError, r"shape \(2, 4\).*got \(2, 5\)"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 4, dtype=torch.bool), TypeError, "bool target holds the labels of two"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 2, 4), ValueError, "soft labels"),
        (
            {"out": torch.zeros(2, 3, 4), "aux": 0},
            torch.zeros(2, 4).long(),
            TypeError,
            r"'out', 'aux': .*outputs\['out'\]",
        ),
        ([torch.zeros(2, 3, 4)] * 2, torch.zeros(2, 4).long(), TypeError, "got 2 outputs"),
        (SimpleNamespace(logits=torch.zeros(2, 3)), torch.zeros(2).long(), TypeError, r"take its outputs.logits"),
        (torch.zeros(2, 5, 4, 3), torch.zeros(2, 5, 4).long(), ValueError, r"logits.movedim\(-1, 1\)"),
        (torch.zeros(3, 5, 4), torch.zeros(5, 4).long(), ValueError, r"a batch axis: logits.unsqueeze\(0\)"),
        (torch.zeros(3, 5, 4), torch.zeros(1, 5, 4).long(), ValueError, r"a batch axis: logits.unsqueeze\(0\)"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 1, 4), ValueError, r"target.squeeze\(1\).long\(\)"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 3, 4).long(), ValueError, r"one-hot labels must be floating"),
        (torch.zeros(2, 3, 4), np.zeros((2, 4)), TypeError, "torch.from_numpy"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 4), ValueError, r"labels must be integers: target.long\(\)"),
        (torch.zeros(2, 3, 4), torch.full((2, 3, 4), 255.0), ValueError, r"255.0: soft labels lie in \[0, 1\]"),
        (torch.zeros(2, 3, 4), torch.zeros(2, 4, device="meta").long(), ValueError, "on cpu, target on meta"),
        (torch.zeros(3), torch.zeros(3).long(), ValueError, r"\(N, C, \*spatial\)"),
    ],
)
@pytest.mark.parametrize("name", ["ce", "dice", "topk", "recall"])
def test_bad_tensors_are_named(name, logits, target, error, message):
    with pytest.raises(error, match=message):
        build_loss(name)(logits, target)


def test_bad_masks_are_named():
    logits, target = sample()
    with pytest.raises(ValueError, match=r"mask must be bool \(mask.bool\(\)\) of shape \(2, 5, 3\)"):
        build("ce")(logits, target, torch.ones(2, 5, 3))
    with pytest.raises(ValueError, match=r"got torch.bool of \(2, 5\)"):
        build("ce")(logits, target, torch.ones(2, 5, dtype=torch.bool))


OTHERS = {
    "include_background": "class_weights: [0, 1, …] leaves the background out",
    "softmax": "takes raw logits",
    "to_onehot_y": "integer labels",
    "from_logits": "takes raw logits",
    "smooth_nr": "smooth",
    "batch": "per_image",
    "weight": "class_weights",
    "mode": "not needed",
    "log_loss": "not there",
}


@pytest.mark.parametrize("parameter", list(OTHERS))
def test_what_other_libraries_call_a_parameter_is_explained(parameter):
    message = rf"unknown parameter '{parameter}'; here that is .*{re.escape(OTHERS[parameter])}.*; allowed: "
    with pytest.raises(TypeError, match="DiceLoss: " + message):
        segloss.DiceLoss(**{parameter: True})
    with pytest.raises(TypeError, match="dice: " + message):
        build_loss("dice", **{parameter: True})


@pytest.mark.parametrize("name", NAMES)
def test_parameters_go_by_name(name):
    for given in (0.25, "multiclass"):
        with pytest.raises(TypeError, match=rf"takes its parameters by name, such as \w+=…, got {given!r}"):
            segloss.LOSSES[name](given)


@pytest.mark.parametrize("name", ["hausdorff", "SSIM", "HausdorffDTLoss", "symmetric_ce"])
def test_losses_that_are_not_here_are_not_taken_for_others(name):
    with pytest.raises(ValueError, match=rf"unknown loss '{name}': segloss has no such loss; it has "):
        build_loss(name)
    with pytest.raises(ValueError, match=r"unknown loss 'hinge'; allowed"):
        build_loss("hinge")


def test_own_subclasses_may_take_what_they_like():
    class Mine(segloss.FocalLoss):
        def __init__(self, sharpness, **options):
            super().__init__(gamma=sharpness, **options)
            self.scale = torch.nn.Parameter(torch.ones(()))
            self.head = torch.nn.Linear(4, 4)

    loss = Mine(1.5, class_weights=[1.0, 2.0, 3.0, 4.0])
    assert loss.gamma == 1.5
    moved = loss.to("meta")
    assert {each.device.type for each in (moved.scale, moved.head.weight, moved.class_weights)} == {"meta"}
    assert moved.class_weights.dtype == torch.float64
    half = Mine(1.5, class_weights=[1.0, 2.0, 3.0, 4.0]).half()
    assert (half.scale.dtype, half.class_weights.dtype) == (torch.float16, torch.float64)


def test_a_loss_on_another_device_is_an_error():
    logits, target = sample()
    loss = build("ce", class_weights=[1.0, 2.0, 3.0, 4.0]).to("meta")
    with pytest.raises(ValueError, match=r"holds class_weights on meta, logits are on cpu: loss.to\(logits.device\)"):
        loss(logits, target)
    with pytest.raises(ValueError, match="holds alpha on cpu, logits are on meta"):
        build("focal", alpha=[1.0, 2.0, 3.0, 4.0])(logits.to("meta"), target.to("meta"))


@pytest.mark.parametrize("name", NAMES)
def test_the_representation_builds_the_loss(name):
    loss = build(name)
    shown = eval(f"dict({loss.extra_repr()})", {"inf": float("inf")})
    assert repr(segloss.LOSSES[name](**shown)) == repr(loss)
    assert shown["class_counts"] == COUNTS
    assert "reduction='sum'" in repr(build(name, reduction="sum"))


def test_the_version_is_that_of_the_package():
    assert re.fullmatch(r"\d+\.\d+\.\d+", segloss.__version__)


@pytest.mark.parametrize("name", NAMES)
def test_a_channel_axis_of_1_and_bool_labels_are_taken(name):
    logits, target = sample(ignored=0.0)
    mask = torch.rand(target.shape, generator=torch.Generator().manual_seed(1)) < 0.7
    loss = build(name)
    expected = seeded(loss, logits, target, mask).item()
    for labels in (target, target.unsqueeze(1), target.unsqueeze(1).byte()):
        for counted in (mask, mask.unsqueeze(1)):
            assert seeded(loss, logits, labels, counted).item() == expected
            assert loss.denominator(labels, counted).item() == loss.denominator(target, mask).item()
    for classes in (1, 2):
        two = build(name, num_classes=2, class_counts=[9, 1])
        labels = target > 1
        found = seeded(two, logits[:, :classes], labels.unsqueeze(1), mask)
        assert found.item() == seeded(two, logits[:, :classes], labels.long(), mask).item()
        assert two.denominator(labels, mask).item() == two.denominator(labels.long(), mask).item()


def test_probabilities_and_masks_of_png_are_warned_of_once():
    logits, target = sample(ignored=0.0)
    loss = build("ce")
    with pytest.warns(segloss.LossInputWarning, match="look like probabilities") as caught:
        loss(logits.softmax(1), target)
    assert caught[0].filename == __file__
    two = build_loss("dice")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build("ce")(logits, target)
        two(logits[:, :2], torch.zeros_like(target))  # nothing to see yet
        build_loss("dice", ignore_index=-100)(logits[:, :2], target % 2)
    with pytest.warns(segloss.LossInputWarning, match=r"255 is the foreground.*\(target == 255\).long\(\)"):
        two(logits[:, :2], torch.where(target > 1, 255, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(logits.softmax(1), target)
        two(logits[:, :2], torch.where(target > 1, 255, 0))


def test_bad_accuracies_are_named():
    loss = build("cdb_ce")
    with pytest.raises(ValueError, match="class_accuracy must hold 4 classes, got 2"):
        loss.new_epoch(1, [0.5, 0.5])
    with pytest.raises(ValueError, match=r"class_accuracy must be in \[0, 1\], got .*50.0"):
        loss.new_epoch(1, [0.5, 0.5, 0.5, 50.0])
    with pytest.raises(ValueError, match="tau must be ≥ 0, or dynamic, got -1"):
        segloss.difficulty_weights([0.5, 1.0], tau=-1)


@pytest.mark.parametrize(
    ("call", "options", "message"),
    [
        ("ce", {"reduction": "average"}, "reduction must be one of mean, sum, none, got 'average'"),
        ("ce", {"normalize": "bogus"}, "normalize must be one of pixels, weights"),
        ("dice", {"classes": "some"}, "classes must be one of present, all"),
        ("focal", {"alpha": [0.1] * 9}, r"alpha must hold one number a class \(4\), got shape \(9,\)"),
        ("ldam", {"margins": [0.1]}, "margins must hold one number a class"),
        ("cdb_ce", {"difficulty": [0.1] * 9}, "difficulty must hold one number a class"),
        ("ce", {"class_weights": [1.0, 2.0]}, "logits have 4 classes, but the loss was made for 2"),
    ],
)
def test_functions_check_what_they_are_given(call, options, message):
    logits, target = sample()
    with pytest.raises(ValueError, match=message):
        getattr(segloss.functional, call)(logits, target, **options)


def test_numbers_of_any_kind_are_taken():
    logits, target = sample()
    expected = segloss.functional.focal(logits, target, alpha=0.25).item()
    for alpha in (np.float32(0.25), torch.tensor(0.25), [0.25] * 4, np.full(4, 0.25)):
        assert build("focal", alpha=alpha)(logits, target).item() == pytest.approx(expected)
        assert segloss.functional.focal(logits, target, alpha=alpha).item() == pytest.approx(expected)
    weights = [1.0, 2.0, 3.0, 4.0]
    expected = build("ce", class_weights=weights)(logits, target).item()
    for given in (np.array(weights), torch.tensor(weights), np.array(weights, dtype=np.float32)):
        assert build("ce", class_weights=given)(logits, target).item() == pytest.approx(expected)
    counted = build("wce", class_counts=np.array(COUNTS))
    assert counted.class_weights.tolist() == build("wce").class_weights.tolist()
    assert segloss.ClassCounts.of([123456789.0, 1.0]).pixels == [123456789.0, 1.0]


def test_a_sum_has_no_map():
    with pytest.raises(ValueError, match="reduction must be mean or sum within a sum of losses"):
        build_loss([{"name": "dice"}, {"name": "ce"}], reduction="none")


def test_soft_labels_that_are_none_are_named():
    logits = sample()[0]
    soft = torch.full((2, 4, 5, 3), 0.25, dtype=torch.float64)
    soft[0, 1, 2, 2] = 1.5
    with pytest.raises(ValueError, match=r"1 pixels with the label\(s\) 1.5: soft labels lie in \[0, 1\]"):
        build("ce")(logits, soft)
    soft[0, 1, 2, 2] = torch.nan
    with pytest.raises(ValueError, match="nan: soft labels lie"):
        build("ce")(logits, soft)


@pytest.mark.parametrize("name", [n for n in SOFT if segloss.LOSSES[n].activation == "softmax"])
@pytest.mark.parametrize("total", [0.8, 2.0])
def test_soft_labels_of_softmax_losses_sum_to_1(name, total):
    logits, soft = sample()[0], soft_labels()
    soft[1, :, 2:4, 1] *= 0
    soft[1, :2, 2:4, 1] = total / 2
    message = rf"must sum to 1 .*, got a sum of {total:g} at the first of 2 pixels.*with sigmoid: sigmoid_ce"
    with pytest.raises(ValueError, match=message):
        build(name)(logits, soft)
    blank = soft.sum(1).sub(1).abs() < 1e-6
    assert seeded(build(name), logits, soft, blank).isfinite()
    if total == 2.0:
        torch.compiler.reset()
        assert torch.compile(build(name), backend="eager")(logits, soft).isnan()
