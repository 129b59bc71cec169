"""`check`: what a data set holds, and each defect by name."""

import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from engine.configuration import build
from engine.configuration.checking import load_config
from engine.console.display import Display
from engine.data_check.check import check_data
from engine.data_check.report import by_beta, sections
from engine.experiment.experiment import Experiment
from engine.verbs.check import check

YAML = """\
name: look
data:
  {name: folder, root: data, labels: {background: 0, organ: 1, lesion: 2}, size: [16, 16], workers: 0,
   split: {kind: file, path: split.json}, group: case}
model: {name: unet, encoder: resnet18}
loss: {name: ce}
optim: {name: adam, lr: 1e-3}
"""


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(path)


@pytest.fixture
def data(tmp_path):
    """Eight images of 20x24 with background, an organ and a lesion; a configuration and a split of them."""
    rng = np.random.default_rng(0)
    for index in range(8):
        mask = np.zeros((20, 24))
        mask[5:15, 5:15], mask[8:10, 8:10] = 1, 2
        save(tmp_path / f"data/masks/s{index}.png", mask)
        save(tmp_path / f"data/images/s{index}.png", rng.integers(0, 255, (20, 24, 3)))
    (tmp_path / "look.yaml").write_text(YAML)
    split(tmp_path)
    return tmp_path


def split(root, train=(0, 1, 2, 3), val=(4,), test=(5, 6, 7)):
    parts = {"train": train, "val": val, "test": test}
    (root / "split.json").write_text(json.dumps({part: [f"s{i}" for i in ids] for part, ids in parts.items()}))


@pytest.mark.parametrize("kind", ["holdout, test: 2, val: 1", "kfold, folds: 4, val: 1", "file, path: split.json"])
def test_the_check_divides_as_training_does(data, monkeypatch, kind):
    monkeypatch.chdir(data)
    (data / "look.yaml").write_text(YAML.replace("file, path: split.json", kind))
    config = load_config(data / "look.yaml")
    assert next(iter(check_data(config).splits.values())) == Experiment.prepare(config).data.split


@pytest.mark.usefixtures("rendered_figures")
def test_tells_what_is_there(data, program):
    done = program("check", "look.yaml", "--html", check=0)
    for fact in (
        "8 cases in 8 groups, 8 images; columns x rows: 24x20 (8)",
        "Imbalance ratio, the pixels of the largest class over those of the smallest: 95.0.",  # 380 : 4
        "inverse_",
        "median_",
    ):
        assert fact in done.stdout, fact
    rows = {line.split("│")[1].strip(): line for line in done.stdout.splitlines() if line.startswith("│")}
    assert "3,040" in done.stdout  # 8 · 380 background pixels
    assert "0.8333%" in done.stdout  # 4 of 480
    assert {"cases", "groups", "images", "share of lesion"} <= rows.keys()
    page = (data / "runs/look-check/check.html").read_text()
    assert "data:image/png;base64," in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org/", "")  # the namespaces of SVG
    for name in ("samples.png", "samples_smallest.png"):
        assert (data / "runs/look-check" / name).stat().st_size > 5000
    assert not (data / "runs/look-check/samples_named.png").exists()  # nothing is said of any
    assert "effective_number (image), beta by beta" in done.stdout
    assert (data / "runs/look-check/effective_number.png").stat().st_size > 5000


def cut(root):
    path = root / "data/images/s1.png"
    path.write_bytes(path.read_bytes()[:200])


def filled(index, value, columns=24):
    return lambda root: save(root / f"data/masks/s{index}.png", np.full((20, columns), value))


def group_in_two(root):
    (root / "look.yaml").write_text(YAML.replace("group: case", "group: '(s)'"))


def coloured(root):
    (root / "look.yaml").write_text(
        YAML.replace("{background: 0, organ: 1, lesion: 2}", "{background: [[0, 0, 0]], organ: [[255, 0, 0]]}")
    )
    for index in range(8):
        save(root / f"data/masks/s{index}.png", np.full((20, 24, 3), [255, 0, 0] if index else [255, 0, 1]))


def twin(root):
    for kind in ("images", "masks"):
        (root / f"data/{kind}/s6.png").write_bytes((root / f"data/{kind}/s0.png").read_bytes())


def healthy(root):
    for index in range(4):
        save(root / f"data/masks/s{index}.png", np.pad(np.ones((10, 10)), ((5, 5), (5, 9))))


DEFECTS = {
    "an unreadable file": (cut, "data/images/s1.png: not a readable image, damaged or cut short"),
    "a missing mask": (lambda root: (root / "data/masks/s2.png").unlink(), "data/images/s2.png: no mask data/masks/s2"),
    "a foreign label": (
        lambda root: save(root / "data/masks/s3.png", np.full((20, 24), 9)),
        "s3.png: label 9 (480 pixels)",
    ),
    "a size mismatch": (lambda root: save(root / "data/masks/s4.png", np.zeros((20, 23))), "s4.png: 23x20 pixels, but"),
    "an all-ignored mask": (
        lambda root: save(root / "data/masks/s5.png", np.full((20, 24), 255)),
        "s5.png: every pixel is",
    ),
    "a doubled image": (twin, "the cases 's0' (train) and 's6' (test) have equal pixels"),
    "a class absent from training": (healthy, "no pixel of lesion in the train part"),
    "a group in two parts": (group_in_two, "the group 's' is in train and in val"),
    "an empty split": (lambda root: split(root, test=()), "the test part is empty"),
    "a wrong colour": (coloured, "s0.png: colour [255, 0, 1] (480 pixels)"),
}


@pytest.mark.parametrize("defect", list(DEFECTS))
def test_finds_each_defect_and_names_it(data, program, defect):
    plant, message = DEFECTS[defect]
    plant(data)
    done = program("check", "look.yaml", check=2)
    assert message in done.stdout + done.stderr


@pytest.mark.parametrize("changed", ["images/s2.png", "masks/s2.png"])
def test_finds_what_has_changed_behind_the_caches_back(data, program, monkeypatch, changed):
    path = data / "data" / changed
    pixels = np.asarray(Image.open(path)).copy()
    Image.fromarray(pixels).save(path, compress_level=0)  # so large whatever it shows
    monkeypatch.chdir(data)
    config = load_config(Path("look.yaml"))
    cache = build.build_cache(config.data, config.output, build.build_adapter(config.data))
    list(cache.decode(cache.adapter.cases()))
    assert "other pixels" not in program("check", "look.yaml", check=0).stdout
    before = path.stat()
    pixels[0, 0] = 1 if changed.startswith("masks") else pixels[0, 0] ^ 1
    Image.fromarray(pixels).save(path, compress_level=0)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert "s2.png: the cache holds other pixels" in program("check", "look.yaml", check=2).stdout


def test_lists_all_that_is_wrong_at_once(data, program):
    for defect in ("an unreadable file", "a foreign label", "a size mismatch", "an all-ignored mask"):
        DEFECTS[defect][0](data)
    said = program("check", "look.yaml", check=2).stdout
    assert "4 problem(s)" in said
    for defect in ("an unreadable file", "a foreign label", "a size mismatch", "an all-ignored mask"):
        assert DEFECTS[defect][1] in said


def test_looks_at_every_fold(data, program):
    said = program("check", "look.yaml", "data.split={kind: kfold, folds: 4, val: 0}", check=0).stdout
    assert [f"Split fold {fold}" in said for fold in range(4)] == [True] * 4


def two_folds(root, first, second):
    """A split of two folds, by the numbers of their training cases; the last case is the test of both."""
    parts = [{"train": [f"s{i}" for i in ids], "test": ["s7"]} for ids in (first, second)]
    (root / "split.json").write_text(json.dumps(parts))


@pytest.mark.parametrize(("fold", "images"), [("0", [4, 4, 4]), ("1", [3, 3, 2]), ("all", [4, 4, 4])])
def test_class_weights_are_those_of_the_fold_that_is_trained(data, monkeypatch, fold, images):
    """By hand: all images hold background and organ, s4 no lesion."""
    monkeypatch.chdir(data)
    save(data / "data/masks/s4.png", np.pad(np.ones((10, 10)), ((5, 5), (5, 9))))
    two_folds(data, (0, 1, 2, 3), (4, 5, 6))
    found = check_data(load_config(data / "look.yaml", [f"data.split.fold={fold}"]))
    assert by_beta(found)[0] == images
    titles = [section.title for section in sections(found, {}, None, None)]
    assert sum(f"(training part of fold {fold.replace('all', '0')}, " in title for title in titles) == 1


def test_what_is_wrong_with_a_fold_is_told_where_the_next_cannot_be_divided(data, monkeypatch):
    monkeypatch.chdir(data)
    (data / "data/images/s7.png").write_bytes((data / "data/images/s0.png").read_bytes())
    two_folds(data, (0, 1, 2, 3), (9,))
    problems = check_data(load_config(data / "look.yaml", ["data.split.fold=all"])).problems
    assert [one for one in problems if "'s9', which the data set does not have" in one]
    assert [one for one in problems if one.startswith("fold 0: the cases 's0' (train) and 's7' (test) have equal")]


def test_names_in_a_page_stay_text(data, program):
    text = YAML.replace("lesion", "'<script>x</script>'")
    (data / "look.yaml").write_text(text)
    program("check", "look.yaml", "--html", check=0)
    page = (data / "runs/look-check/check.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def checked(folder, *overrides):
    """What `check` says, and its document."""
    config = load_config(folder / "look.yaml", overrides)
    shown = io.StringIO()
    display = Display(Console(file=shown, width=500, soft_wrap=True))
    well = check(config, Path("look.yaml"), overrides, html=False, clear_cache=False, display=display)
    document = json.loads((folder / "runs/look-check/check.json").read_text())
    assert well is not bool(document["problems"])
    return shown.getvalue().splitlines(), document


def test_all_kinds_are_listed_each_once_and_then_what_to_do(data, monkeypatch):
    monkeypatch.chdir(data)
    for index in (0, 1, 2, 3):
        (data / f"data/masks/s{index}.png").unlink()
    for index in (4, 5):
        save(data / f"data/masks/s{index}.png", np.full((20, 24), 9))
    lines, document = checked(data, "data.split={kind: holdout, test: 1, val: 0}")
    assert lines[0] == "6 problem(s) of 2 kinds:"
    assert lines[1].startswith("  4 of a kind: data/images/s0.png: no mask data/masks/s0.*; add it")
    assert lines[1].endswith("(also data/images/s1.png, data/images/s2.png, …)")
    assert lines[2].startswith("  2 of a kind: data/masks/s4.png: label 9 (480 pixels)")
    assert lines[-1].startswith(
        "next: mend the 2 kind(s) of problems listed first, or leave cases out with data.exclude"
    )
    assert [(kind["count"], len(kind["names"]), len(kind["messages"])) for kind in document["problems"]][:2] == [
        (4, 4, 4),
        (2, 2, 2),
    ]
    assert (document["cases"], document["images"]) == (2, 2)
    assert document["classes"]["lesion"] == {"pixels": 8, "images": 2, "components": 2}


def test_equal_pixels_are_one_problem_in_all_folds_and_the_remedy_mends_it(data, monkeypatch):
    monkeypatch.chdir(data)
    twin(data)
    folds = "data.split={kind: kfold, folds: 4, fold: all, val: 1}"
    _, document = checked(data, folds)
    (kind,) = document["problems"]
    assert kind["count"] == 1
    assert re.fullmatch(r"fold \d: the cases 's\d' .* and 's\d' .* have equal pixels; leave one out, .*", kind["line"])
    remedy = kind["line"].split("leave one out, ")[1].replace(": ", "=")
    assert remedy in ("data.exclude=['s0']", "data.exclude=['s6']")
    assert checked(data, folds, remedy)[1]["problems"] == []
    _, document = checked(data, "data.split={kind: kfold, folds: 3, fold: all, val: 1}", "data.group='(s)[06]|.*'")
    assert [note for note in document["notes"] if "pixels" in note] == [
        "1 case(s) have the pixels of another one in the same part: s6 (as s0); data.exclude leaves them out"
    ]


def test_what_is_left_out_is_no_problem_and_is_kept_in_the_configuration(data, monkeypatch):
    monkeypatch.chdir(data)
    (data / "data/masks/s2.png").unlink()
    lines, document = checked(data, "data.exclude=[{case: s2, reason: not drawn}, 's[67]']")
    assert document["notes"] == [
        "1 case(s) left out: s2; data.exclude: s2 (not drawn)",
        "2 case(s) left out: s6, s7; data.exclude: s[67]",
    ]
    assert document["splits"] == {"": {"train": ["s0", "s1", "s3"], "val": ["s4"], "test": ["s5"]}}
    assert lines[-1].startswith("next: read what is worth knowing, then ")
    assert lines[-1].endswith(
        "train_seg.py train look.yaml 'data.exclude=[{case: s2, reason: not drawn}, '\"'\"'s[67]'\"'\"']'"
    )
    config = load_config(data / "look.yaml", ["data.exclude=[s2, 's[67]']"])
    assert config.document()["data"]["exclude"] == [{"case": "s2", "reason": None}, {"case": "s[67]", "reason": None}]
    assert Experiment.prepare(config).data.split["test"] == ["s5"]
