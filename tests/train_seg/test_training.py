"""Runs from a YAML file to scores, as a user starts them."""

import csv
import io
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file, save_file
from torchmetrics.classification import MulticlassCalibrationError

import models
import segloss
from engine.configuration.checking import load_saved
from engine.console.display import Display
from engine.experiment.run import Run
from engine.scoring.evaluation import score
from engine.store.checkpoint import Checkpoint
from segloss_tests.runs import log, trainer
from segloss_tests.stills import make_camvid


@pytest.mark.usefixtures("rendered_figures")
def test_train_writes_the_run_folder(program, camvid_yaml, tmp_path):
    done = program("train", camvid_yaml, "model.acw=true", check=0)
    run = tmp_path / "runs/small"
    for name in ("config.yaml", "environment.json", "split.json", "log.jsonl", "scores.json", "cases.csv"):
        assert (run / name).is_file(), name
    for name in ("checkpoints/last.safetensors", "checkpoints/best.safetensors", "figures/curves.png", "report.html"):
        assert (run / name).stat().st_size > 1000, name
    for name in ("class_curves.png", "class_curves.svg", "confusion.png", "calibration.png", "features.png"):
        assert (run / "figures" / name).stat().st_size > 1000, name
    rows = list(csv.DictReader((run / "figures/features.csv").open()))
    assert rows[0].keys() == {"case", "slice", "class", "pc1", "pc2", "tsne1", "tsne2"}
    assert {row["case"] for row in rows} == {"C_000", "C_001", "C_002"}
    assert len(list((run / "figures/overlays").glob("*.png"))) == 3
    assert len(log(run)) == 2
    assert len(log(run)[0]["acw"]) == 11
    scores = json.loads((run / "scores.json").read_text())
    assert scores["header"]["grid"] == "original"
    assert (scores["header"]["checkpoint"], scores["header"]["epoch"] in (1, 2)) == ("best", True)
    assert len(scores["cases"]) == 3 * 11
    assert str(tmp_path) not in (run / "scores.json").read_text()
    assert f"{scores['dataset']['mIoU']:.4f}" in done.stdout
    assert "A class absent from both" in done.stdout

    again = program("train", camvid_yaml, "model.acw=true", "data.workers=1", check=0)
    assert "finished already" in again.stdout
    assert f"{scores['dataset']['mIoU']:.4f}" in again.stdout

    other = program("train", camvid_yaml, "loss.name=dfl", check=2)
    assert "holds another run: " in other.stderr
    assert "name=small-2" in other.stderr

    found = program("evaluate", run, "--split", "val", "--checkpoint", "last", "scores.grid=network", check=0)
    assert "val part, checkpoint last" in found.stdout
    document = json.loads((run / "evaluation-val-last-network/scores.json").read_text())
    assert (document["header"]["part"], document["header"]["grid"]) == ("val", "network")
    assert "belongs to the training of this run" in program("evaluate", run, "loss.name=ce", check=2).stderr
    wrong = program("evaluate", run, "scores.grd=network", check=2).stderr
    assert wrong.startswith("command line: unknown key 'scores.grd'; did you mean 'scores.grid'?")


def test_scores_are_those_of_a_slow_loop(camvid_yaml, program, tmp_path, camvid):
    """Predict again by hand from the checkpoint, score at the original size with NumPy."""
    program("train", camvid_yaml, "data.size=[16, 20]", check=0)
    run = Run.open(tmp_path / "runs/small")
    made = trainer(camvid_yaml, "data.size=[16, 20]", "name=other")
    made.stepper.model.load_state_dict(Checkpoint.load(run.checkpoint("best")).part("model"))
    samples = made.experiment.samples("test")
    matrix = np.zeros((11, 11), dtype=int)
    calibration = MulticlassCalibrationError(11, n_bins=15, norm="l1", ignore_index=255)
    made.stepper.model.eval()
    for index in range(len(samples)):
        with torch.no_grad():
            logits = made.stepper.model(samples[index]["image"][None])
        large = torch.nn.functional.interpolate(logits, (24, 32), mode="bilinear")
        big = large[0].argmax(0).numpy()
        truth = np.asarray(Image.open(samples.cases[index].case.mask))
        calibration.update(large.softmax(1), torch.from_numpy(np.where(truth < 11, truth, 255)[None]).long())
        for t, p in zip(truth.ravel(), big.ravel(), strict=True):
            if t < 11:
                matrix[t, p] += 1
    tp = np.diag(matrix)
    union = matrix.sum(0) + matrix.sum(1) - tp
    scores = json.loads((run.path / "scores.json").read_text())
    assert scores["dataset"]["mIoU"] == pytest.approx((tp[union > 0] / union[union > 0]).mean(), abs=1e-9)
    assert scores["confusion"] == matrix.tolist()
    assert scores["calibration"]["ece"] == pytest.approx(float(calibration.compute()), abs=1e-6)


def test_a_loss_without_probabilities_has_no_calibration(camvid_yaml):
    for loss in ("mse", "sigmoid_ce"):
        made = trainer(camvid_yaml, f"loss.name={loss}", f"name={loss}")
        found = (
            score(made.stepper.forward, "test", made.experiment, made.fabric, thorough=True)
            .scores()
            .document.calibration
        )
        assert (found and found["activation"]) == {"mse": None, "sigmoid_ce": "sigmoid"}[loss]


def test_losses_that_follow_training_are_told(camvid_yaml):
    made = trainer(camvid_yaml, "loss=[{name: cdb_ce}, {name: ldam, s: 2, drw_epoch: 1}]", "train.epochs=3")
    by_validation, deferred = made.stepper.loss.losses
    made.epoch()
    assert by_validation.difficulty.tolist() == [1.0] * 11
    assert deferred.class_weights.tolist() == [1.0] * 11
    recall = made.state.class_accuracy
    assert len(recall) == 11
    made.epoch()
    assert by_validation.difficulty.tolist() == segloss.difficulty_weights(recall).tolist() != [1.0] * 11
    assert deferred.class_weights.tolist() == deferred.deferred.tolist() != [1.0] * 11


def test_the_weight_of_a_loss_follows_the_epochs_of_a_resumed_run_too(camvid_yaml):
    """A third of the way each epoch: 0.25, 0.5, 0.75, 1, given by the epoch, whoever trains it."""
    overrides = ["loss=[{name: ce}, {name: dice, weight: {from: 0.25, to: 1}}]", "train.epochs=4"]
    made = trainer(camvid_yaml, *overrides)
    assert made.stepper.loss.weights == [1.0, 0.25]
    made.fit(2)
    assert made.stepper.loss.weights == [1.0, 0.5]
    resumed = trainer(camvid_yaml, *overrides)
    resumed.fit(3)
    assert resumed.stepper.loss.weights == [1.0, 0.75]
    assert load_saved(made.run.path / "config.yaml").loss == made.experiment.config.loss


def test_a_loss_that_needs_validation_says_so(camvid_yaml, program):
    told = program("train", camvid_yaml, "loss.name=cdb_ce", "data.split={kind: kfold, folds: 3, val: 0}", check=2)
    assert (
        "cdb_ce weighs classes by their validation scores, but no sample validates; set data.split.val" in told.stderr
    )


def test_accumulation_equals_one_large_batch(camvid_yaml):
    """Without batch statistics, two micro-batches of two give the step of one batch of four."""
    found = []
    for size, accumulate in ((4, 1), (2, 2)):
        weights = ["loss.class_weights=inverse_frequency", "loss.normalize=weights"]
        sizes = [f"train.batch_size={size}", f"train.accumulate={accumulate}", f"name=b{size}"]
        made = trainer(camvid_yaml, *sizes, *weights, "optim={name: sgd, lr: 0.1}")
        made.stepper.forward.eval()
        made.batches.set_epoch(0)
        group = [batch for batch, _ in zip(made.loader, range(accumulate), strict=False)]
        made.stepper.take(group)
        found.append(made.stepper.model.state_dict())
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-4, atol=1e-6)


def test_losses_and_acw_share_initial_weights_and_batches(camvid_yaml):
    first = trainer(camvid_yaml, "name=a")
    second = trainer(camvid_yaml, "name=b", "loss={name: dfl}", "model.acw=true")
    for name, tensor in first.stepper.model.state_dict().items():
        assert torch.equal(tensor, second.stepper.model.state_dict()[name])
    for one, other in zip(first.loader, second.loader, strict=True):
        assert torch.equal(one["image"], other["image"])


def test_the_best_checkpoint_is_that_of_the_best_validation(camvid_yaml, tmp_path):
    made = trainer(camvid_yaml, "train.epochs=4", "optim.lr=0.05")
    made.fit()
    entries = log(made.run.path)
    best = max(entries, key=lambda entry: entry["score"])
    state = Checkpoint.load(made.run.checkpoint("best")).state["progress"]
    assert state == {"epoch": best["epoch"], "score": best["score"]}


def test_early_stopping_and_the_best_of_a_scripted_run(camvid_yaml, monkeypatch):
    def score(*_, **named):
        found = {n: {"mIoU": next(scripted), "mDSC": None, "classes": {}} for n in ("image", "case", "dataset")}
        return SimpleNamespace(aggregations=lambda: found)

    scripted = iter([value for value in (0.1, 0.5, 0.4, 0.6, 0.3, 0.2, 0.9) for _ in range(3)])
    monkeypatch.setattr("engine.training.trainer.score_part", score)
    made = trainer(camvid_yaml, "train.epochs=30", "train.patience=2")
    made.fit()
    assert [entry["score"] for entry in log(made.run.path)] == [0.1, 0.5, 0.4, 0.6, 0.3, 0.2]
    assert Checkpoint.load(made.run.checkpoint("best")).state["progress"] == {"epoch": 4, "score": 0.6}
    scripted = iter([0.6] * 3 + [0.5] * 6)
    made = trainer(camvid_yaml, "train.epochs=30", "train.patience=2", "train.validate_every=3", "name=seldom")
    made.fit()
    assert [entry["score"] for entry in log(made.run.path)] == [None, None, 0.6, None, None, 0.5, None, None, 0.5]


def test_the_logged_rate_is_that_of_the_epoch(camvid_yaml):
    made = trainer(
        camvid_yaml, "train.epochs=3", "optim={name: sgd, lr: 1e-3, schedule: {name: step, every: 1, factor: 0.1}}"
    )
    made.fit()
    assert [entry["lr"] for entry in log(made.run.path)] == pytest.approx([1e-3, 1e-4, 1e-5])


def test_a_diverging_run_stops_with_advice(camvid_yaml, program):
    said = program("train", camvid_yaml, "optim={name: sgd, lr: 1e30}", check=2).stderr
    assert "the loss became NaN or infinite in epoch" in said
    assert "lower optim.lr" in said


def test_evaluate_and_resume_keep_the_split(camvid_yaml, program, tmp_path, camvid):
    arguments = ["data.split={kind: holdout, test: 3, val: 2}", "data.group=case"]
    program("train", camvid_yaml, *arguments, check=0)
    split = (tmp_path / "runs/small/split.json").read_text()
    scores = (tmp_path / "runs/small/scores.json").read_text()
    make_camvid(camvid, (("train", "N", 4), ("val", "O", 1), ("test", "P", 1)))  # the data set grows
    found = program("evaluate", "runs/small", check=0)
    assert (tmp_path / "runs/small/evaluation-test-best-original/scores.json").read_text() == scores, found.stdout
    (tmp_path / "runs/small/scores.json").unlink()  # killed before the scores were written
    program("train", camvid_yaml, *arguments, check=0)
    assert (tmp_path / "runs/small/split.json").read_text() == split
    assert (tmp_path / "runs/small/scores.json").read_text() == scores


def test_stills_of_mixed_sizes(camvid_yaml, program, camvid):
    """Without a size, training crops to one, and each image is scored as it is."""
    make_camvid(camvid, (("train", "Y", 2), ("test", "Z", 2)), size=(48, 40))
    crop = "data.augment=[{name: RandomCrop, height: 16, width: 24}]"
    done = program("train", camvid_yaml, "data.size=null", crop, "train.epochs=1", check=0)
    assert "test: 5 images" in done.stdout


def test_without_validation_the_last_epoch_is_kept(camvid_yaml):
    shown = Display(Console(file=io.StringIO(), width=200))
    made = trainer(
        camvid_yaml, "data.split={kind: holdout, test: 3, val: 0}", "data.group=case", "train.patience=1", display=shown
    )
    assert "train.patience stops nothing" in shown.console.file.getvalue()
    made.fit()
    best, last = (Checkpoint.load(made.run.checkpoint(name)) for name in ("best", "last"))
    assert best.state["progress"]["epoch"] == 2
    for name, tensor in best.tensors.items():
        assert torch.equal(tensor, last.tensors[name])


def test_gradients_are_clipped(camvid_yaml):
    made = trainer(camvid_yaml, "train.clip_norm=1e-3", "optim={name: sgd, lr: 1.0, momentum: 0.0}")
    before = {name: tensor.detach().clone() for name, tensor in made.stepper.model.named_parameters()}
    made.stepper.take([next(iter(made.loader))])
    moved = (
        sum(
            (tensor.detach() - before[name]).square().sum().item()
            for name, tensor in made.stepper.model.named_parameters()
        )
        ** 0.5
    )
    assert moved == pytest.approx(1e-3, rel=1e-3)


def test_every_loss_and_a_sum_train(camvid_yaml):
    for index, loss in enumerate(["wce", "dfl", "mse_ol", None]):
        spec = f"loss={{name: {loss}}}" if loss else "loss=[{name: dice, weight: 0.5}, {name: ce}]"
        made = trainer(camvid_yaml, spec, f"name=l{index}")
        values = [float(made.stepper.take([batch])) for _ in range(6) for batch in made.loader]
        assert np.mean(values[-3:]) < np.mean(values[:3]), spec


def test_class_counts_come_from_the_training_part_alone(camvid_yaml):
    made = trainer(camvid_yaml, "loss={name: wce}")
    masks = np.stack([np.asarray(Image.open(cached.case.mask)) for cached in made.experiment.data.parts["train"]])
    counts = np.bincount(masks.ravel(), minlength=12)[:11]
    expected = (1 / counts) / (1 / counts).sum()
    np.testing.assert_allclose(made.stepper.loss.class_weights.numpy(), expected, rtol=1e-5)


def test_tensorboard(camvid_yaml, program, tmp_path):
    pytest.importorskip("tensorboard")
    program("train", camvid_yaml, "train.tensorboard=true", "train.epochs=1", check=0)
    assert list((tmp_path / "runs/small/tensorboard").iterdir())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on the CPU")
def test_a_compiled_network_is_saved_under_its_own_names(camvid_yaml, program, tmp_path):
    program("train", camvid_yaml, "train.step=compiled", "train.epochs=1", check=0)
    keys = load_file(tmp_path / "runs/small/checkpoints/best.safetensors").keys()
    assert not any("_orig_mod" in key for key in keys)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_trains_in_bfloat16_on_a_gpu(camvid_yaml):
    made = trainer(camvid_yaml, "train.device=cuda", "train.precision=bf16-mixed")
    made.fit()
    assert made.run.checkpoint("best").is_file()


def test_a_loss_that_upsamples_trains_the_same(camvid_yaml):
    """Width 30 is padded to 32; the network's logits are half as large."""
    options = ["data.size=[24,30]", "model={name: deeplabv3plus, encoder: resnet18, acw: true}", "train.epochs=1"]
    plain = trainer(camvid_yaml, *options)
    slabs = trainer(camvid_yaml, *options, "train.upsampled_loss=true", "name=slabs")
    images, masks = torch.randn(2, 3, 24, 30), torch.randint(0, 11, (2, 24, 30))
    count = plain.stepper.loss.denominator(masks)
    found = []
    for each in (plain, slabs):
        torch.manual_seed(0)  # of the dropout
        loss, _ = each.stepper.loss_of(images, {"target": masks}, count)
        loss.backward()
        found.append((loss.detach(), [p.grad for p in each.stepper.model.parameters()]))
    torch.testing.assert_close(*found, rtol=1e-3, atol=1e-5)


def test_a_loss_that_cannot_upsample_is_refused(program, camvid_yaml):
    done = program("train", camvid_yaml, "train.upsampled_loss=true", "loss=[{name: ce}, {name: lovasz}]", check=2)
    assert "train.upsampled_loss: true does not work with the loss lovasz" in done.stderr


def test_a_train_reads_its_initial_weights_into_one_network(camvid_yaml, program, tmp_path, monkeypatch):
    first = models.build("unet", num_classes=11, channels=3, seed=5, encoder="resnet18", depth=3)
    weights = tmp_path / "encoder.safetensors"
    save_file(first.network.encoder.state_dict(), weights)
    built, original = [], models.build

    def build(name, **options):
        built.append((options["shapes_only"], options["pretrained"]))
        return original(name, **options)

    monkeypatch.setattr(models, "build", build)
    overrides = f"model.pretrained={weights}", "train.epochs=1"
    program("train", camvid_yaml, *overrides, check=0)
    assert built == [(True, str(weights)), (False, str(weights)), (False, None)]  # checked, trained, scored
    built.clear()
    program("train", camvid_yaml, *overrides, check=0)
    assert built == [(True, str(weights))]
