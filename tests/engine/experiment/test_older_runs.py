"""A run of version 0.1.0 before training and scoring were two steps is still evaluated, predicted with and reported."""

import json
import shutil

import pytest

from engine.experiment.run import Run
from engine.scoring.results import read
from segloss_tests import ROOT
from segloss_tests.stills import make_camvid


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """The run and the data that it was trained on, in a folder."""
    folder = tmp_path_factory.mktemp("older")
    make_camvid(folder / "camvid")
    shutil.copytree(ROOT / "tests/older_run", folder / "older")
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
