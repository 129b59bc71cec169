"""The networks as they compute on a GPU, forced onto the CPU: nothing that adds atomically, and float32 at the end."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from segloss import AdaptiveClassWeight, resize
from segloss_tests.networks import build

RESIZING = ["deeplabv3plus", "fpn", "pspnet", "pan", "upernet", "segformer", "dpt", "vgg19_fcn", "fastfcn"]


class Operations(TorchDispatchMode):
    """Notes the names of all operations within, those of a backward pass too."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("name", RESIZING)
def test_no_network_resizes_or_pools_atomically(name, monkeypatch):
    """And logits and gradients are those of torch's own operations; in float64, where small maps amplify nothing."""
    model = build(name).eval().double()
    images = torch.randn(1, 3, 32, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]

    def atomic():
        with Operations() as seen:
            logits = model(images)
            gradients = torch.autograd.grad(logits.square().sum(), parameters, allow_unused=True)
        found = {name for name in seen.names if "upsample_bi" in name or "adaptive_avg_pool2d" in name}
        return found, torch.cat([each.flatten() for each in (logits, *gradients) if each is not None])

    names, plain = atomic()
    assert names
    monkeypatch.setattr(resize, "BY_MATRIX", {"cpu"})
    atomic()  # makes the matrices
    names, by_matrix = atomic()
    assert not names
    torch.testing.assert_close(by_matrix, plain, rtol=1e-9, atol=1e-9 * float(plain.detach().abs().max()))


def test_a_copy_and_a_compiled_network_keep_to_it(monkeypatch):
    monkeypatch.setattr(resize, "BY_MATRIX", {"cpu"})
    model = build("pspnet").eval()
    images = torch.randn(1, 3, 32, 64)
    with torch.no_grad():
        expected = model(images)
        assert torch.equal(copy.deepcopy(model)(images), expected)
        compiled = torch.compile(model, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(images), expected)


def test_half_precision_ends_before_the_class_weights():
    """Under autocast the logits of the head are weighted and resized in float32."""
    model = build("deeplabv3plus", acw=AdaptiveClassWeight(4, init=[0.3, 1.0, 1.7, 1.1])).eval()
    images = torch.randn(1, 3, 32, 32)
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        head = model.network(images)
        logits = model(images)
    assert head.dtype == torch.bfloat16
    weighted = head.float() * model.acw.weight.detach().view(1, -1, 1, 1)
    assert torch.equal(logits, F.interpolate(weighted, (32, 32), mode="bilinear"))
