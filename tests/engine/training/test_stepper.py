"""A step of the training, as it is and compiled."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

import segloss
from engine.store.checkpoint import Checkpoint, Snapshot
from engine.training.stepper import Stepper, captures
from engine.training.targets import Targets
from segloss_tests.devices import META, MetaFabric, as_on_a_gpu, no_wait
from segloss_tests.runs import small_yaml, trainer

__all__ = ["as_on_a_gpu"]
SMALL = "model={name: unet2015, width: 4, depth: 1}"


class Compiled(nn.Module):
    """What torch.compile returns: a module around another, which counts its calls and has no length."""

    def __init__(self, module):
        super().__init__()
        self.module, self.calls = module, 0

    def forward(self, *given, **named):
        self.calls += 1
        return self.module(*given, **named)

    def __len__(self):
        raise TypeError("no length, as of torch's OptimizedModule around a module without one")


def test_the_loss_is_called_as_it_is_compiled(tmp_path, monkeypatch):
    path, losses = small_yaml(tmp_path), []
    image, mask = torch.randn(2, 3, 24, 32), torch.randint(0, 11, (2, 24, 32))
    for step in ("eager", "compiled"):
        with monkeypatch.context() as patched:
            patched.setattr(torch, "compile", Compiled)
            stepper = trainer(path, f"name={step}", f"train.step={step}").stepper
        given = stepper.targets(mask, torch.zeros(2, dtype=torch.int64))
        losses.append(stepper.loss_of(image, given, stepper.denominator(image, given))[0])
    assert stepper.compiled.calls == 1
    assert torch.equal(*losses)


@pytest.mark.usefixtures("as_on_a_gpu")
@pytest.mark.parametrize(
    "options",
    [
        ["model={name: deeplabv3plus, encoder: resnet18, acw: true}", "train.clip_norm=1.0"],
        ["model={name: deeplabv3plus, encoder: resnet18}", "train.upsampled_loss=true"],
        [
            SMALL,
            "data.regions={cars: [car], masts: [pole, sign]}",
            "loss=[{name: dice, sigmoid: true}, {name: sigmoid_ce}]",
        ],
        [SMALL, "loss={name: ldam, drw_epoch: 1}", "train.accumulate=2"],
    ],
    ids=["acw", "upsampled", "regions", "ldam"],
)
def test_a_step_looks_at_no_value_and_sends_nothing_but_its_batch(tmp_path, monkeypatch, options):
    """So nothing waits for a GPU, and a CUDA graph can hold it; the optimizer's own kernel is left out."""
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self: None)
    made = trainer(small_yaml(tmp_path), *options)
    model, cases = made.stepper.model.to(META), made.loader.dataset.cases
    targets = Targets(cases, made.experiment.adapter.classes, META, made.experiment.regions)
    stepper = Stepper(made.experiment.config, model, made.stepper.loss, MetaFabric(), made.budget, targets)
    first, second = [group for epoch in range(2) for group in made.groups(epoch)][:2]
    stepper.take(first)
    with no_wait():
        assert stepper.take(second).shape == ()


def test_steps_are_captured_where_they_can_be():
    train, gpu = SimpleNamespace(step="graph"), SimpleNamespace(device=torch.device("cuda"), world_size=1)
    blob = segloss.build_loss("blob")
    assert captures(train, segloss.build_loss("ce"), gpu)
    assert not captures(train, blob, gpu)
    assert not captures(train, segloss.WeightedSum([segloss.build_loss("dice"), blob]), gpu)
    assert not captures(SimpleNamespace(step="eager"), segloss.build_loss("ce"), gpu)
    assert not captures(train, segloss.build_loss("ce"), SimpleNamespace(device=gpu.device, world_size=2))
    assert not captures(train, segloss.build_loss("ce"), SimpleNamespace(device=torch.device("cpu"), world_size=1))


def test_a_run_whose_rates_are_tensors_is_kept_and_resumed(tmp_path):
    """As they are on a GPU."""

    def begun(path):
        made = trainer(path, SMALL, "optim.schedule={name: poly}")
        for options in made.stepper.optimizer.param_groups:
            options["lr"] = torch.tensor(options["lr"])
        return made

    path = small_yaml(tmp_path)
    whole = begun(path)
    group = next(whole.groups(0))
    whole.step(group)
    Snapshot(whole.checkpoint()).write(tmp_path / "c")
    resumed = begun(path)
    resumed._resume(Checkpoint.load(tmp_path / "c"))
    for made in (whole, resumed):
        torch.manual_seed(0)  # of dropout
        made.step(group)
    rates = [[options["lr"] for options in made.stepper.optimizer.param_groups] for made in (whole, resumed)]
    assert all(isinstance(rate, torch.Tensor) for rate in rates[1])
    assert rates[0] == rates[1] == whole.stepper.schedule.get_last_lr() == resumed.stepper.schedule.get_last_lr()
    assert all(map(torch.equal, whole.stepper.model.parameters(), resumed.stepper.model.parameters()))
