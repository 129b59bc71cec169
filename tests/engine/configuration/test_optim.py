import pytest
import torch

from engine.configuration.optim import OPTIMIZERS, SCHEDULES, scheduled, warmup_steps
from engine.store.state import State
from engine.training.budget import EpochBudget

L = torch.optim.lr_scheduler


def rates(make, steps):
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    schedule = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def ours(name, steps_per_epoch=4, epochs=5, warmup=0, **parameters):
    schedule = SCHEDULES[name](**parameters)
    progress = EpochBudget(epochs, steps_per_epoch, State()).progress
    return rates(lambda o: scheduled(o, schedule, progress, warmup), steps_per_epoch * epochs)


@pytest.mark.parametrize(
    ("name", "parameters", "theirs"),
    [
        ("constant", {}, lambda o: L.ConstantLR(o, factor=1.0)),
        ("step", {"every": 2, "factor": 0.5}, lambda o: L.StepLR(o, 8, 0.5)),
        ("multistep", {"at": [1, 3], "factor": 0.1}, lambda o: L.MultiStepLR(o, [4, 12], 0.1)),
        ("poly", {"power": 0.9}, lambda o: L.PolynomialLR(o, 20, 0.9)),
        ("cosine", {"floor": 0.1}, lambda o: L.CosineAnnealingLR(o, 20, 0.1)),
        ("one_cycle", {}, lambda o: L.OneCycleLR(o, 1.0, total_steps=20, cycle_momentum=False)),
        ("one_cycle", {"rise": 0.5, "start": 10.0, "end": 100.0}, lambda o: L.OneCycleLR(
            o, 1.0, total_steps=20, pct_start=0.5, div_factor=10.0, final_div_factor=100.0, cycle_momentum=False)),
    ],
)  # fmt: skip
def test_schedules_are_torch_s(name, parameters, theirs):
    assert ours(name, **parameters) == pytest.approx(rates(theirs, 20), abs=1e-9)


def test_the_papers_schedule_by_hand():
    found = ours("step", steps_per_epoch=2, epochs=11, every=5, factor=0.95)
    assert found == pytest.approx([1.0] * 10 + [0.95] * 10 + [0.95**2] * 2)


def test_warm_up_rises_linearly():
    assert warmup_steps("2 epochs", 4) == 8
    assert ours("constant", warmup=3)[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: SCHEDULES["step"](every=0), "every must be > 0"),
        (lambda: SCHEDULES["multistep"](at=[0]), "at must list epochs"),
        (lambda: SCHEDULES["cosine"](floor=2), "floor must be in"),
        (lambda: SCHEDULES["one_cycle"](rise=1), "rise must be in"),
        (lambda: OPTIMIZERS["sgd"](momentum=1.0, groups=[{"params": [torch.zeros(1)]}]), "momentum must be in"),
        (lambda: OPTIMIZERS["adam"](lr=-1.0, groups=[{"params": [torch.zeros(1)]}]), "lr must be > 0"),
        (
            lambda: OPTIMIZERS["adamw"](weight_decay=-1.0, groups=[{"params": [torch.zeros(1)]}]),
            "weight_decay must be ≥ 0",
        ),
    ],
)
def test_ranges(make, says):
    with pytest.raises(ValueError, match=says):
        make()
