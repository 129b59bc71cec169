"""What a few steps tell of a training."""

from types import SimpleNamespace

from engine.training import probe
from segloss_tests.runs import trainer


def test_an_image_takes_as_long_as_a_batch_shares_out(camvid_yaml, monkeypatch):
    """By a clock that ticks once an image that the network sees, a batch of several images counts as several."""
    made = trainer(camvid_yaml, "model={name: unet2015, width: 4, depth: 1}", "train.batch_size=3")
    seen = []
    made.stepper.forward.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    monkeypatch.setattr(probe, "time", SimpleNamespace(perf_counter=lambda: sum(seen)))
    assert probe._seconds_an_image(made, made.experiment) == 1
    assert seen[0] > 1
    made.close()
