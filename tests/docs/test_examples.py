"""The examples in docs/examples run, and learn something."""

import importlib.util

import pytest

from segloss_tests import ROOT


def example(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_torch_loop():
    history, network = example("torch_loop").train()
    assert history[-1] < 0.6 * history[0]
    assert network[-1].weight.tolist() != [1.0] * 3


def test_monai_trainer():
    history, dice = example("monai_trainer").train()
    assert history[-1] < 0.6 * history[0]
    assert dice > 0.8


@pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and loggers
def test_lightning_module():
    weights, score = example("lightning_module").train()
    assert sum(weights) == pytest.approx(3)
    assert weights[2] > weights[0]  # the rare class is the difficult one
    assert score > 0.5
