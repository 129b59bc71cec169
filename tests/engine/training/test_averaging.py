"""Averaged weights against NumPy in float64, batch statistics by hand, and trainings that they change nothing of."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from engine.configuration.checking import load_config
from engine.configuration.config import EmaSection, SwaSection
from engine.errors import ConfigError
from engine.processes.signals import Stop, Stopped
from engine.training.averaging import WeightAverage
from segloss_tests.runs import small_yaml, trainer

EMA = "train.average={kind: ema, decay: 0.8}"


@pytest.fixture(scope="module")
def yaml(tmp_path_factory):
    return small_yaml(tmp_path_factory.mktemp("averaged"))


def stepped(section, epochs=4, steps=5):
    """An average of a network whose weights change by steps, and the weights after each."""
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    average, seen = WeightAverage(section, network), []
    for epoch in range(epochs):
        for _ in range(steps):
            with torch.no_grad():
                network.weight.add_(torch.randn(2, 3))
            average.after_step()
            seen.append(network.weight.detach().double().numpy().copy())
        average.after_epoch((epoch + 1) / epochs)
    return average, seen


def test_ema_by_hand():
    average, seen = stepped(EmaSection(kind="ema", decay=0.6))
    expected = seen[0]
    for count, weights in enumerate(seen[1:], start=1):
        decay = min(0.6, (1 + count) / (10 + count))
        expected = decay * expected + (1 - decay) * weights
    np.testing.assert_allclose(average.weights["weight"].numpy(), expected, atol=1e-6)
    assert average.count == 20


@pytest.mark.parametrize(("start", "first"), [(0.75, 3), (0.5, 2), (0.0, 0), (0.99, 3)])
def test_swa_is_the_mean_after_the_last_epochs(start, first):
    average, seen = stepped(SwaSection(kind="swa", start=start))
    ends = seen[4::5][first:]
    np.testing.assert_allclose(average.weights["weight"].numpy(), np.mean(ends, axis=0), atol=1e-6)
    assert average.count == len(ends)


def test_batch_statistics_are_those_of_one_pass():
    """The mean over batches of each batch's mean and unbiased variance, whatever they were before."""
    network = nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 1, 1))
    network[0].running_mean.fill_(7)
    average = WeightAverage(EmaSection(kind="ema"), network)
    average.after_step()
    batches = [torch.randn(4, 2, 3, 3), 2 + torch.randn(4, 2, 3, 3)]
    average.finish(network, iter(batches))
    pixels = [batch.double().numpy().transpose(1, 0, 2, 3).reshape(2, -1) for batch in batches]
    mean = np.mean([one.mean(1) for one in pixels], axis=0)
    variance = np.mean([one.var(1, ddof=1) for one in pixels], axis=0)
    np.testing.assert_allclose(network[0].running_mean.numpy(), mean, atol=1e-6)
    np.testing.assert_allclose(network[0].running_var.numpy(), variance, atol=1e-6)
    assert network[0].momentum == 0.1


def fit(yaml, name, *overrides, stop_after=None):
    """Train in this process, stopped and resumed after some steps, or in the pass after the last; the checkpoints."""
    stop = Stop()
    one = trainer(yaml, f"name={name}", *overrides)
    one.stop = stop
    if stop_after is not None:
        take, finish = one.stepper.take, one.average.finish

        def counted(group):
            loss = take(group)
            stop.asked = one.state.step + 1 == stop_after
            return loss

        def asked(forward, images):
            stop.asked = True
            finish(forward, images)

        one.stepper.take, one.average.finish = counted, asked
        with pytest.raises(Stopped):
            one.fit()
        one = trainer(yaml, f"name={name}", *overrides)
    one.fit()
    names = [name for name in ("last", "best", "average") if one.run.checkpoint(name).is_file()]
    return {name: one.run.load(name) for name in names}


def same(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.fixture(scope="module")
def whole(yaml):
    return fit(yaml, "whole", EMA)


def test_a_training_is_the_same_with_an_average_beside_it(yaml, whole):
    plain = fit(yaml, "plain")
    assert plain.keys() == {"last", "best"}
    for name in ("last", "best"):
        same(plain[name].part("model"), whole[name].part("model"))
    same(plain["last"].part("optimizer"), whole["last"].part("optimizer"))
    weights = whole["average"].part("model")
    same({name: weights[name] for name in whole["last"].part("average")}, whole["last"].part("average"))
    assert not torch.equal(weights["network.segmentation_head.0.weight"],
                           whole["last"].part("model")["network.segmentation_head.0.weight"])  # fmt: skip


@pytest.mark.parametrize("step", [2, 6, 7])
def test_a_stopped_training_ends_with_the_same_average(yaml, whole, step):
    """In the middle of an epoch, before the last validation, and in the pass for the batch statistics."""
    resumed = fit(yaml, f"stopped-{step}", EMA, stop_after=step)
    for name in whole:
        same(resumed[name].part("model"), whole[name].part("model"))


def test_the_average_can_be_scored_and_predicts(yaml, whole, module_program):
    folder = yaml.parent
    given = [EMA, "scores.checkpoint=average", "name=scored"]
    module_program("train", yaml, *given, check=0, cwd=folder)
    run = folder / "runs/scored"
    scores = json.loads((run / "scores.json").read_text())
    assert scores["header"]["checkpoint"] == "average"
    module_program("evaluate", run, "--checkpoint", "best", check=0, cwd=folder)
    best = json.loads((run / "evaluation-test-best-original/scores.json").read_text())
    assert best["cases"] != scores["cases"]
    module_program("evaluate", run, check=0, cwd=folder)
    assert json.loads((run / "evaluation-test-average-original/scores.json").read_text())["cases"] == scores["cases"]
    said = module_program("reproduce", run, check=0, cwd=folder).stdout
    assert "reproduced bit for bit" in said


def test_an_average_that_is_not_kept_cannot_be_scored(yaml):
    with pytest.raises(ConfigError, match=r"scores\.checkpoint: average needs train\.average"):
        load_config(yaml, ["scores.checkpoint=average"])
