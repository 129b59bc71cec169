"""Cases that were labelled for some classes alone: what says so, and masks that say otherwise."""

import pytest

import datasets
from datasets import DataError, Listing

CLASSES = ("background", "liver", "spleen")


def table(tmp_path, text):
    path = tmp_path / "labelled.csv"
    path.write_text(text)
    return path


def test_a_table_says_what_cases_were_labelled_for(tmp_path):
    path = table(tmp_path, "classes;case;age\n")
    assert datasets.read_labelled(path) == {}
    path = table(tmp_path, "case,age,classes\np1,7, liver ; spleen\n\np2_*,8,liver\n")
    assert datasets.read_labelled(path) == {"p1": ["liver", "spleen"], "p2_*": ["liver"]}
    with pytest.raises(DataError, match=r"labelled\.csv:3: the case 'p1' stands there twice; keep one line a case"):
        datasets.read_labelled(table(tmp_path, "case,classes\np1,liver\np1,spleen\n"))
    with pytest.raises(DataError, match=r"needs one column 'classes' \(data\.labelled\); the columns are 'case', 'o"):
        datasets.read_labelled(table(tmp_path, "case,organ\np1,liver\n"))
    with pytest.raises(DataError, match=r"absent\.csv: no such file \(data\.labelled\)"):
        datasets.read_labelled(tmp_path / "absent.csv")


def test_an_id_goes_before_patterns_and_of_these_the_first():
    listing = Listing(labelled={"p?": ["liver"], "*": ["spleen"], "p2": []})
    assert listing.labelled_for("p1") == {"liver"}
    assert listing.labelled_for("q") == {"spleen"}
    assert listing.labelled_for("p2") == frozenset()
    assert Listing(labelled={"p?": ["liver"]}).labelled_for("q") is None


def case(labelled):
    return datasets.Case("p1", "p1", "p1.png", "p1_mask.png", labelled=labelled)


def test_a_case_was_labelled_for_the_background_and_for_what_is_named():
    assert datasets.labelled_classes(case(frozenset({"spleen"})), CLASSES).tolist() == [True, False, True]
    assert datasets.labelled_classes(case(None), CLASSES).all()


def test_a_mask_that_holds_another_class_is_refused():
    datasets.refuse_unlabelled(case(frozenset({"spleen"})), (5, 0, 7), CLASSES)
    says = r"p1_mask\.png: holds 3 pixels of liver, which the case 'p1' was not labelled for; name it in data\.labelled"
    with pytest.raises(DataError, match=says):
        datasets.refuse_unlabelled(case(frozenset({"spleen"})), (5, 3, 7), CLASSES)
