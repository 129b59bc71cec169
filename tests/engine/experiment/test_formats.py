"""What earlier versions wrote is still read: a file of each format lies in tests/formats, and a newer one is refused.

Format 0 of a run is of before formats were numbered, and of before training and scoring were two steps.
"""

import json
import shutil

import pytest

from datasets import cache
from engine.ablation.record import Record
from engine.errors import UsageError
from engine.experiment.run import Run
from engine.scoring.results import read
from engine.store import checkpoint, formats
from engine.store.scores import read_scores
from segloss import document
from segloss_tests import ROOT
from segloss_tests.stills import make_camvid

KEPT = ROOT / "tests/formats"


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """The run of format 0 and the data that it was trained on, in a folder."""
    folder = tmp_path_factory.mktemp("older")
    make_camvid(folder / "camvid")
    shutil.copytree(KEPT / "run-0", folder / "older")
    return folder


def test_it_is_evaluated_to_the_same_scores(older, module_program):
    module_program("evaluate", "older", check=0, cwd=older)
    found = json.loads((older / "older/evaluation-test-best-original/scores.json").read_text())
    kept = json.loads((older / "older/scores.json").read_text())
    assert [row["case"] for row in found["cases"]] == [row["case"] for row in kept["cases"]]
    for aggregation in ("dataset", "case", "image"):
        for metric in ("mDSC", "mIoU", "accuracy"):  # another version of torch may round a pixel to another class
            assert found[aggregation][metric] == pytest.approx(kept[aggregation][metric], abs=5e-3)
    assert "primary" not in kept["header"]
    assert found["header"]["primary"] == {"aggregation": "image", "metric": "mDSC"}
    assert str(read(older / "older").header.primary) == "image mDSC"  # as its config.yaml says


def test_it_predicts_and_is_reported_and_compared(older, module_program):
    module_program("predict", "older", "camvid/test", "--out", "masks", check=0, cwd=older)
    assert len(list((older / "masks/masks").iterdir())) == 3
    module_program("report", "older", "--out", "page.html", check=0, cwd=older)
    assert "C_001" in (older / "page.html").read_text()
    module_program("evaluate", "older", "scores.flip=true", check=0, cwd=older)
    said = module_program("compare", "older", "older/evaluation-test-best-original-flip", check=0, cwd=older).stdout
    assert "mDSC" in said or "mIoU" in said


def test_it_is_not_trained_again(older, module_program):
    (older / "older.yaml").write_text((older / "older/config.yaml").read_text().replace("headline", "primary")
                                      .replace("reading", "aggregation").replace("score: mDSC", "metric: mDSC")
                                      .replace("compile: false", "step: eager")
                                      .replace("output: runs", "output: ."))  # fmt: skip
    said = module_program("train", "older.yaml", check=0, cwd=older).stdout
    assert "older: finished already" in said


def test_what_a_dataset_json_said_is_read_from_where_it_was_kept(older, tmp_path):
    shutil.copytree(older / "older", tmp_path / "run")
    (tmp_path / "run/labels.json").write_text('{"labels": {"dark": [0, 1], "light": [2]}}')
    assert Run(tmp_path / "run").config().data.labels == {"dark": [0, 1], "light": [2]}


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Runs of each numbered format, one finished and one stopped after the first of two epochs, and their data."""
    folder = tmp_path_factory.mktemp("numbered")
    make_camvid(folder / "camvid")
    for number in range(1, formats.RUN + 1):
        for name in (f"run-{number}", f"begun-{number}"):
            shutil.copytree(KEPT / name, folder / name)
    return folder


@pytest.mark.parametrize("number", range(1, formats.RUN + 1))
def test_a_finished_run_is_evaluated_and_predicted_with_as_it_was(numbered, module_program, number):
    run = numbered / f"run-{number}"
    module_program("evaluate", run.name, check=0, cwd=numbered)
    found, kept = read_scores(run / "evaluation-test-best-original/scores.json"), read_scores(run / "scores.json")
    assert found.header == kept.header
    assert found.aggregations["image"]["mDSC"] == pytest.approx(kept.aggregations["image"]["mDSC"], abs=5e-3)
    for engine in ("run", "onnx"):  # the exported file too
        asked = ["--engine", engine] if engine != "run" else []
        module_program("predict", run.name, "camvid/test", "--out", engine, *asked, check=0, cwd=numbered)
    masks = [
        [path.read_bytes() for path in sorted((numbered / engine / "masks").iterdir())] for engine in ("run", "onnx")
    ]
    assert masks[0] == masks[1]


@pytest.mark.parametrize("number", range(1, formats.RUN + 1))
def test_a_run_that_has_begun_is_resumed(numbered, module_program, number):
    run = Run(numbered / f"begun-{number}")
    before = run.history()
    (numbered / "begun.yaml").write_text(run.config_file.read_text())
    module_program("train", "begun.yaml", check=0, cwd=numbered)
    assert run.history()[: len(before)] == before
    assert run.last_epoch == 2
    assert run.finished


@pytest.mark.parametrize("number", range(formats.ABLATION + 1))
def test_the_record_of_an_ablation_is_read(number):
    record = Record.read(KEPT / f"ablation-{number}")
    assert list(record.arms) == ["ce", "adfl"]
    assert (record.baseline, record.seeds, record.folds) == ("ce", [0, 1], [0, 1])
    assert record.smallest["DSC"] == 0.02
    assert record.paper.aggregation == "image"
    assert record.paper.values == {"ce": {"mDSC": 0.5}}
    assert [str(run.path) for run in record.runs(KEPT, "adfl", 1)] == [
        str(KEPT / f"adfl/seed-1/fold-{fold}") for fold in (0, 1)
    ]


@pytest.mark.parametrize(("run", "number"), [("run-0", 1), ("run-1", 2)])
def test_the_scores_of_every_format_are_read(run, number):
    path = KEPT / run / "scores.json"
    assert json.loads(path.read_text())["header"].get("format", 1) == number <= document.FORMAT
    assert len(read_scores(path).rows) > 0


def test_a_file_of_each_format_is_kept():
    """Whoever raises a number keeps a file of the one before, and a test that reads it."""
    assert {path.name for path in KEPT.iterdir()} == {
        *(f"run-{number}" for number in range(formats.RUN + 1)),
        *(f"begun-{number}" for number in range(1, formats.RUN + 1)),
        *(f"ablation-{number}" for number in range(formats.ABLATION + 1)),
    }
    saved = checkpoint.Checkpoint.load(KEPT / f"run-{formats.RUN}/checkpoints/last.safetensors")
    assert saved.tensors
    described = json.loads((KEPT / f"run-{formats.RUN}/exported/model.onnx.json").read_text())
    assert (described["format"], formats.CHECKPOINT, document.FORMAT) == (formats.EXPORT, 2, 2)


NEWER = {
    "environment.json": ("evaluate", "run"),
    "training.json": ("evaluate", "run"),
    "checkpoints/best.safetensors": ("evaluate", "run"),
    "exported/model.onnx.json": ("predict", "run", "camvid/test", "--engine", "onnx", "--out", "masks"),
    "scores.json": ("report", "run"),
    "ablation.json": ("report", "."),
}
"""What reads each file."""


@pytest.mark.parametrize("file", NEWER)
def test_a_newer_format_is_refused_by_name(file, numbered, module_program, tmp_path):
    (tmp_path / "camvid").symlink_to(numbered / "camvid")
    run = shutil.copytree(KEPT / f"run-{formats.RUN}", tmp_path / "run")
    path = run / file
    if file == "ablation.json":
        shutil.copy(KEPT / f"ablation-{formats.ABLATION}/ablation.json", tmp_path)
        path = tmp_path / file
    if file == "training.json":
        path.write_text(json.dumps({"run": "../other", "format": 99}))
    elif path.suffix == ".safetensors":
        path.write_bytes(path.read_bytes().replace(b"segloss-checkpoint-2", b"segloss-checkpoint-9"))
    else:
        content = json.loads(path.read_text())
        (content["header"] if file == "scores.json" else content)["format"] = 99
        path.write_text(json.dumps(content))
    said = module_program(*NEWER[file], check=2, cwd=tmp_path).stderr
    assert path.name in said
    assert "format" in said
    assert "99" in said or "segloss-checkpoint-9" in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.parametrize("found", [0, -1, 2, 1.0, True, "1", [1]])
def test_numbers_that_are_none(tmp_path, found):
    with pytest.raises(UsageError, match=r"file: its format is .*reads up to 1"):
        formats.refuse_newer(tmp_path / "file", found, 1)
    formats.refuse_newer(tmp_path / "file", None, 1)
    formats.refuse_newer(tmp_path / "file", 1, 1)


def test_the_page_lists_the_numbers_as_they_are():
    page = (ROOT / "docs/runs.md").read_text()
    for what, number in {
        "run's folder": formats.RUN,
        "ablation's folder": formats.ABLATION,
        "checkpoint": formats.CHECKPOINT,
        "exported network": formats.EXPORT,
        "scores document": document.FORMAT,
        "cache": cache.FORMAT,
    }.items():
        assert f"| {what} | {number} |" in page


def test_a_newer_record_of_an_ablation_is_not_overwritten(tmp_path):
    kept = json.loads((KEPT / f"ablation-{formats.ABLATION}/ablation.json").read_text())
    record = Record.read(KEPT / f"ablation-{formats.ABLATION}")
    path = tmp_path / "ablation.json"
    path.write_text(json.dumps(kept | {"format": 99}))
    with pytest.raises(UsageError, match="99"):
        record.write(tmp_path)
    assert json.loads(path.read_text())["format"] == 99
