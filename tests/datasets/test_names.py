"""Names that a line, a page or a file system cannot take are refused, or written all the same."""

import json
import os
import unicodedata

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets.files import NAME_BYTES, beside_of, leftovers, write_atomically
from datasets.volume import Volume

LABELS = {"background": 0, "lesion": 1}


def folder(root, names):
    for kind, mode in (("images", "RGB"), ("masks", "L")):
        (root / kind).mkdir(parents=True)
        for name in names:
            Image.new(mode, (4, 4)).save(root / kind / "x.png")
            (root / kind / "x.png").rename(root / kind / os.fsdecode(name))
    return datasets.Folder(str(root), LABELS)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (b"a\xffb.png", r"(images|masks)/a\\udcffb\.png: a name with bytes that are no UTF-8; rename it"),
        (b"a\nb.png", r"images/a\\nb\.png: a name with a control character; rename it"),
        (b"a\x1b[31mb.png", r"a\\x1b\[31mb\.png: a name with a control character"),
    ],
)
def test_what_no_line_can_hold_is_refused(tmp_path, name, says):
    with pytest.raises(datasets.DataError, match=says):
        datasets.list_cases(folder(tmp_path / "data", [b"good.png", name]), None)


def test_other_strange_names_are_cases(tmp_path):
    names = ["$x$", "[b]", "前列腺", "a b", "n" * 240, "<i>&amp;"]
    cases = datasets.list_cases(folder(tmp_path / "data", [f"{name}.png".encode() for name in names]), None)
    assert sorted(case.id for case in cases) == sorted(names)


@pytest.mark.parametrize("name", ["n" * 250 + ".json", "前" * 83 + ".json"])
def test_the_longest_names_are_written(tmp_path, name):
    assert len(name.encode()) <= NAME_BYTES
    write_atomically(tmp_path / name, b"{}")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    beside_of(tmp_path / name).touch()  # of a writer that was killed
    assert len(leftovers(tmp_path, "*")) == 1


def test_so_are_volumes_of_long_names(tmp_path):
    path = tmp_path / f"{'n' * 245}.mha"
    datasets.write_volume(Volume(np.zeros((2, 3, 4), np.uint8), np.eye(4)), path)
    assert datasets.read_volume(path).array.shape == (2, 3, 4)


def test_names_are_the_same_with_composed_and_decomposed_letters(tmp_path):
    """File systems of a Mac decompose the letters of names, lists and other systems do not."""
    composed, decomposed = (unicodedata.normalize(form, "Bühler") for form in ("NFC", "NFD"))
    root = tmp_path / "data"
    folder(root, [composed.encode() + b".png", b"b.png"])
    (root / f"masks/{composed}.png").rename(root / f"masks/{decomposed}.png")
    adapter = datasets.Folder(str(root), LABELS)
    cases = datasets.list_cases(adapter, None)
    assert [case.id for case in cases] == sorted([composed, "b"])
    split = datasets.Recorded({"train": [decomposed], "val": [], "test": ["b"]}, "split.json")
    assert split(cases, {})["train"] == [composed]


@pytest.mark.parametrize("ending", ["", ".png", ".nii.gz"])
def test_a_list_may_name_files_with_their_ending(tmp_path, ending):
    cases = datasets.list_cases(folder(tmp_path / "data", [b"a.1.png", b"b.png"]), None)
    (tmp_path / "split.json").write_text(
        json.dumps({"train": [f"a.1{ending}"], "test": [f"b{ending}"]}), encoding="utf-8-sig"
    )
    splitter = datasets.FromFile(str(tmp_path / "split.json"))
    split = splitter(cases, dict.fromkeys(("a.1", "b"), 0.1))
    assert split == {"train": ["a.1"], "val": [], "test": ["b"]}
    splitter.refuse_other(split, "split.json of the run")
