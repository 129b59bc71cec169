"""Runs of pictures with one label: trained, scored, predicted, compared; what does not fit them is refused."""

import csv
import json
import re

import numpy as np
import pytest
import torch

import datasets
from engine.configuration.build import build_adapter
from engine.configuration.checking import load_config
from engine.experiment.experiment import Experiment
from engine.experiment.run import Run
from engine.scoring.pooling import pooled
from engine.scoring.tables import rules, score_tables
from segloss.document import ScoresDocument
from segloss_tests.runs import trainer

metrics = pytest.importorskip("sklearn.metrics")

YAML = """\
name: small
data:
  {name: shapes, train: 12, test: 5, workers: 0, imbalance: {kind: long_tail, factor: 4},
   split: {kind: official, val: 10}}
model: {name: resnet_cifar, depth: 8}
loss: {name: ce}
optim: {name: adam, lr: 3e-3}
train: {epochs: 1, batch_size: 16, device: cpu}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, module_program):
    """A folder with a finished run of a few seconds."""
    path = tmp_path_factory.mktemp("labels")
    (path / "run.yaml").write_text(YAML)
    trained = module_program("train", "run.yaml", check=0, cwd=path)
    (path / "output.txt").write_text(trained.stdout)
    return path


def visible(path):
    """The text of a page, without its script and its pictures."""
    return re.sub(r"(?s)<script.*?</script>|base64,[^\"]*", "", path.read_text())


def document(folder):
    return ScoresDocument.from_json(json.loads((folder / "scores.json").read_text()))


def test_an_anonymous_page_names_no_picture(folder, module_program):
    module_program("report", "runs/small", "--anonymous", check=0, cwd=folder)
    usual, page = (visible(folder / f"runs/small/{name}.html") for name in ("report", "report-anonymous"))
    ids = {one.case for one in document(folder / "runs/small").pictures}
    assert any(f">{case}<" in usual for case in ids)
    assert [case for case in ids if f">{case}<" in page] == []
    rows = [re.findall(r"<tr><th[^>]*>[^<]*</th>(.*?)</tr>", text) for text in (usual, page)]
    wrong = [[row for row in of_page if "<td>0.9" in row] for of_page in rows]
    assert sorted(wrong[0]) == sorted(wrong[1])
    assert ">case_0" in page


def test_a_run_whose_training_part_is_cut_by_a_file_of_parts_goes_on(folder, monkeypatch):
    """Its split.json holds the pictures that are kept alone."""
    monkeypatch.chdir(folder)
    whole = json.loads((folder / "runs/small/split.json").read_text())
    cases = build_adapter(load_config(folder / "run.yaml").data).cases()
    whole["train"] = [case.id for case in cases if case.id not in {*whole["val"], *whole["test"]}]
    (folder / "parts.json").write_text(json.dumps(whole))
    config = load_config(folder / "run.yaml", ["name=by-file", "data.split={kind: file, path: parts.json}"])
    run = Run.of(config)
    run.create(config)
    run.write_json("split.json", split := Experiment.prepare(config).data.split)
    assert 0 < len(split["train"]) < len(whole["train"])
    assert Run.of(config).path == run.path


def test_the_scores_of_a_run_are_those_of_its_pictures(folder):
    found = document(folder / "runs/small")
    assert (found.header.kind, str(found.header.primary), found.header.units) == ("label", "accuracy", "images")
    assert len(found.pictures) == 50
    assert found.header.class_images[0] >= 4 * found.header.class_images[-1] > 0
    true, guess = [one.label for one in found.pictures], [one.predicted for one in found.pictures]
    scores = found.aggregations["dataset"]
    assert scores["accuracy"] == pytest.approx(metrics.accuracy_score(true, guess))
    assert scores["f1"] == pytest.approx(metrics.f1_score(true, guess, average="macro"))
    assert scores["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(true, guess))
    rows = list(csv.DictReader((folder / "runs/small/cases.csv").open()))
    assert [(row["label"], row["predicted"]) for row in rows] == list(zip(true, guess, strict=True))
    entry = json.loads((folder / "runs/small/log.jsonl").read_text().splitlines()[-1])
    assert entry["score"] == entry["validation"]["dataset"]["accuracy"]


def test_output_and_page_speak_of_images(folder):
    output = (folder / "output.txt").read_text()
    page = visible(folder / "runs/small/report.html")
    assert (
        "giving every picture the commonest training class, disc: accuracy 0.1000, balanced accuracy 0.1000" in output
    )
    assert "train: " in output
    for text in (output, page):
        assert "balanced accuracy" in text
        assert "mDSC" not in text
        assert "share of the pixels" not in text
    assert (folder / "runs/small/figures/mistakes.png").is_file()
    assert not (folder / "runs/small/cases").exists()


def test_evaluate_gives_the_same_scores_and_knows_the_training_pictures(folder, module_program):
    module_program("evaluate", "runs/small", check=0, cwd=folder)
    again = document(folder / "runs/small/evaluation-test-best-original")
    assert again.to_json() == document(folder / "runs/small").to_json()


def test_predict_writes_the_five_most_probable_classes(folder, module_program):
    images = sorted((folder / "data/shapes").rglob("test/ring/*.png"))
    (folder / "new").mkdir()
    for image in images:
        (folder / "new" / image.name).write_bytes(image.read_bytes())
    (folder / "new/damaged.png").write_bytes(b"no image")
    found = module_program("predict", "runs/small", "new", "--out", "found", check=2, cwd=folder)
    assert "damaged.png: not a readable image" in found.stderr + found.stdout
    rows = list(csv.DictReader((folder / "found/predictions.csv").open()))
    scored = {one.case: one for one in document(folder / "runs/small").pictures}
    assert [row["file"] for row in rows] == [image.name for image in images]
    for row, image in zip(rows, images, strict=True):
        one = scored[f"test/ring/{image.stem}"]
        assert row["class"] == one.predicted
        assert float(row["probability"]) == pytest.approx(one.probability, abs=1e-4)
        five = [row["class"], *(row[f"class_{place}"] for place in range(2, 6))]
        assert len(set(five)) == 5
        assert ("ring" in five) == one.top5
    refused = module_program("predict", "runs/small", "new", "--out", "x", "--probabilities", check=2, cwd=folder)
    assert "--probabilities is for masks" in refused.stderr + refused.stdout


def test_check_counts_images(folder, module_program):
    found = module_program("check", "run.yaml", check=0, cwd=folder).stdout
    assert "images of disc" in found
    assert "pixel" not in found.replace("median_\nfrequency", "")


def test_two_runs_are_compared_image_by_image(folder, module_program):
    """The difference of the accuracies, and its p of a sign-flip test, which is McNemar's exact test for one seed."""
    rng = np.random.default_rng(0)
    written = json.loads((folder / "runs/small/scores.json").read_text())
    classes = written["header"]["classes"]
    right = 0
    for index, row in enumerate(written["cases"]):
        row["predicted"] = row["label"] if index % 2 else str(rng.choice([c for c in classes if c != row["label"]]))
        right += row["predicted"] == row["label"]
    (folder / "other.json").write_text(json.dumps(written))
    found = module_program("compare", "other.json", "runs/small", check=0, cwd=folder).stdout
    ours = document(folder / "runs/small").aggregations["dataset"]["accuracy"]
    assert f"{right / 50 - ours:+.4f}" in found
    assert "50 images" in found
    assert "disc recall" in found
    written["cases"][0]["label"] = next(c for c in classes if c != written["cases"][0]["label"])
    (folder / "foreign.json").write_text(json.dumps(written))
    refused = module_program("compare", "foreign.json", "runs/small", check=2, cwd=folder)
    assert "(1 images differ): not scored against the same labels" in refused.stderr + refused.stdout


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model={name: unet}", "unet is for masks, but shapes holds one label a picture; use resnet_cifar, classifier"),
        ("loss={name: lovasz}", "lovasz is for masks, but a picture here has one label"),
        ("loss={name: dice, per_image: true}", "dice is for masks"),
        ("loss={name: topk}", "topk is for masks"),
        ("loss={name: ce, class_weights: median_frequency}", "median_frequency is 1 for every class"),
        ("scores.window=[8, 8]", "window: is for masks"),
        ("scores.largest_component=true", "largest_component: is for masks"),
        ("scores.grid=network", "grid: is for masks"),
        ("scores.primary={metric: mIoU, aggregation: dataset}", "allowed: accuracy, balanced_accuracy, f1"),
        ("scores.primary={metric: f1, aggregation: case}", "aggregation: is for masks"),
        ("data.slices=foreground", "slices: is for volumes, but shapes holds pictures with one label"),
        ("data.spacing=[1, 1, 1]", "spacing: is for volumes"),
        ("train.upsampled_loss=true", "upsampled_loss: is for masks"),
        ("train.batch_size=1", "train.batch_size: 1 is one label a step"),
        ("train={mix: {kind: mixup}, batch_size: 1}", "train.batch_size: 1 leaves a picture none to be mixed with"),
        ("data.imbalance={kind: step, factor: 9, largest: 5}", "leaves the rarest class nothing"),
    ],
)
def test_what_does_not_fit_one_label_is_refused(folder, module_program, override, message):
    found = module_program("train", "run.yaml", "name=other", override, check=2, cwd=folder)
    assert message in found.stderr + found.stdout


def test_what_is_for_one_label_does_not_fit_masks(program, camvid_yaml, tmp_path):
    for override, message in (
        (
            "model={name: resnet_cifar}",
            "is for one label a picture, but camvid holds masks; use deeplabv3plus",
        ),
        ("scores.primary={metric: accuracy}", "allowed: mDSC, mIoU"),
        ("scores.primary={metric: mIoU}", "aggregation: missing"),
        ("data.imbalance={kind: step, factor: 2}", "imbalance: is for pictures with one label"),
        ("train.mix={kind: mixup}", "train.mix: is for pictures with one label"),
    ):
        found = program("train", camvid_yaml, override, check=2, cwd=tmp_path)
        assert message in found.stderr + found.stdout


def test_resident_pictures_validate_as_others_do(folder):
    found = []
    for resident in ("true", "false"):
        made = trainer(folder / "run.yaml", f"name=resident-{resident}", f"data.resident={resident}")
        entry = {"epoch": 1}
        made._validate(entry)
        found.append(entry["validation"])
    assert found[0] == found[1]


def test_pictures_that_a_step_gets_right_are_counted_over_the_epoch_and_over_a_stop(folder):
    options = ("data.augment=[{name: HorizontalFlip}]", "train.accumulate=2", "train.batch_size=8")
    whole = trainer(folder / "run.yaml", "name=counted", *options)
    cut = trainer(folder / "run.yaml", "name=counted-cut", *options)
    for made in (whole, cut):
        made.stepper.new_epoch(0, None)
        made.stepper.forward.train()
    right = 0
    for group in whole.groups(0):
        with torch.no_grad():
            guesses = [whole.stepper.forward(datasets.unpacked(batch)["image"]).flatten(1).argmax(1) for batch in group]
        before = right
        right += sum(int((guess == batch["mask"].flatten()).sum()) for guess, batch in zip(guesses, group, strict=True))
        whole.step(group)
        assert int(whole.stepper.right) == right - before
    whole.right += right
    assert whole._accuracy()["train_accuracy"] == right / sum(len(batch) for batch in whole.batches) > 0
    cut.step(next(cut.groups(0)))
    cut.right += 7
    cut._save_all()
    resumed = trainer(folder / "run.yaml", "name=counted-cut", *options)
    checkpoint = resumed.run.load("last")
    resumed._resume(checkpoint)
    assert float(resumed.right) == 7
    del checkpoint.tensors["right"]
    resumed._resume(checkpoint)
    assert resumed._accuracy()["train_accuracy"] is None
    mixed = trainer(folder / "run.yaml", "name=counted-mixed", "train.mix={kind: mixup}")
    assert "train_accuracy" not in mixed._accuracy()


def test_mixed_pictures_train_on_bit_for_bit_after_a_stop_within_an_epoch(folder):
    options = ("train.mix={kind: cutmix}", "loss={name: balanced_softmax}", "data.augment=[{name: HorizontalFlip}]")
    whole = trainer(folder / "run.yaml", "name=whole", *options)
    cut = trainer(folder / "run.yaml", "name=cut", *options)
    for made in (whole, cut):
        made.stepper.new_epoch(0, None)
    groups = [*whole.groups(0)]
    assert len(groups) > 2
    losses = [float(whole.step(group)) for group in groups]
    found = [float(cut.step(next(cut.groups(0))))]
    cut._save_all()
    resumed = trainer(folder / "run.yaml", "name=cut", *options)
    resumed._resume(resumed.run.load("last"))
    resumed.stepper.new_epoch(0, None)
    found += [float(resumed.step(group)) for group in resumed.groups(0, resumed.state.batch)]
    assert found == losses
    for name, tensor in whole.stepper.model.state_dict().items():
        assert torch.equal(tensor, resumed.stepper.model.state_dict()[name]), name


def test_a_step_on_mixed_pictures_has_the_loss_of_the_two_labels_in_their_shares(folder):
    """Cross-entropy is linear in the target: share · CE(own) + (1 − share) · CE(of the one before)."""
    made = trainer(folder / "run.yaml", "name=step", "train.mix={kind: mixup}")
    (batch,) = next(made.groups(0))
    target = batch["mask"].flatten(1)
    made.stepper.forward.train()
    with torch.no_grad():
        logits = made.stepper.forward(batch["image"]).flatten(1).double()
    own = made.loader.dataset
    labels = torch.tensor([int(own[int(index)]["mask"]) for index in batch["index"]])
    share = target.gather(1, labels[:, None])[labels != labels.roll(1)][0].double()
    both = [torch.nn.functional.cross_entropy(logits, each).item() for each in (labels, labels.roll(1))]
    assert float(made.step([batch])) == pytest.approx(share * both[0] + (1 - share) * both[1], rel=1e-5)


@pytest.mark.slow
def test_arms_of_labels(folder, module_program):
    """Two arms of one epoch: a table of accuracies, verdicts by class, and a page without the words of masks."""
    arms = "ablation: {baseline: ce, arms: {ce: {}, dice: {loss: [{name: ce}, {name: dice}]}}}"
    text = YAML.replace("small", "arms").replace("train: 12", "train: 4").replace("test: 5", "test: 2")
    text = text.replace("imbalance: {kind: long_tail, factor: 4},", "").replace("batch_size: 16", "batch_size: 32")
    (folder / "ablation.yaml").write_text(f"{text}{arms}\n")
    found = module_program("ablate", "ablation.yaml", check=0, cwd=folder).stdout
    assert "scores of the held-out images" in found
    assert "balanced accuracy" in found
    page = visible(folder / "runs/arms/report.html")
    assert "mDSC" not in page
    assert "accuracy against ce" in page


def test_folds_are_pooled_picture_by_picture(folder):
    one = document(folder / "runs/small")
    both = pooled([one, one], [[], []])
    assert both.header.folds == 2
    assert both.header.class_images == one.header.class_images
    assert len(both.pictures) == 2 * len(one.pictures)
    assert {row.fold for row in both.rows} == {0, 1}
    assert both.aggregations["dataset"]["f1"] == one.aggregations["dataset"]["f1"]
    again = ScoresDocument.from_json(json.loads(json.dumps(both.to_json())))
    assert again.to_json() == both.to_json()


@pytest.mark.parametrize("trained", [None, [120, 5]])
def test_shots_are_explained_where_a_table_has_them(trained):
    rows = [{"case": "0", "label": "a", "predicted": "a"}, {"case": "1", "label": "b", "predicted": "a"}]
    header = {"kind": "label", "classes": ["a", "b"], "class_images": trained}
    document = ScoresDocument.from_json({"header": header, "cases": rows})
    columns = next(score_tables(document, "scores")).columns
    assert ("many-shot" in columns) == ("Many-shot" in rules(document)[0]) == (trained is not None)
