"""What only a GPU can tell: nothing waits for it, it computes what the CPU computes, and runs repeat bit for bit."""

import contextlib

import pytest
import torch
from torch import nn

import segloss
from engine.configuration.checking import load_config
from engine.console.display import Display
from engine.experiment.device import launch
from engine.experiment.experiment import Experiment
from engine.experiment.run import Run
from engine.processes.signals import Stop, Stopped
from engine.store.checkpoint import Checkpoint, Snapshot
from engine.training.trainer import Trainer
from segloss import SegmentationScores
from segloss.calibration import Calibration
from segloss_tests.runs import trainer

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]
NETWORKS = [
    "{name: deeplabv3plus, encoder: resnet18, acw: true}",
    "{name: unet, encoder: resnet18, depth: 3, decoder_channels: [16, 16, 8]}",
    "{name: unet2015, width: 8, depth: 2}",
    "{name: vgg19_fcn, width: 16}",
    "{name: fastfcn, encoder: resnet18, width: 16}",
]
COUNTS = [1e2, 1e3, 1e4, 1e5, 1e6]


@contextlib.contextmanager
def no_wait():
    """Within, waiting for the device is an error."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def batch():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 5, 96, 96, dtype=torch.float64, generator=generator)
    target = torch.randint(0, 5, (2, 96, 96), generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.05] = 255
    return logits, target


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", sorted(set(segloss.LOSSES) - {"seql"}))  # it draws from its device's generator
def test_a_loss_is_that_of_the_cpu_and_repeats(name, dtype):
    logits, target = batch()
    loss = segloss.build_loss(name, num_classes=5, class_counts=COUNTS)
    exact = logits.to(dtype).double().requires_grad_()
    expected = loss(exact, target)
    expected.backward()
    there, labels, found = loss.cuda(), target.cuda(), []
    for _ in range(3):
        z = logits.to(dtype).cuda().requires_grad_()
        value = there(z, labels)
        value.backward()
        found.append((value.detach(), z.grad))
    value, gradient = found[0]
    rounded = dtype == torch.bfloat16
    assert float(value) == pytest.approx(float(expected), rel=1e-2 if rounded else 1e-5)
    off = (gradient.double().cpu() - exact.grad).abs().max() / exact.grad.abs().max()
    assert float(off) < (1e-2 if rounded else 1e-4)
    if name != "blob":  # it adds up atomically, which train.deterministic alone repeats
        assert all(torch.equal(value, other) and torch.equal(gradient, slope) for other, slope in found)


@pytest.mark.parametrize("name", sorted(name for name, kind in segloss.LOSSES.items() if kind.capturable))
def test_a_loss_does_not_wait(name):
    logits, target = batch()
    loss = segloss.build_loss(name, num_classes=5, class_counts=COUNTS).cuda()
    z, labels = logits.float().cuda().requires_grad_(), target.cuda()
    loss(z, labels).backward()
    with no_wait():
        loss(z, labels).backward()


@pytest.mark.parametrize("options", [[], ["train.upsampled_loss=true"]])
def test_a_step_does_not_wait(camvid_yaml, options):
    made = trainer(camvid_yaml, f"model={NETWORKS[0]}", "train.device=cuda", *options)
    group = next(made.groups(0))
    pinned = [{key: value.pin_memory() if torch.is_tensor(value) else value for key, value in group[0].items()}]
    for _ in range(3):
        made.step(pinned)
    with no_wait():
        made.stepper.take(pinned)


AUGMENT = (
    "data.augment=[{name: HorizontalFlip}, {name: Affine, rotate: [-20, 20]}, {name: ElasticTransform, sigma: 4}, "
    "{name: ColorJitter}, {name: GaussNoise}, {name: GaussianBlur}]"
)


def test_a_replayed_step_on_resident_data_does_not_wait(camvid_yaml):
    """Batches are gathered and augmented, the step is a CUDA graph; only its capture waits."""
    made = trainer(camvid_yaml, "train.device=cuda", "train.step=graph", "data.resident=true", AUGMENT)
    groups = [group for epoch in range(3) for group in made.groups(epoch)]
    for group in groups[:-1]:
        made.stepper.take(group)
    assert made.stepper.graph.replay is not None
    with no_wait():
        made.stepper.take(groups[-1])
    made.batches.set_epoch(9)
    batches = iter(made.loader)
    next(batches)
    with no_wait():
        next(batches)


@pytest.mark.parametrize("model", [*NETWORKS, "{name: resenc_unet, width: 8, depth: 3, gradient_checkpointing: true}"])
def test_replayed_steps_are_those_one_by_one_bit_for_bit(camvid_yaml, model):
    found = []
    for step in ("eager", "graph"):
        made = trainer(
            camvid_yaml, f"name={step}", f"model={model}", "train.device=cuda", f"train.step={step}", AUGMENT
        )
        made.fit()
        found.append(made.run.load("last").tensors)
    assert all(torch.equal(tensor, found[1][name]) for name, tensor in found[0].items())


def test_the_log_says_how_busy_the_gpu_is(camvid_yaml):
    made = trainer(camvid_yaml, "train.device=cuda", "train.batch_size=1")
    speed = made.epoch()["speed"]
    assert speed["launches_a_step"] > 100
    assert 0 < speed["busy"] <= 1
    assert speed["peak_mib"] > 0


def test_auto_is_resident(camvid_yaml):
    path = camvid_yaml.parent / "runs"
    config = load_config(camvid_yaml, [f"output={path}", "train.device=cuda", "data.resident=auto", AUGMENT])
    fabric = launch(config.train)
    made = Trainer(Experiment.prepare(config), Run.of(config), fabric, Display())
    assert made.experiment.config.data.resident is True


def test_a_compiled_step_trains(camvid_yaml):
    made = trainer(camvid_yaml, "train.device=cuda", "train.step=compiled")
    assert made.epoch()["loss"] > 0


def test_scores_and_calibration_do_not_wait():
    logits, target = batch()
    logits, target = logits.float().cuda(), target.cuda()
    scores = SegmentationScores(5).cuda()
    calibration = Calibration(5, "softmax", 255)
    calibration.update(logits, target)
    with no_wait():
        scores.update(logits.argmax(1), target, image=[0, 1], case=[0, 0])
        calibration.update(logits, target)
    there = scores.compute()["dataset"]["mIoU"]
    here = SegmentationScores(5)
    here.update(logits.argmax(1).cpu(), target.cpu(), image=[0, 1], case=[0, 0])
    assert there == here.compute()["dataset"]["mIoU"]


def test_a_snapshot_is_of_its_moment(tmp_path):
    weights, here = torch.randn(1000, 1000, device="cuda"), torch.arange(5)
    expected = weights.cpu()
    with no_wait():
        taken = Snapshot(Checkpoint({"weights": weights, "here": here}, {}))
        weights.zero_()
    taken.write(tmp_path / "c")
    loaded = Checkpoint.load(tmp_path / "c").tensors
    assert torch.equal(loaded["weights"], expected)
    assert torch.equal(loaded["here"], here)


@pytest.mark.parametrize("model", NETWORKS)
@pytest.mark.parametrize(
    "how",
    [
        ["train.precision=32-true"],
        ["train.precision=bf16-mixed"],
        ["train.precision=32-true", "train.deterministic=true"],
        ["train.precision=bf16-mixed", "train.step=graph", "data.resident=true", AUGMENT],
    ],
    ids=["float32", "bfloat16", "deterministic", "graph"],
)
def test_runs_repeat_bit_for_bit(camvid_yaml, model, how):
    """Two of them, and one that was stopped in the middle of an epoch and resumed."""
    options = [f"model={model}", "train.device=cuda", "loss.name=dfl", *how]
    found = []
    for name in ("one", "other"):
        made = trainer(camvid_yaml, f"name={name}", *options)
        made.fit()
        found.append(made.run.load("last").tensors)
    cut = trainer(camvid_yaml, "name=cut", *options)
    cut.stop = stop = Stop(listens=False)
    step = cut.step

    def stopped(group):
        stop.asked = cut.state.step >= 3
        return step(group)

    cut.step = stopped
    with pytest.raises(Stopped):
        cut.fit()
    resumed = trainer(camvid_yaml, "name=cut", *options)
    resumed.fit()
    found.append(resumed.run.load("last").tensors)
    for other in found[1:]:
        assert all(torch.equal(tensor, other[name]) for name, tensor in found[0].items())


def test_a_step_that_is_not_finite_changes_nothing(camvid_yaml):
    made = trainer(camvid_yaml, "train.device=cuda", "train.nonfinite=skip")
    made.stepper.forward.train()
    group = next(made.groups(0))
    made.step(group)
    before = {name: tensor.clone() for name, tensor in made.stepper.model.state_dict().items()}
    plain = made.stepper.loss

    class Poison(nn.Module):
        def forward(self, logits, target, denominator=None):
            return plain(logits, target, denominator=denominator) * torch.inf

    made.stepper.loss = made.stepper.objective = Poison()
    made.stepper.loss.denominator = plain.denominator
    made.step(group)
    assert made.stepper.guard.flags.tolist() == [True, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.stepper.model.state_dict().items())
