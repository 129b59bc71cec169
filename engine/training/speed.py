"""How fast the steps of an epoch are, and what they take of the device: figures for the log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar

import torch
from torch.profiler import ProfilerActivity, profile, schedule

Item = TypeVar("Item")
SKIPPED, WARM_UP, TRACED = 4, 1, 3
"""Steps before the profiler is started, one of them captured; that start what it starts once; and that it sees."""


class DeviceUse(NamedTuple):
    """What some steps make a GPU do.

    Attributes:
        launches: kernels and copies a step.
        busy: the share of the time, from the first of them to the last, in which one of them runs.
    """

    launches: int
    busy: float


def device_use(events: Iterable[Any], steps: int) -> DeviceUse | None:
    """What the events of a profiler say of a GPU; None where there are none of its own.

    Args:
        events: of `torch.profiler.profile`, those of the CPU too.
        steps: how many they are of.
    """
    own = [event.time_range for event in events if str(event.device_type).endswith("CUDA")]
    if not own:
        return None
    span = max(one.end for one in own) - min(one.start for one in own)
    return DeviceUse(round(len(own) / steps), round(min(1.0, sum(one.elapsed_us() for one in own) / span), 3))


def peak_mib(device: torch.device) -> int | None:
    """The most memory in MiB: of a GPU since the last reset, else of this process; None where it is not told."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) >> 20
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (20 if sys.platform == "darwin" else 10)


class SpeedMeter:
    """Measures the steps of an epoch, from now on.

    Args:
        device: that computes.
        before: seconds that steps of the same epoch have taken in an earlier start of the run.
        traced: whether a GPU's kernels are counted over some steps, for which the profiler is started: that takes
            about a second.
    """

    def __init__(self, device: torch.device, traced: bool, before: float = 0.0) -> None:
        self.device, self.began, self.waited, self.taken = device, time.monotonic(), 0.0, 0
        self.before = before
        self.use: DeviceUse | None = None
        self.profiler: AbstractContextManager[Any] = nullcontext()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            if traced:
                plan = schedule(wait=SKIPPED, warmup=WARM_UP, active=TRACED, repeat=1)
                self.profiler = profile(activities=[ProfilerActivity.CUDA], schedule=plan, on_trace_ready=self._read)

    def steps(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The batches, each to be used before the next is asked for; the time that they are waited for is added up."""
        left = iter(batches)
        with self.profiler as profiler:
            while True:
                asked = time.monotonic()
                try:
                    batch = next(left)
                except StopIteration:
                    return
                finally:
                    self.waited += time.monotonic() - asked
                yield batch
                self.taken += 1
                if profiler is not None:
                    profiler.step()

    @property
    def seconds(self) -> float:
        """What the steps of the epoch have taken, in all starts of the run."""
        return self.before + time.monotonic() - self.began

    def figures(self, images: int) -> dict[str, Any]:
        """What the log says of the steps: `seconds` of the epoch, and of this start `images_per_second` and `speed`.

        Args:
            images: that the steps of this start were of.
        """
        seconds = time.monotonic() - self.began
        return {
            "seconds": round(self.before + seconds, 3),
            "images_per_second": round(images / seconds, 2),
            "speed": {
                "images_per_second_without_loading": round(images / max(seconds - self.waited, 1e-9), 2),
                "peak_mib": peak_mib(self.device),
                "launches_a_step": None if self.use is None else self.use.launches,
                "busy": None if self.use is None else self.use.busy,
            },
        }

    def _read(self, profiler: Any) -> None:
        events: Sequence[Any] = profiler.events() or []
        self.use = device_use(events, max(1, self.taken - SKIPPED - WARM_UP))  # an epoch may be shorter
