"""What the log says of speed."""

from types import SimpleNamespace

import pytest
import torch

from engine.training import speed
from engine.training.speed import SpeedMeter, device_use


def event(device, start, end):
    return SimpleNamespace(
        device_type=f"DeviceType.{device}",
        time_range=SimpleNamespace(start=start, end=end, elapsed_us=lambda: end - start),
    )


def test_launches_and_busy_share_by_hand():
    events = [event("CUDA", 10, 20), event("CPU", 0, 500), event("CUDA", 40, 50), event("CUDA", 90, 110)]
    assert device_use(events, 2) == (2, 0.4)
    assert device_use([event("CPU", 0, 5)], 1) is None


def test_the_wait_for_batches_is_not_counted_as_computing(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(speed, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def batches():
        for number in range(4):
            clock.now += 0.25
            yield number

    meter = SpeedMeter(torch.device("cpu"), traced=True)
    for _ in meter.steps(batches()):
        clock.now += 1.0
    found = meter.figures(40)
    assert (found["seconds"], found["images_per_second"]) == (5.0, 8.0)
    assert found["speed"]["images_per_second_without_loading"] == 10.0
    assert found["speed"]["peak_mib"] > 50
    assert (found["speed"]["launches_a_step"], found["speed"]["busy"]) == (None, None)


def test_a_batch_that_fails_ends_the_steps():
    def batches():
        yield 1
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        list(SpeedMeter(torch.device("cpu"), traced=False).steps(batches()))
