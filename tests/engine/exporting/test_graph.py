"""One graph of a trained network: what it gives, for which images, run by torch and by onnxruntime."""

import pytest
import torch
from torch import nn

from engine.configuration.config import ScoresSection
from engine.errors import UsageError
from engine.exporting.description import Form
from engine.exporting.exported import Exported, content_of, runner
from engine.exporting.graph import Deployed, trace
from engine.exporting.parity import check_noise
from engine.scoring.inference import inferring
from models import Network, SegmentationModel
from segloss import AdaptiveClassWeight
from segloss.adjustment import LogitAdjustment
from segloss_tests import ROOT

SCALE = torch.tensor([0.5, 1.0]), torch.tensor([1.0, -2.0])


def model(*layers):
    """A network of stride 4 with class weights and an adjustment, whose logits are a quarter of the image."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(2, 4, 3, 4, 1), nn.ReLU(), *layers, nn.Conv2d(4, 3, 1))
    found = SegmentationModel(Network(module, 4, (f"{len(module) - 1}",)), AdaptiveClassWeight(3)).eval()
    with torch.no_grad():
        found.acw.weight.copy_(torch.tensor([1.0, 2.0, 0.5]).view_as(found.acw.weight))
    found.adjustment = LogitAdjustment([0.0, 0.3, -0.2], temperature=1.5)
    return found


def by_hand(network, images):
    """Padding, network, weights, adjustment, resizing and cropping, step by step."""
    rows, columns = images.shape[2:]
    padded = nn.functional.pad(images, (0, -columns % 4, 0, -rows % 4))
    logits = network.network(padded) * torch.tensor([1.0, 2.0, 0.5]).view(1, 3, 1, 1)
    logits = logits / 1.5 + torch.tensor([0.0, 0.3, -0.2]).view(1, 3, 1, 1)
    wide = nn.functional.interpolate(logits, padded.shape[2:], mode="bilinear", align_corners=False)
    return wide[..., :rows, :columns]


@pytest.mark.parametrize("engine", ["torch", "onnx"])
@torch.no_grad()
def test_a_graph_for_images_of_any_size_pads_weights_resizes_crops_and_mirrors(engine):
    network = model()
    graph = trace(Deployed(network, ScoresSection(flip=True), "softmax", SCALE), channels=2, size=None)
    content = content_of(graph, engine, ["logits", "probabilities"])
    assert str(ROOT).encode() not in content  # nor of whoever exports, the folders
    run = runner(content, engine)
    for shape in [(1, 2, 16, 24), (3, 2, 17, 9), (2, 2, 5, 30)]:
        raw = torch.randint(0, 256, shape).float()
        images = raw * torch.tensor([0.5, 1.0]).view(1, 2, 1, 1) - torch.tensor([1.0, -2.0]).view(1, 2, 1, 1)
        wanted = (by_hand(network, images) + by_hand(network, images.flip(3)).flip(3)) / 2
        assert torch.allclose(run(raw), wanted, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_probabilities_are_those_of_the_loss():
    for activation, of in [("softmax", lambda z: z.softmax(1)), ("sigmoid", torch.sigmoid)]:
        graph = trace(Deployed(model(), ScoresSection(), activation, None), channels=2, size=(8, 12))
        logits, probabilities = graph.module()(torch.randn(2, 2, 8, 12))
        assert torch.allclose(probabilities, of(logits))


def test_a_graph_that_holds_for_one_size_alone_is_refused():
    pooled = model(nn.AdaptiveAvgPool2d(2))  # the bins depend on the size
    scores, form = ScoresSection(), Form(None, 2, True, False)
    graph = trace(Deployed(pooled, scores, "none", SCALE), channels=2, size=None)
    exported = Exported(runner(content_of(graph, "onnx", ["logits"]), "onnx"), form, scores)
    with pytest.raises(UsageError, match=r"images of .* get other logits than those of the run"):
        check_noise(exported, inferring(pooled, scores), form, SCALE)


def test_another_network_is_no_parity():
    scores, form = ScoresSection(), Form((8, 12), 2, True, False)
    graph = trace(Deployed(model(), scores, "none", SCALE), channels=2, size=(8, 12))
    exported = Exported(runner(content_of(graph, "torch", ["logits"]), "torch"), form, scores)
    other = model()
    check_noise(exported, inferring(other, scores), form, SCALE)
    with torch.no_grad():
        other.network[-1].bias += 1
    with pytest.raises(UsageError, match="other logits than those of the run"):
        check_noise(exported, inferring(other, scores), form, SCALE)
