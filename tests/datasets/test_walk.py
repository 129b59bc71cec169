"""Links are followed, loops and links to nothing are said, and what a file names stays in its folder."""

import json

import numpy as np
import pytest

import datasets
from datasets import DataError, Folder, NiftiFolder, Volume, noted, read_volume, write_volume
from datasets.walk import walk
from datasets.written import note
from engine.scoring.mask_options import Options
from engine.scoring.mask_pairs import MaskPairs
from engine.scoring.prediction import inputs
from segloss_tests.stills import make_folder

LABELS = {"background": 0, "organ": 1, "lesion": 2}


def names(folder):
    return [path.relative_to(folder).as_posix() for path in walk(folder)]


def test_the_order_is_that_of_the_names_and_hidden_files_are_passed_over(tmp_path):
    for name in ("b/x.png", "a.png", "a/z.png", "a/.git/y.png", ".h/x.png", "a-b/c/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    visible = [path for path in tmp_path.rglob("*") if "/." not in path.as_posix()]
    assert list(walk(tmp_path)) == sorted(visible)
    assert names(tmp_path / "gone") == names(tmp_path / "a.png") == []


def test_links_to_folders_are_followed_and_loops_are_said(tmp_path):
    (tmp_path / "data/a").mkdir(parents=True)
    (tmp_path / "store").mkdir()
    (tmp_path / "store/x.png").touch()
    (tmp_path / "data/b").symlink_to(tmp_path / "store")
    (tmp_path / "data/a/up").symlink_to(tmp_path / "data")
    (tmp_path / "data/self").symlink_to(tmp_path / "data/self")
    (tmp_path / "store/back").symlink_to(tmp_path / "data/b")
    with noted() as lines:
        assert names(tmp_path / "data") == ["a", "a/up", "b", "b/back", "b/x.png", "self"]
    assert lines == [
        f"2 link(s) to a folder that they lie in themselves are passed over: {tmp_path}/data/a/up, "
        f"{tmp_path}/data/b/back; remove them"
    ]


@pytest.fixture
def annexed(tmp_path):
    """Six cases: two folders of them links, and of the others each file a link, as git-annex lays them."""
    make_folder(tmp_path / "data")
    for kind in ("images", "masks"):
        for index in range(6):
            path = tmp_path / f"data/{kind}/case{index}.png"
            store = tmp_path / ("cohort" if index < 2 else ".annex") / kind / path.name
            store.parent.mkdir(parents=True, exist_ok=True)
            path.rename(store)
            if index >= 2:
                path.symlink_to(store)
        (tmp_path / "data" / kind / "cohort").symlink_to(tmp_path / "cohort" / kind)
    return tmp_path


def test_half_of_a_cohort_may_be_links(annexed):
    adapter = Folder(str(annexed / "data"), LABELS)
    cases = datasets.list_cases(adapter, None)
    assert [case.id for case in cases] == [*(f"case{index}" for index in range(2, 6)), "cohort/case0", "cohort/case1"]
    assert all(adapter.read(case).mask.max() == 2 for case in cases)


def test_predict_and_scores_find_them_too(annexed):
    found = inputs([annexed / "data/images"], Folder(str(annexed / "data"), LABELS), annexed / "out")
    assert [one.name for one in found][-2:] == ["cohort/case0", "cohort/case1"]
    pairs = MaskPairs.find(annexed / "data/masks", annexed / "data/masks", Options(labels=LABELS))
    assert len(pairs.files) == 6


def test_a_link_to_nothing_says_how_to_get_it(annexed):
    (annexed / ".annex/masks/case3.png").unlink()
    says = r"masks/case3\.png: a link to .*\.annex/masks/case3\.png, which is not there; fetch .*datalad get"
    with pytest.raises(DataError, match=says):
        datasets.list_cases(Folder(str(annexed / "data"), LABELS), None)


def test_predictions_behind_a_link_are_no_references(annexed):
    folder = annexed / "cohort"
    note(folder, "predict", ["masks/case0.png"], finished=True)
    with pytest.raises(DataError, match=r"cohort/case0\.png: 1 predicted by this program"):
        datasets.list_cases(Folder(str(annexed / "data"), LABELS), None)


def test_volumes_of_links_and_what_their_headers_name(tmp_path):
    """An `.mhd` names its data beside it, be that a link; a name that climbs out is refused, be there a link or not."""
    scan = Volume(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4))
    store = tmp_path / "annex/objects"
    store.mkdir(parents=True)
    write_volume(scan, store / "a.mhd")
    data = tmp_path / "data"
    data.mkdir()
    for index, name in enumerate(("a.mhd", "a.zraw")):
        (store / str(index)).mkdir()
        (store / name).rename(store / str(index) / "key")
        (data / name).symlink_to(store / str(index) / "key")
    assert np.array_equal(read_volume(data / "a.mhd").array, scan.array)
    header = (data / "a.mhd").read_text()
    (data / "b.mhd").write_text(header.replace("a.zraw", "sub/../../annex/objects/1/key"))
    with pytest.raises(DataError, match="lies outside its folder"):
        read_volume(data / "b.mhd")
    (store / "1/key").unlink()
    with pytest.raises(DataError, match=r"a\.zraw: a link to .*annex/objects/1/key, which is not there"):
        read_volume(data / "a.mhd")


def test_a_dataset_json_may_name_links_and_nothing_outside(tmp_path):
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / "store").mkdir(exist_ok=True)
        (tmp_path / "data" / folder).mkdir(parents=True)
        write_volume(Volume(np.ones((2, 3, 4), np.uint8), np.eye(4)), tmp_path / f"store/{folder}.mha")
        (tmp_path / f"data/{folder}/a.mha").symlink_to(tmp_path / f"store/{folder}.mha")
    content = {"modality": {"0": "T2"}, "labels": {"0": "background", "1": "gland"}}
    named = {"image": "./imagesTr/a.mha", "label": "./labelsTr/a.mha"}
    (tmp_path / "data/dataset.json").write_text(json.dumps(content | {"training": [named]}))
    adapter = NiftiFolder(str(tmp_path / "data"))
    assert adapter.read(adapter.cases()[0]).mask.min() == 1
    named["image"] = "imagesTr/../../store/imagesTr.mha"
    (tmp_path / "data/dataset.json").write_text(json.dumps(content | {"training": [named]}))
    with pytest.raises(DataError, match="which is no file below"):
        NiftiFolder(str(tmp_path / "data")).cases()
