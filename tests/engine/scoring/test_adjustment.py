"""scores.adjust: what a run fits, applies, keeps and refuses, against NumPy on its own probabilities."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from segloss.document import Adjustment, ScoresDocument
from segloss_tests.runs import small_yaml

CLASSES = 11


@pytest.fixture(scope="module")
def trained(tmp_path_factory, module_program):
    folder = tmp_path_factory.mktemp("adjusted")
    module_program("train", small_yaml(folder), "output=runs", check=0, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def plain(trained, module_program):
    """By part and frame, the network's probabilities `(C, H, W)` and the masks, 11 where they do not count."""
    found = {}
    for part in ("val", "test"):
        out = trained / f"plain-{part}"
        module_program(
            "predict", "runs/small", trained / "camvid" / part, "--out", out, "--probabilities", check=0, cwd=trained
        )
        files = sorted((out / "probabilities").glob("*.npy"))
        masks = [np.array(Image.open(trained / "camvid" / f"{part}annot" / f"{file.stem}.png")) for file in files]
        found[part] = [np.load(file)[0] for file in files], masks
    return found


def scored(trained, module_program, kind, **keys):
    """What `evaluate` writes with an adjustment."""
    given = json.dumps({"kind": kind, **keys})
    said = module_program("evaluate", "runs/small", f"scores.adjust={given}", check=0, cwd=trained).stdout
    name = "-".join(["evaluation-test-best-original-adjust", kind, *(f"{value:g}" for value in keys.values())])
    return ScoresDocument.from_json(json.loads((trained / "runs/small" / name / "scores.json").read_text())), said


def counted(labels, masks):
    """The confusion matrix, rows the reference."""
    found = np.zeros((CLASSES, CLASSES), np.int64)
    for own, mask in zip(labels, masks, strict=True):
        np.add.at(found, (mask[mask < CLASSES], own[mask < CLASSES]), 1)
    return found.tolist()


def miou(labels, masks):
    found = np.array(counted(labels, masks))
    both = found.sum(0) + found.sum(1) - found.diagonal()
    return np.nanmean(np.where(both, found.diagonal() / np.maximum(both, 1), np.nan))


def test_the_prior_is_that_of_the_training_part(trained, module_program, plain):
    masks = [np.array(Image.open(path)) for path in (trained / "camvid/trainannot").iterdir()]
    counts = np.bincount(np.concatenate(masks, axis=None), minlength=CLASSES)[:CLASSES]
    found, said = scored(trained, module_program, "prior", tau=0.5)
    expected = -0.5 * np.log(counts / counts.max())
    assert found.header.adjust.offsets == pytest.approx(expected, abs=1e-6)
    assert (found.header.adjust.part, found.header.adjust.tau, found.header.adjust.temperature) == ("train", 0.5, 1)
    shares, masks = plain["test"]
    labels = [(np.log(one) + expected[:, None, None]).argmax(0) for one in shares]
    assert found.confusion == counted(labels, masks)
    assert found.confusion != counted([one.argmax(0) for one in shares], masks)
    assert "0.5 × −log of the shares of the classes in the training part" in said


def test_the_temperature_is_the_most_likely_on_validation_and_keeps_the_labels(trained, module_program, plain):
    shares, masks = plain["val"]
    z = np.concatenate([np.log(one)[:, mask < CLASSES].T for one, mask in zip(shares, masks, strict=True)])
    own = np.concatenate([mask[mask < CLASSES] for mask in masks])

    def loss(log_t):
        return -log_softmax(z / np.exp(log_t), axis=1)[np.arange(len(own)), own].mean()

    best = minimize_scalar(loss, bounds=(-4, 4), method="bounded", options={"xatol": 1e-9})
    found, _ = scored(trained, module_program, "temperature")
    adjust = found.header.adjust
    assert adjust.temperature == pytest.approx(np.exp(best.x), rel=1e-3)
    assert (adjust.before, adjust.after) == pytest.approx((loss(0.0), best.fun), abs=1e-5)
    assert (adjust.part, adjust.groups) == ("val", 1)
    assert found.confusion == counted([one.argmax(0) for one in plain["test"][0]], plain["test"][1])
    before = json.loads((trained / "runs/small/scores.json").read_text())["calibration"]
    assert found.calibration["ece"] != before["ece"]


def test_offsets_are_the_best_found_on_validation(trained, module_program, plain):
    found, said = scored(trained, module_program, "offsets", limit=2)
    adjust, (shares, masks) = found.header.adjust, plain["val"]
    offsets = np.array(adjust.offsets)[:, None, None]
    assert np.abs(offsets).max() <= 2
    assert adjust.before == pytest.approx(miou([one.argmax(0) for one in shares], masks), abs=1e-6)
    assert adjust.after == pytest.approx(miou([(np.log(o) + offsets).argmax(0) for o in shares], masks), abs=1e-6)
    assert adjust.after > adjust.before
    labels = [(np.log(one) + offsets).argmax(0) for one in plain["test"][0]]
    assert found.confusion == counted(labels, plain["test"][1])
    assert f"the best on the validation part (1 group): {adjust.before:.4f} → {adjust.after:.4f}" in said


def test_predictions_are_adjusted_and_need_no_data_once_it_is_fitted(trained, module_program, plain, tmp_path):
    found, _ = scored(trained, module_program, "prior", tau=1)
    images, away = shutil.copytree(trained / "camvid/test", tmp_path / "images"), trained / "away"
    (trained / "camvid").rename(away)
    try:
        given = ["--probabilities", "--out", tmp_path / "out", "scores.adjust={kind: prior, tau: 1}"]
        module_program("predict", "runs/small", images, *given, check=0, cwd=trained)
        refused = module_program("predict", "runs/small", images, "--out", tmp_path / "other",
                                 "scores.adjust={kind: prior, tau: 0.25}", check=2, cwd=trained)  # fmt: skip
    finally:
        away.rename(trained / "camvid")
    assert "camvid" in refused.stderr
    offsets = np.array(found.header.adjust.offsets)[:, None, None]
    for file, shares in zip(sorted((tmp_path / "out/probabilities").glob("*.npy")), plain["test"][0], strict=True):
        np.testing.assert_allclose(np.load(file)[0], softmax(np.log(shares) + offsets, axis=0), atol=2e-6)


def test_a_damaged_file_of_what_is_fitted_is_named(trained, module_program):
    scored(trained, module_program, "temperature")
    kept = trained / "runs/small/adjustment.json"
    whole = kept.read_text()
    try:
        kept.write_text(json.dumps([{"of": one["of"], "adjustment": {"kind": 1}} for one in json.loads(whole)]))
        said = module_program("evaluate", "runs/small", "scores.adjust={kind: temperature}", check=2, cwd=trained)
    finally:
        kept.write_text(whole)
    assert "adjustment.json: damaged (adjustment.part: missing); remove it" in said.stderr


@pytest.mark.slow
def test_training_with_an_adjustment_scores_with_it_and_trains_the_same(trained, module_program):
    given = ["output=own", "scores.adjust={kind: offsets, limit: 2}"]
    module_program("train", "run.yaml", *given, check=0, cwd=trained)
    one, other = (trained / name / "small" for name in ("own", "runs"))
    scores = ScoresDocument.from_json(json.loads((one / "scores.json").read_text()))
    assert scores.rows == scored(trained, module_program, "offsets", limit=2)[0].rows
    logs = [[json.loads(line)["validation"] for line in (run / "log.jsonl").read_text().splitlines()]
            for run in (one, other)]  # fmt: skip
    assert logs[0] == logs[1]
    assert "scores.adjust: added to the logits" in (one / "report.html").read_text()
    again = module_program("train", "run.yaml", "output=own", check=2, cwd=trained).stderr
    assert "`train_seg.py evaluate own/small scores.adjust=null` scores it so" in again
    again = module_program("train", "run.yaml", "output=runs", given[1], check=2, cwd=trained).stderr
    assert """scores.adjust={"kind": "offsets", "limit": 2.0}'` scores it so""" in again


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        (["scores.adjust={kind: priors}"], "scores.adjust.kind: unknown adjust 'priors'; did you mean 'prior'?"),
        (["scores.adjust={kind: prior, tau: -1}"], "scores.adjust.tau: must be greater than or equal to 0, got -1"),
        (["scores.adjust={tau: 1}"], "scores.adjust: missing kind; kind is one of prior, temperature, offsets"),
        (["scores.adjust={kind: prior}", "loss.name=sigmoid_ce"], "trains sigmoid outputs; use {kind: offsets}"),
        (["scores.adjust={kind: temperature}", "loss.name=mse"], "the loss mse trains none; use {kind: offsets}"),
    ],
)
def test_what_does_not_go_together_is_refused(trained, module_program, overrides, line):
    assert line in module_program("train", "run.yaml", "name=no", *overrides, check=2, cwd=trained).stderr


def test_without_validation_nothing_is_trained(trained, module_program):
    split = "data.split={kind: holdout, test: 1, val: 0}"
    given = ["name=unvalidated", "data.group=case", split, "scores.adjust={kind: temperature}"]
    said = module_program("train", "run.yaml", *given, check=2, cwd=trained).stderr
    assert "scores.adjust: temperature is fitted on the validation part, which is empty" in said
    assert not (trained / "runs/unvalidated/checkpoints").exists()


def test_the_adjustment_of_a_document_is_read_key_by_key():
    given = {"kind": "offsets", "part": "val", "groups": 3, "offsets": [0, 1.5], "temperature": 1, "before": None}
    found = Adjustment.from_json(given, "header.adjust")
    assert found == Adjustment(kind="offsets", part="val", groups=3, offsets=[0, 1.5], temperature=1)
    with pytest.raises(ValueError, match=r"header\.adjust\.offsets\.1: a number is needed, got 'x'"):
        Adjustment.from_json(given | {"offsets": [0, "x"]}, "header.adjust")
