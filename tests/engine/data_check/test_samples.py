"""Which cases the data check shows, and the histograms of their sizes."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb

import datasets
from datasets.case import Remark
from engine.data_check.check import DataCheck
from engine.data_check.samples import Example, examples, sample_pictures, samples_picture, sizes_of
from engine.pictures.palette import OKABE_ITO

CLASSES = ["background", "organ", "lesion"]


def facts(name, organ, lesion=0, size=(10, 10), spacing=None, remarks=()):
    """A case of 100 pixels, so many of them of each class."""
    case = datasets.Case(name, name, Path(f"data/images/{name}.png"), Path(f"data/masks/{name}.png"))
    pixels = (100 - organ - lesion, organ, lesion)
    return SimpleNamespace(case=case, pixels=pixels, size=size, slices=1, spacing=spacing, remarks=remarks)


def check(cases, problems=(), kind="still"):
    return DataCheck(CLASSES, kind, list(cases), list(problems))


def names(found):
    return {title: [one.facts.case.id for one in some] for title, some in examples(found).items()}


def test_typical_and_smallest_cases_of_each_class_in_turn_the_rarest_first():
    held = {"a": (10, 1), "b": (20, 3), "c": (30, 9), "d": (40, 0), "e": (70, 0), "f": (0, 0)}
    found = check(facts(name, *pixels) for name, pixels in held.items())
    # lesion: 1, 3, 9, median 3; organ: 10, 20, 30, 40, 70, median 30
    assert names(found) == {"typical": ["b", "c", "a", "d"], "smallest": ["a", "b", "c", "d"]}
    assert examples(found)["typical"][0].why == "3 % lesion"


def test_a_case_of_each_kind_of_problem_and_remark_is_shown():
    remarks = [Remark("image(s) lose all of lesion", "see data.size")]
    cases = [facts("a", 10), facts("b", 20, remarks=remarks), facts("c", 30, remarks=remarks), facts("d", 40)]
    problems = [
        "data/masks/gone.png: no such file",
        "data/images/d.png: the cache holds other pixels",
        "'a' (train) and 'c' (test) have the same pixels; exclude one",
    ]
    found = examples(check(cases, problems))["named above"]
    assert [(one.facts.case.id, one.why.split(" (")[0]) for one in found] == [
        ("d", "the cache holds other pixels"),
        ("a", "'a'"),
        ("b", "image(s) lose all of lesion"),
    ]


def test_the_image_is_seen_beside_and_under_its_mask():
    image = np.full((1, 4, 4, 3), 90, np.uint8)
    mask = np.array([[[0, 0, 1, datasets.IGNORE]] * 4], np.uint8)
    adapter = SimpleNamespace(read=lambda case: SimpleNamespace(image=SimpleNamespace(array=image), mask=mask))
    figure = samples_picture([Example(facts("a", 4), [1], "why")], CLASSES, adapter)
    left, right = figure.axes
    cover = right.images[1].get_array()[0]
    assert np.array_equal(left.images[0].get_array(), right.images[0].get_array())
    assert cover[0].tolist()[3] == cover[1].tolist()[3] == 0  # the background is clear
    assert cover[2].tolist() == pytest.approx([*to_rgb(OKABE_ITO[1]), 0.5])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["organ", "(ignored)"]


def test_histograms_count_every_case_once():
    spread = [facts("a", 10, 1, (10, 10)), facts("b", 20, 0, (10, 20)), facts("c", 30, 0, (10, 40))]
    figure = sizes_of(check(spread))
    counted = {axis.get_title(loc="left"): sum(bar.get_height() for bar in axis.patches) for axis in figure.axes}
    assert counted == {
        "columns of a case": 3,
        "lesion: share of the pixels of a case, 1 cases": 1,
        "organ: share of the pixels of a case, 3 cases": 3,
    }
    scans = [facts(name, organ, spacing=(5.0, 2.0, 2.0)) for name, organ in (("a", 10), ("b", 40))]
    (axis,) = sizes_of(check(scans, kind="volume")).axes
    edges = [bar.get_x() for bar in axis.patches if bar.get_height()]
    assert edges[0] == pytest.approx(10 * 5 * 2 * 2 / 1000)  # ml
    assert sizes_of(check([facts("a", 10)])) is None


def test_of_pictures_with_one_label_one_of_each_class_is_shown():
    pictures = [SimpleNamespace(case=SimpleNamespace(id=str(n)), pixels=pixels) for n, pixels in
                enumerate([(1, 0, 0), (1, 0, 0), (0, 0, 1)])]  # fmt: skip
    image = np.zeros((1, 3, 3, 3), np.uint8)
    decoded = SimpleNamespace(image=SimpleNamespace(array=image), mask=np.zeros((1, 1, 1), np.uint8))
    found = sample_pictures(DataCheck(CLASSES, "label", pictures), SimpleNamespace(read=lambda case: decoded))
    said = [text.get_text() for text in found["typical"].axes[0].texts]
    assert said == ["lesion", "background", "background"]
