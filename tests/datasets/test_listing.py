"""Cases that are left out, and problems that do not stop the list."""

import json

import pytest

import datasets
from datasets import DataError, Listing, noted
from segloss_tests.stills import make_camvid, make_folder

LABELS = {"background": 0, "organ": 1, "lesion": 2}


def ids(root, **options):
    listing = Listing(**options)
    return [case.id for case in datasets.list_cases(datasets.Folder(str(root), LABELS), None, listing)], listing


@pytest.fixture
def root(tmp_path):
    make_folder(tmp_path, count=12)
    return tmp_path


def test_cases_are_left_out_by_id_and_by_pattern_and_that_is_said(root):
    (root / "masks/case3.png").unlink()  # what is left out need not be whole
    with noted() as lines:
        found, _ = ids(root, exclude={"case3": "no mask", "case1?": None})
    assert found == [f"case{index}" for index in (0, 1, 2, 4, 5, 6, 7, 8, 9)]
    assert lines == [
        "1 case(s) left out: case3; data.exclude: case3 (no mask)",
        "2 case(s) left out: case10, case11; data.exclude: case1?",
    ]


def test_an_id_with_brackets_is_an_id(root):
    for kind in ("images", "masks"):
        (root / f"{kind}/case0.png").rename(root / f"{kind}/case[1].png")
    assert "case[1]" not in ids(root, exclude={"case[1]": None})[0]
    assert "case1" not in ids(root, exclude={"case[1-3]": None})[0]


def test_what_leaves_nothing_out_is_a_mistake(root):
    with pytest.raises(DataError, match=r"data\.exclude: 'case20' fits no case; did you mean 'case2'\?"):
        ids(root, exclude={"case20": None})
    with pytest.raises(DataError, match=r"'p\.\*' fits no case; it is an id, or a pattern with"):
        ids(root, exclude={"p.*": None})
    assert ids(root, wanted={"case1"}, exclude={"case2": None})[0] == ["case1"]  # a run that has begun without it


def test_labelled_classes_of_no_case_are_a_mistake(root):
    every, _ = ids(root, labelled={"case1": ["organ"], "case[23]": ["lesion"]})
    assert len(every) == 12
    ids(root, labelled={"case1": ["organ"]}, exclude={"case1": None})  # a table may hold what is left out
    with pytest.raises(DataError, match=r"data\.labelled: 'case20' fits no case; did you mean 'case2'\?"):
        ids(root, labelled={"case20": ["organ"]})
    ids(root, wanted={"case1"}, labelled={"case2": ["organ"]})


def test_other_adapters_leave_out_too(tmp_path):
    camvid = datasets.CamVid(str(make_camvid(tmp_path)))
    every = [case.id for case in camvid.cases()]
    assert [case.id for case in camvid.cases(Listing(exclude={every[0]: None}))] == every[1:]


@pytest.mark.parametrize("names", [["case0", "case1"], ["case0.png", "case1.png"]])
def test_a_file_of_parts_may_name_what_is_left_out(root, names):
    (root / "split.json").write_text(json.dumps({"train": names, "test": ["case2"]}))
    cases = datasets.list_cases(datasets.Folder(str(root), LABELS), None, Listing(exclude={"case1": "blurred"}))
    split = datasets.FromFile(str(root / "split.json"), exclude={"case1": "blurred"})
    assert split(cases, {}) == {"train": ["case0"], "val": [], "test": ["case2"]}
    split.refuse_other({"train": ["case0"], "val": [], "test": ["case2"]}, "split.json of the run")
    with pytest.raises(DataError, match=r"names the case 'case1\S*', which the data set does not have"):
        datasets.FromFile(str(root / "split.json"))(cases, {})


def test_a_training_part_that_was_cut_has_some_of_the_cases_of_its_file(tmp_path):
    (tmp_path / "split.json").write_text(json.dumps({"train": ["a", "b", "c"], "test": ["d"]}))
    split = datasets.FromFile(str(tmp_path / "split.json"))
    cut = {"train": ["a", "c"], "val": [], "test": ["d"]}
    split.refuse_other(cut, "split.json of the run", is_cut=True)
    with pytest.raises(DataError, match="1 cases, such as 'b', are not in the parts"):
        split.refuse_other(cut, "split.json of the run")
    for other in ({"train": ["a", "e"]}, {"test": []}):
        with pytest.raises(DataError, match=r"1 cases, such as '[de]', are not in the parts"):
            split.refuse_other({**cut, **other}, "split.json of the run", is_cut=True)


def test_every_problem_is_listed_and_the_other_cases_are_there(root):
    for index in (2, 5):
        (root / f"masks/case{index}.png").unlink()
    (root / "images/case7.png").unlink()
    (root / "masks/case8.bmp").write_bytes((root / "masks/case8.png").read_bytes())
    with pytest.raises(DataError, match="case2"):
        ids(root)
    found, listing = ids(root, keeps_problems=True)
    assert found == [f"case{index}" for index in (0, 1, 10, 11, 3, 4, 6, 9)]
    assert [str(problem).split(": ")[0].rpartition("/")[2] for problem in listing.problems] == [
        "case2.png",
        "case5.png",
        "case8.png",
        "case7.png",
    ]
