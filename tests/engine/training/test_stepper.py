"""A step of the training, as it is and compiled."""

import torch
from torch import nn

from segloss_tests.runs import small_yaml, trainer


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
