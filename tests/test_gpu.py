"""What only a GPU can tell: nothing waits for it, it computes what the CPU computes, and runs repeat bit for bit."""

import contextlib

import pytest
import torch
from torch import nn

import segloss
from engine.processes.signals import Stop, Stopped
from engine.store.checkpoint import Checkpoint, Snapshot
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


@pytest.mark.parametrize("name", sorted(set(segloss.LOSSES) - {"seql"}))  # it draws from its device's generator
def test_a_loss_is_that_of_the_cpu_and_repeats(name):
    logits, target = batch()
    loss = segloss.build_loss(name, num_classes=5, class_counts=COUNTS)
    exact = logits.float().double().requires_grad_()
    expected = loss(exact, target)
    expected.backward()
    there, labels, found = loss.cuda(), target.cuda(), []
    for _ in range(3):
        z = logits.float().cuda().requires_grad_()
        value = there(z, labels)
        value.backward()
        found.append((value.detach(), z.grad))
    value, gradient = found[0]
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    off = (gradient.double().cpu() - exact.grad).abs().max() / exact.grad.abs().max()
    assert float(off) < 1e-4
    assert all(torch.equal(value, other) and torch.equal(gradient, slope) for other, slope in found)


@pytest.mark.parametrize("name", sorted(set(segloss.LOSSES) - {"seql", "boundary"}))  # distance maps are the CPU's
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
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_runs_repeat_bit_for_bit(camvid_yaml, model, precision):
    """Two of them, and one that was stopped in the middle of an epoch and resumed."""
    options = [f"model={model}", "train.device=cuda", f"train.precision={precision}", "loss.name=dfl"]
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
        def forward(self, logits, mask, denominator=None):
            return plain(logits, mask, denominator=denominator) * torch.inf

    made.stepper.loss = Poison()
    made.stepper.loss.denominator = plain.denominator
    made.step(group)
    assert made.stepper.guard.flags.tolist() == [True, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.stepper.model.state_dict().items())
