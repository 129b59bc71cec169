"""The page of `compare`: the same cases of two programs side by side, and every patient as a dot."""

import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import datasets
from engine.console.sections import Dot, PairedDots
from engine.report.dots import dots_svg
from engine.scoring import results
from segloss_tests.pages import cases_of, decoded, text_of
from segloss_tests.reports import GLAND, Case, make_run, shifted

pytestmark = pytest.mark.usefixtures("rendered_figures")

NAMES = [f"p{number}" for number in range(7)]


def write(folder, case, labels):
    """Labels as a NIfTI volume in the orientation of the runs."""
    folder.mkdir(exist_ok=True)
    volume = datasets.Volume(labels.astype(np.uint8), np.diag([-1.0, -1.0, 3.0, 1.0]))
    datasets.write_volume(volume, folder / f"{case.case.id}.nii.gz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run, the masks of two other programs and the references of seven patients."""
    path = tmp_path_factory.mktemp("compared")
    cases = [Case(name, seed=number) for number, name in enumerate(NAMES)]
    make_run(path / "run", cases, [shifted(case, 1) for case in cases])
    for number, case in enumerate(cases):
        write(path / "ref", case, case.mask())
        write(path / "near", case, shifted(case, 2 + number % 2))
        write(path / "far", case, shifted(case, 8 + number))
    labels = {"channel_names": {"0": "T2"}, "labels": {"background": 0, "gland": 1}}
    (path / "ref/dataset.json").write_text(json.dumps(labels))
    return path


def page_of(module_program, folder, *arguments):
    module_program("compare", *arguments, "--ref", "ref", "--html", "page.html", check=0, cwd=folder)
    return (folder / "page.html").read_text()


def test_the_cases_of_masks_lie_side_by_side(module_program, folder):
    page = page_of(module_program, folder, "near", "far")
    text = text_of(page)
    assert text.index("Use near: better than far by") < text.index("patients, one by one, in gland DSC")
    assert "There are only masks, no images." in text
    assert str(folder) not in page
    data = cases_of(page)
    assert data["arms"] == ["near", "far"]
    assert data["classes"] == [*GLAND]
    assert next(case["id"] for case in data["cases"]) == "p6"  # far off by most
    case = next(one for one in data["cases"] if one["id"] == "p3")
    original = Case("p3")
    assert np.array_equal(decoded(case["reference"], case), original.mask())
    assert np.array_equal(decoded(case["predictions"][0], case), shifted(original, 3))
    assert np.array_equal(decoded(case["predictions"][1], case), shifted(original, 11))
    assert decoded(case["image"], case).max() < 9  # black, as JPEG


def test_a_run_lends_its_images_to_the_masks_of_others(module_program, folder):
    page = page_of(module_program, folder, "run", "far")
    assert "only masks" not in text_of(page)
    case = next(one for one in cases_of(page)["cases"] if one["id"] == "p3")
    image = decoded(case["image"], case)
    assert np.corrcoef(image.ravel(), Case("p3").masks.ravel())[0, 1] > 0.7
    assert np.array_equal(decoded(case["predictions"][0], case), shifted(Case("p3"), 1))
    assert np.array_equal(decoded(case["predictions"][1], case), shifted(Case("p3"), 11))


def test_a_page_of_scores_alone_has_no_cases(module_program, folder):
    (folder / "theirs.csv").write_text("case,gland\n" + "".join(f"{name},0.5\n" for name in NAMES))
    said = module_program("compare", "run", "theirs.csv", "--html", "scores.html", check=0, cwd=folder).stdout
    assert re.search(r"page: scores\.html \(0\.\d MB\)", said)
    text = text_of((folder / "scores.html").read_text())
    assert "theirs.csv has scores without counts" in text
    assert "seeds of run: 0; of theirs.csv: not known; each" in text
    (folder / "others.csv").write_text("case,gland\n" + "".join(f"{name},0.6\n" for name in NAMES))
    module_program("compare", "others.csv", "theirs.csv", "--html", "two.html", check=0, cwd=folder)
    text = text_of((folder / "two.html").read_text())
    assert "No pictures of cases" in text
    assert "Click on a dot" not in text
    (folder / "mine.html").write_text("mine")
    wrong = module_program("compare", "run", "theirs.csv", "--html", "mine.html", check=2, cwd=folder).stderr
    assert "mine.html; choose another --html" in wrong


def test_the_folds_of_a_run_lend_their_pictures(module_program, folder):
    """`train` pools the scores of all folds beside their folders, which hold the pictures."""
    runs = [
        make_run(folder / f"folds/fold-{fold}", cases, [shifted(case, 1) for case in cases], fold)
        for fold, cases in enumerate([[Case(name, seed=1) for name in NAMES[start::2]] for start in (0, 1)])
    ]
    results.write(folder / "folds", results.pool(runs))
    page = page_of(module_program, folder, "folds", "far")
    assert sorted(case["id"] for case in cases_of(page)["cases"]) == NAMES
    assert "Click on a dot to see its case, where that is shown below." in text_of(page)


def test_a_page_of_pictures_with_labels_speaks_of_images(module_program, folder):
    for name, wrong in (("one", 1), ("two", 5)):
        rows = [{"case": f"i{at}", "label": "cat", "predicted": "dog" if at < wrong else "cat"} for at in range(9)]
        (folder / f"{name}.json").write_text(
            json.dumps({"header": {"kind": "label", "classes": ["cat", "dog"]}, "cases": rows})
        )
    module_program("compare", "one.json", "two.json", "--html", "labels.html", check=0, cwd=folder)
    text = text_of((folder / "labels.html").read_text())
    assert "The primary outcome was accuracy, by image; one.json was compared" in text
    assert "Click on a dot" not in text
    assert "pictures of cases" not in text


def test_dots_lie_where_the_scores_are():
    dots = [Dot("a<b", ["a1", "a2"], 0.5, 0.4), Dot("c", ["c"], 0.6, 0.605), Dot("d", ["d"], 0.5, 0.9)]
    found = PairedDots("adfl", "ce", "mDSC", 0.01, 0.1, -0.1, 0.3, dots)
    both = ET.fromstring(f"<div>{dots_svg(found, 'x')}</div>").findall(".//svg")
    for svg, up in zip(both, ([dot.arm for dot in dots], [dot.arm - dot.baseline for dot in dots]), strict=True):
        circles = svg.findall(".//circle")
        assert [circle.get("class") for circle in circles] == ["dot less", "dot within", "dot more"]
        heights = np.array([float(circle.get("cy")) for circle in circles])
        assert np.corrcoef(heights, up)[0, 1] == pytest.approx(-1, abs=1e-4)
        assert json.loads(circles[0].get("data-cases")) == ["a1", "a2"]
        assert circles[0].find("title").text == "a<b: ce 0.500, adfl 0.400 (-0.100)"
        assert svg.findall(".//g//circle") == []  # those at the ends of the axes are whole
    crowd = PairedDots("adfl", "ce", "mDSC", 0.01, 0.1, -0.1, 0.3, [Dot(f"{n}", [], 0.5, 0.5) for n in range(41)])
    assert dots_svg(crowd, "x").count('class="dot within many"') == 82
    band = both[1].find(".//rect[@class='band']")
    even = float(both[1].find(".//line[@class='even']").get("y1"))
    assert float(band.get("y")) + float(band.get("height")) / 2 == pytest.approx(even, abs=0.1)
