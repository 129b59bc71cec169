"""The rules of a recipe, on fingerprints written by hand; the expected numbers are worked out beside them."""

from dataclasses import replace

import numpy as np
import pytest

from engine.recipe.document import document
from engine.recipe.fingerprint import Fingerprint
from engine.recipe.masks import Held, meaning_of
from engine.recipe.rules import RULES, Choice, settings
from segloss_tests import ROOT

MRI = Fingerprint(
    kind="volume",
    classes=("background", "prostate"),
    background="background",
    cases=50,
    groups=50,
    group=None,
    parts={"": 50},
    part_groups={"": 50},
    read=2,
    skipped=[],
    channels=1,
    is_grey=True,
    dtype="int16",
    sizes=np.array([[320, 320], [512, 512]]),
    slices=20,
    spacings=np.array([[3.6, 0.625, 0.625], [2.2, 0.27, 0.27]]),
    shares={"background": 0.98, "prostate": 0.02},
    images={"background": 1.0, "prostate": 0.6},
    component=900,
    smallest="prostate",
    whole=0.999,
    holding=2,
    low=0,
    high=2000,
    window=(100, 900),
    clipped={"background": 0.0, "prostate": 0.01},
)
STREET = replace(
    MRI,
    kind="still",
    classes=("road", "car"),
    background=None,
    cases=60,
    groups=60,
    parts={"train": 40, "val": 8, "test": 12},
    part_groups={"train": 40, "val": 8, "test": 12},
    channels=3,
    is_grey=False,
    dtype="uint8",
    sizes=np.array([[360, 480], [360, 480]]),
    slices=1,
    spacings=None,
    shares={"road": 0.9, "car": 0.1},
    images={"road": 1.0, "car": 0.9},
    smallest="car",
    whole=None,
)


def chosen(fingerprint):
    return {choice.key: choice.value for choice in settings(fingerprint)}


def test_scans_of_several_spacings_are_resampled_in_plane():
    found = chosen(MRI)
    # the median of both spacings is 0.4475 mm; the slices are 200 and 138 mm wide, median 169 mm: 378 pixels of 0.4475,
    # more than 256, so 169.1 / 256 = 0.66 mm, and 169.1 / 0.66 = 256 pixels
    assert found["data.spacing"] == [None, 0.66, 0.66]
    assert found["data.size"] is None
    crop = {"name": "CropNonEmptyMaskIfExists", "height": 256, "width": 256, "ignore_values": [0, 255]}
    assert found["data.augment"][1] == crop
    assert found["data.sampler"] == {"name": "foreground", "share": 0.5}
    assert found["train"]["batch_size"] == 8  # 2^19 / 256^2
    # of 50 patients 10 are tested and 4 validate: 36 * 20 = 720 images, 90 steps; 3000 / 90 = 33.3
    assert found["train"]["epochs"] == 33


def test_slices_of_several_sizes_and_one_spacing_are_not_shrunk_to_one():
    """As in PROMISE12: 160 to 256 pixels of 1 mm; of one size, a pixel would be 1.6 mm in some and 1 mm in others."""
    found = chosen(replace(MRI, sizes=np.array([[160, 160]] * 2 + [[256, 256]]), spacings=np.array([[3.0, 1, 1]] * 3)))
    assert found["data.size"] is None
    assert "data.spacing" not in found
    assert found["data.augment"][1]["height"] == found["data.augment"][1]["width"] == 160
    assert found["train"]["batch_size"] == 16  # 2^19 / 160^2 = 20.5, at most 16
    # 400 pixels of 0.5 mm are 200 mm: 256 pixels of 0.78 mm
    found = chosen(replace(MRI, sizes=np.array([[400, 400], [400, 360]]), spacings=np.array([[3.0, 0.5, 0.5]] * 2)))
    assert found["data.spacing"] == [None, 0.78, 0.78]
    found = chosen(replace(MRI, sizes=np.array([[256, 256]] * 2), spacings=np.array([[3.0, 0.5, 0.5]] * 2)))
    assert found["data.size"] == [256, 256]


@pytest.mark.parametrize(
    ("fingerprint", "checkpoint"),
    [
        (MRI, "last"),  # a tenth of 40 groups
        (replace(MRI, cases=62, groups=62), None),  # of 50
        (replace(MRI, cases=4, groups=4), "last"),
        (replace(MRI, cases=2, groups=2), None),  # nobody validates: the last epoch is scored anyhow
        (STREET, None),  # 8 images
        (replace(STREET, part_groups={"train": 40, "val": 1, "test": 12}), "last"),  # 8 frames of one drive
        (replace(STREET, part_groups={"train": 30, "test": 12}), "last"),  # a tenth of 30 is drawn
        (replace(STREET, part_groups={"train": 50, "val": 0, "test": 12}), None),  # a tenth of 50
    ],
)
def test_few_groups_do_not_choose_an_epoch(fingerprint, checkpoint):
    assert chosen(fingerprint)["scores"].get("checkpoint") == checkpoint


@pytest.mark.parametrize(
    ("groups", "batch"),
    [(1, 1), (2, 1), (3, 1), (4, 2), (5, 3), (6, 3), (7, 4)],  # 7: two are tested, one validates, four train
)
def test_a_batch_is_no_larger_than_the_training_part(groups, batch):
    few = replace(MRI, cases=groups, groups=groups, slices=1)
    assert chosen(few)["train"]["batch_size"] == batch
    if groups > 1:
        assert chosen(replace(few, slices=40))["train"]["batch_size"] == 8  # 2^19 / 256^2


@pytest.mark.parametrize(("parts", "batch"), [({"train": 3, "test": 2}, 2), ({"train": 3, "val": 1, "test": 2}, 3)])
def test_what_validates_is_drawn_from_a_training_part_that_has_no_validation(parts, batch):
    few = replace(STREET, cases=sum(parts.values()), groups=sum(parts.values()), parts=parts, part_groups=parts)
    assert chosen(few)["train"]["batch_size"] == batch


@pytest.mark.parametrize(
    ("changed", "is_kept"),
    [
        ({}, False),
        ({"read": 10, "holding": 10}, True),
        ({"read": 24, "holding": 1}, False),  # a rare class, whose one case says little of the others
        ({"read": 10, "holding": 10, "whole": 0.98}, False),
        ({"read": 10, "holding": 10, "background": None}, False),
    ],
)
def test_one_part_is_kept_of_classes_that_are_one(changed, is_kept):
    """The fingerprint has read two cases, which say little."""
    assert chosen(replace(MRI, **changed))["scores"].get("largest_component", False) is is_kept


def test_streets_keep_their_size_and_their_parts():
    found = chosen(STREET)
    assert found["data.size"] == [360, 480]
    assert found["data.split"] == {"kind": "official"}
    assert found["train"] == {"epochs": 231, "batch_size": 3}  # 40 images, 13 steps; 3000 / 13 = 230.8
    assert "data.sampler" not in found


@pytest.mark.parametrize(
    ("fingerprint", "key", "value"),
    [
        (
            replace(MRI, low=-1024.0, window=(-60.4, 230.2)),
            "data.normalise",
            {"name": "window", "low": -60, "high": 230},
        ),
        (replace(MRI, clipped={"prostate": 0.6}), "data.normalise", {"name": "percentile", "low": 0, "high": 100}),
        (replace(MRI, groups=2, cases=2), "data.split", {"kind": "kfold", "folds": 2, "fold": 0, "val": 0}),
        (replace(MRI, groups=1, cases=1), "data.split", {"kind": "kfold", "folds": 2, "fold": 0, "val": 0}),
        (replace(MRI, groups=4, cases=8), "data.split", {"kind": "kfold", "folds": 4, "fold": 0, "val": 1}),
        (replace(STREET, is_grey=True), "data.channels", 1),
        (replace(STREET, images={"road": 1.0, "car": 0.1}), "data.sampler", {"name": "rare", "power": 0.5}),
        (
            replace(STREET, sizes=np.array([[1024, 2048]] * 2)),
            "data.size",
            [256, 512],
        ),  # a quarter: 900 / 16 = 56 pixels
        (replace(STREET, sizes=np.array([[1024, 2048]] * 2), component=200), "data.size", None),  # 200 / 16 < 16
        (
            replace(STREET, sizes=np.array([[1024, 2048]] * 2), component=200),
            "scores",
            {"flip": True, "window": [512, 512]},
        ),
        (replace(STREET, kind="label", sizes=np.array([[32, 32]] * 2)), "model", {"name": "resnet_cifar", "depth": 32}),
        (STREET, "model", {"name": "unet", "encoder": "resnet18", "depth": 5}),  # 352x480 pixels
        (MRI, "model", {"name": "resenc_unet", "width": 16, "depth": 5, "blocks": [1, 1, 1, 1, 1, 1]}),  # 256x256
        (
            replace(MRI, sizes=np.array([[96, 96]] * 2), spacings=np.ones((2, 3))),
            "model",
            {"name": "resenc_unet", "width": 16, "depth": 4, "blocks": [1, 1, 1, 1, 1]},
        ),
        (replace(STREET, kind="label", shares={"road": 0.95, "car": 0.05}), "loss", {"name": "ce"}),
    ],
)
def test_a_rule(fingerprint, key, value):
    assert chosen(fingerprint)[key] == value


def test_sides_are_not_mirrored():
    found = chosen(replace(MRI, classes=("background", "left_kidney")))
    assert "HorizontalFlip" not in str(found["data.augment"])
    assert "flip" not in found["scores"]


def test_every_rule_is_on_the_page():
    page = (ROOT / "docs/recipe.md").read_text()
    for rule in RULES:
        assert f"| {rule.__name__} | {rule.__doc__} |" in page


@pytest.mark.parametrize(
    ("pixels", "edges", "labels", "ignore"),
    [
        ({0: 90, 1: 10}, 0, {"background": 0, "object": 1}, []),
        ({0: 90, 255: 10}, 0, {"background": 0, "object": 255}, []),
        ({0: 80, 1: 10, 255: 10}, 1, {"background": 0, "object": 1}, [255]),
        ({0: 80, 128: 10, 255: 10}, 0, {"background": 0, "class_1": 128, "class_2": 255}, []),
        ({1: 97, 2: 3}, 0, {"background": 1, "object": 2}, []),
        ({1: 40, 2: 30, 3: 30}, 0, {"class_1": 1, "class_2": 2, "class_3": 3}, []),
    ],
)
def test_what_values_mean(tmp_path, pixels, edges, labels, ignore):
    found = meaning_of(Held(pixels, dict.fromkeys(pixels, 1), 3, 3, edges), tmp_path)
    assert (found.labels, found.ignore) == (labels, ignore)


def test_reasons_stand_beside_or_above():
    long = " ".join(["word"] * 30)
    text = document(
        ["head"], [Choice("data.size", [1, 2], "short"), Choice("data.group", "^a: b", long)], ["masks: two"]
    )
    assert text.splitlines()[:5] == [
        "# head",
        "# Not decided by the files:",
        "# - masks: two",
        "data:",
        "  size: [1, 2]  # short",
    ]
    assert text.splitlines()[-1] == "  group: '^a: b'"
