"""When a training counts as collapsed, and what is advised."""

import pytest
import torch

from engine.configuration.checking import load_config
from engine.training.collapse import only_class, remedies
from segloss import build_loss
from segloss.scores import SegmentationScores
from segloss_tests.runs import small_yaml, trainer


def scored(prediction, target):
    scores = SegmentationScores(3)
    scores.update(torch.tensor([prediction]), torch.tensor([target]), image=[0], case=[0])
    return scores.aggregations(["background", "crack", "void"])["dataset"]


@pytest.mark.parametrize(
    ("prediction", "target", "name"),
    [
        ([0, 0, 0], [0, 1, 0], "background"),
        ([1, 1, 1], [0, 1, 255], "crack"),
        ([0, 1, 0], [0, 1, 0], None),
        ([0, 1, 0], [0, 0, 0], None),
        ([0, 0, 0], [0, 0, 0], None),  # there is nothing else to find
    ],
)
def test_only_class(prediction, target, name):
    assert only_class(scored(prediction, target)) == name


def test_of_regions_none_is_predicted():
    scores = SegmentationScores(3, regions=torch.tensor([[False, True, True], [False, False, True]]))
    scores.update(torch.tensor([[0, 0, 0]]), torch.tensor([[0, 1, 2]]), image=[0], case=[0])
    assert only_class(scores.aggregations(["whole", "core"])["dataset"], regions=True).startswith("what is outside")
    scores.update(torch.tensor([[1, 0, 0]]), torch.tensor([[0, 1, 2]]), image=[1], case=[0])
    assert only_class(scores.aggregations(["whole", "core"])["dataset"], regions=True) is None


def test_advice_is_what_is_not_done_yet_and_comes_after_the_epoch(tmp_path, monkeypatch):
    yaml, lines = small_yaml(tmp_path), []
    made = trainer(yaml, "train.epochs=1")
    adapter = made.experiment.adapter
    advice = ["data.sampler: {name: rare}", "loss: [{name: dice}, {name: ce}]", "a lower optim.lr than 0.001"]
    assert remedies(made.experiment.config, adapter, made.stepper.loss) == advice
    config = load_config(yaml, ["data.sampler=rare"])
    config.data.regions = {"vehicles": ["Car"]}
    advice = ["loss: [{name: dice, sigmoid: true}, {name: sigmoid_ce}]", "a lower optim.lr than 0.001"]
    assert remedies(config, adapter, build_loss("sigmoid_ce")) == advice
    both = build_loss([{"name": "dice"}, {"name": "ce"}], num_classes=11)
    assert remedies(config, adapter, both) == ["a lower optim.lr than 0.001"]
    with torch.no_grad():
        made.stepper.model.network.segmentation_head[0].bias[0] = 1e4
    made.display.line = lines.append
    made.fit()
    assert (
        f"warning: epoch 1: {adapter.classes[0]} is all that is predicted of the validation part; if that stays so, "
        in ("".join(line[: line.find("try")] for line in lines if line.startswith("warning")))
    )
