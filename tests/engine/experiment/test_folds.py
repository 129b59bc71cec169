"""Every fold of a run: scores of all held-out cases, runs that go on, the networks together."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import datasets
from datasets import DataError
from datasets.split_file import FromFile
from datasets.splits import Holdout, KFold
from engine.scoring.inference import Ensemble
from engine.scoring.pooling import pooled
from segloss.document import ScoresDocument
from segloss_tests.cases import SHARES, people

YAML = """\
name: p
model: {name: unet, encoder: resnet18, depth: 3, decoder_channels: [16, 8, 8]}
loss: {name: ce}
optim: {name: adam, lr: 1e-3}
train: {epochs: 1, batch_size: 8, device: cpu}
data:
  name: phantom
  root: scans
  patients: 4
  size: [32, 32]
  split: {kind: kfold, folds: 2, fold: all, val: 1}
  workers: 0
  context: 1
  slices: {margin: 1}
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory, module_program, cells_here):
    folder = tmp_path_factory.mktemp("folds")
    (folder / "p.yaml").write_text(YAML)
    return folder, module_program("train", "p.yaml", cwd=folder, check=0)


def test_every_patient_is_held_out_once_and_scored_together(trained):
    """The pooled scores are those of all rows, worked out again from the counts of each fold."""
    folder, told = trained
    runs = [folder / f"runs/p/fold-{fold}" for fold in range(2)]
    splits = [json.loads((run / "split.json").read_text()) for run in runs]
    assert sorted(splits[0]["test"] + splits[1]["test"]) == [f"Case{n:02d}" for n in range(4)]
    whole = json.loads((folder / "runs/p/scores.json").read_text())
    of_folds = [json.loads((run / "scores.json").read_text()) for run in runs]
    rows = [row for document in of_folds for row in document["cases"]]
    assert [{k: v for k, v in row.items() if k != "fold"} for row in whole["cases"]] == rows
    gland = [row for row in rows if row["class"] == "prostate"]
    assert whole["case"]["units"] == len(gland) == 4
    assert whole["case"]["mDSC"] == pytest.approx(np.mean([row["DSC"] for row in gland]))
    assert whole["case"]["classes"]["prostate"]["HD95"] == pytest.approx(np.mean([row["HD95"] for row in gland]))
    tp, fp, fn = (sum(row[key] for row in gland) for key in ("tp", "fp", "fn"))
    assert whole["dataset"]["mDSC"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    counts = [(d["image"]["units"] - d["image"]["left_out"], d["image"]["mDSC"]) for d in of_folds]
    assert whole["image"]["mDSC"] == pytest.approx(sum(n * v for n, v in counts) / sum(n for n, _ in counts))
    assert whole["image"]["units"] == 80
    with (folder / "runs/p/images.csv").open() as file:
        slices = list(csv.DictReader(file))
    assert len(slices) == 160
    assert sum(int(row["tp"]) for row in slices if row["class"] == "prostate") == tp
    assert "mean training mask" in told.stdout
    gland = 1
    assert np.array_equal(whole["confusion"], np.sum([d["confusion"] for d in of_folds], axis=0))
    assert whole["confusion"][gland][gland] == tp
    assert whole["confusion"][gland][1 - gland] == fn
    found = [d["calibration"] for d in (whole, *of_folds)]
    counts = np.array([[one["count"] for one in each["classes"]["prostate"]["bins"]] for each in found])
    assert np.array_equal(counts[0], counts[1:].sum(0))
    assert counts[0].sum() == np.sum(whole["confusion"])
    assert found[0]["ece"] <= (found[1]["ece"] * counts[1].sum() + found[2]["ece"] * counts[2].sum()) / counts[0].sum()


def test_folds_of_an_older_program_are_pooled_without_what_they_lack(trained):
    folder, _ = trained
    documents = [json.loads((folder / f"runs/p/fold-{fold}/scores.json").read_text()) for fold in range(2)]
    for key in ("confusion", "calibration"):
        del documents[1][key]
    whole = pooled([*map(ScoresDocument.from_json, documents)], [[], []])
    assert (whole.confusion, whole.calibration) == (None, None)
    assert whole.aggregations["case"]["units"] == 4


def test_the_same_command_trains_nothing_twice_and_another_configuration_is_refused(trained, module_program):
    folder, _ = trained
    before = (folder / "runs/p/fold-1/checkpoints/last.safetensors").stat().st_mtime_ns
    again = module_program("train", "p.yaml", cwd=folder, check=0)
    assert "runs/p: 2 folds, 2 finished" in again.stdout
    assert (folder / "runs/p/fold-1/checkpoints/last.safetensors").stat().st_mtime_ns == before
    assert (
        "holds another run: loss.0.name"
        in module_program("train", "p.yaml", "loss.name=dice", cwd=folder, check=2).stderr
    )


def test_a_fold_that_was_killed_before_its_page_gets_one(trained, module_program):
    folder, _ = trained
    page = folder / "runs/p/fold-1/report.html"
    before = page.read_text()
    page.unlink()
    for name in (".lock", ".report.html.99-0123abcd"):
        (page.parent / name).touch()
    module_program("train", "p.yaml", cwd=folder, check=0)
    assert page.read_text() == before
    assert not [*page.parent.glob(".*")]


@pytest.mark.parametrize("left", [None, "fold-0/.lock"])
def test_folds_that_were_killed_before_one_had_begun_are_no_folder_of_another_program(
    trained, module_program, monkeypatch, left
):
    """Once the configurations of the folds are written; or, of several processes, once the first has its lock."""
    folder, name = trained[0], f"name=killed-{left is None}"

    class KilledError(BaseException):
        pass

    def killed(*_):
        raise KilledError

    monkeypatch.setattr("engine.ablation.executors.LocalExecutor._connect", killed)
    if left is not None:
        path = folder / "runs" / name.removeprefix("name=") / left
        path.parent.mkdir(parents=True)
        path.touch()
    for _ in range(2):
        with pytest.raises(KilledError):
            module_program("train", "p.yaml", name, cwd=folder)


@pytest.mark.slow
def test_the_ensemble_predicts_the_mean_of_its_folds(trained, module_program):
    folder, _ = trained
    scan = next(path for path in sorted((folder / "scans").rglob("Case*.mhd")) if "segm" not in path.name)
    shares = []
    for name in ("p/fold-0", "p/fold-1", "p"):
        call = ("predict", f"runs/{name}", scan, "--out", name, "--probabilities", "--format", "nii.gz", "--checkpoint")
        module_program(*call, "last", cwd=folder, check=0)
        shares.append(datasets.read_volume(folder / name / f"probabilities/{scan.stem}.nii.gz").array)
    odds = [np.log(one[..., 1] / one[..., 0]) for one in shares]
    np.testing.assert_allclose(odds[2], (odds[0] + odds[1]) / 2, atol=1e-4)
    mask = datasets.read_volume(folder / f"p/masks/{scan.stem}.nii.gz")
    assert np.array_equal(mask.array, (shares[2][..., 1] > shares[2][..., 0]).astype(np.uint8))
    assert mask.geometry.difference(datasets.read_volume(scan).geometry) is None


@pytest.mark.slow
def test_evaluate_scores_all_folds_again(trained, module_program):
    folder, _ = trained
    module_program("evaluate", "runs/p", "scores.grid=network", cwd=folder, check=0)
    again = json.loads((folder / "runs/p/evaluation-test-best-network/scores.json").read_text())
    assert (again["header"]["grid"], again["case"]["units"]) == ("network", 4)
    spacing = [row["reference_ml"] for row in again["cases"] if row["class"] == "prostate"]
    whole = json.loads((folder / "runs/p/scores.json").read_text())
    original = [row["reference_ml"] for row in whole["cases"] if row["class"] == "prostate"]
    np.testing.assert_allclose(spacing, original, rtol=0.1)  # millilitres do not depend on the grid


def test_ensembles_are_the_mean_of_logits():
    networks = [torch.nn.Conv2d(1, 2, 1) for _ in range(3)]
    images = torch.randn(2, 1, 4, 4)
    expected = sum(network(images) for network in networks) / 3
    torch.testing.assert_close(Ensemble(networks)(images), expected)


# Divisions


def test_every_fold_is_for_train_alone():
    for splitter in (KFold(folds=3, fold="all"), Holdout(repeats=4, fold="all")):
        assert splitter.divisions() == {KFold: 3, Holdout: 4}[type(splitter)]
        with pytest.raises(DataError, match=r"data\.split\.fold: all stands for every fold"):
            splitter(people(), SHARES)


def test_nnunet_splits_hold_out_their_val(tmp_path):
    names = [case.id for case in people()]
    path = tmp_path / "splits_final.json"
    path.write_text(json.dumps([{"train": names[4:], "val": names[:4]}, {"train": names[:-4], "val": names[-4:]}]))
    split = FromFile(str(path), fold=1)(people(), SHARES)
    assert split == {"train": names[:-4], "val": [], "test": names[-4:]}
    assert FromFile(str(path), fold="all").divisions() == 2
    drawn = FromFile(str(path), fold=0, val=2)(people(), SHARES)
    assert drawn["test"] == names[:4]
    assert sorted(drawn["train"] + drawn["val"]) == sorted(names[4:])
    assert len({name[:3] for name in drawn["val"]}) == 2
    assert not {name[:3] for name in drawn["val"]} & {name[:3] for name in drawn["train"]}
    path.write_text(json.dumps({"train": names[4:8], "val": names[8:], "test": names[:4]}))
    with pytest.raises(DataError, match="has a validation part of its own"):
        FromFile(str(path), val=1)(people(), SHARES)


def test_keys_for_volumes_are_refused_for_stills(program, tmp_path):
    (tmp_path / "run.yaml").write_text(
        YAML.replace("name: phantom\n  root: scans\n  patients: 4", "name: camvid\n  root: x")
    )
    told = program("train", "run.yaml", check=2).stderr
    assert "data.slices: is for volumes, but camvid holds stills; leave it out" in told


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("data.slices=foregrond", "data.slices: unknown value 'foregrond'; did you mean 'foreground'?"),
        ("data.slices={margin: -1}", "data.slices.margin: must be greater than or equal to 0, got -1"),
        ("data.slices={margn: 1}", "data.slices: unknown key 'margn'; did you mean 'margin'?"),
        ("data.slices=3", "data.slices: expected one of all, foreground or a mapping, got 3"),
    ],
)
def test_one_mistake_in_slices_is_one_line(program, tmp_path, override, says):
    (tmp_path / "run.yaml").write_text(YAML)
    line, rest = program("train", "run.yaml", override, check=2).stderr.splitlines()
    assert rest == "the network and the transforms of data.augment are checked once this is corrected"
    assert says in line


def test_the_cache_is_cleared_on_request(trained, module_program):
    folder, _ = trained
    size = sum(path.stat().st_size for path in (folder / "runs/.cache").iterdir())
    held = module_program("check", "p.yaml", cwd=folder, check=0).stdout
    assert f"{size / 2**20:.1f} MiB of decoded cases; --clear-cache removes them" in held
    log = (folder / "runs/p/fold-1.log").read_text()
    assert f"cache: {size / 2**20:.1f} MiB of 4 cases in runs/.cache" in log
    assert "MiB removed" in module_program("check", "p.yaml", "--clear-cache", cwd=folder, check=0).stdout
    assert not list(Path(folder / "runs/.cache").iterdir())
