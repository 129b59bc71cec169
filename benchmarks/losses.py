"""What the losses cost: time and memory of a forward and backward pass, beside other libraries.

    python -m benchmarks.losses                                   every loss, every shape, peers too, as Markdown
    python -m benchmarks.losses --losses focal dfl --shapes 2x19x512x1024 --repeats 15
    python -m benchmarks.losses --plot docs/speed.png             time and memory over classes and pixels
    python -m benchmarks.losses --device cuda --shapes 8x19x1024x2048 --dtype bfloat16

Times are medians of interleaved runs, of one thread on a CPU processor time; ratios are to eager `F.cross_entropy` of
the same run. Memory is what the allocator holds at most beyond logits and target, the gradient included, as a multiple
of the logits. Run it on an idle machine. Needs the `dev` extra (kornia, MONAI, segmentation-models-pytorch).
"""

from __future__ import annotations

import argparse
import logging
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import segloss

from .peers import BASE, peers_of

SHAPES = ("1x4x16x16", "2x19x64x64", "4x2x224x224", "4x11x360x480", "2x19x512x1024")
OWN: dict[str, dict[str, Any]] = {"ldam": {"s": 1.0}}
"""Parameters other than the defaults: the default s of `ldam` is for cosine logits, in [-1, 1]."""
NOT_COMPILED = ("lovasz", "lovasz_hinge", "boundary")
Call = Callable[[Tensor, Tensor], Tensor]


@dataclass
class Entry:
    """One loss run in one way.

    Attributes:
        name: the loss.
        how: `eager`, `compiled`, or the peer.
        call: of logits and labels.
        times: seconds of each run.
        memory: peak extra memory over the size of the logits.
        error: why it does not run.
    """

    name: str
    how: str
    call: Call
    times: list[float] = field(default_factory=list)
    memory: float = 0.0
    error: str = ""

    @property
    def median(self) -> float:
        """Seconds."""
        return statistics.median(self.times)


@dataclass
class Bench:
    """Logits and labels of one shape on one device.

    Attributes:
        shape: (N, C, H, W).
        device: where.
        dtype: of the logits.
    """

    shape: tuple[int, ...]
    device: torch.device
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        images, classes, *space = self.shape
        generator = torch.Generator().manual_seed(0)
        self.logits = (3 * torch.randn(self.shape, generator=generator)).to(self.device, self.dtype)
        labels = torch.randint(0, classes, (images, *space), generator=generator)
        labels[torch.rand(labels.shape, generator=generator) < 0.05] = 255
        self.labels = labels.to(self.device)

    def step(self, call: Call) -> float:
        """Seconds of one forward and backward pass, the mean of a few where the map is small."""
        each = [self.logits.clone().requires_grad_() for _ in range(min(max(2**18 // self.logits.numel(), 1), 20))]
        alone = self.device.type == "cpu" and torch.get_num_threads() == 1
        clock = time.process_time if alone else time.perf_counter  # other programs take no part of processor time
        self._wait()
        started = clock()
        for logits in each:
            call(logits, self.labels).backward()
        self._wait()
        return (clock() - started) / len(each)

    def memory(self, call: Call) -> float:
        """The most that is allocated beyond logits and labels, over the size of the logits."""
        logits = self.logits.clone().requires_grad_()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            call(logits, self.labels).backward()
            peak = torch.cuda.max_memory_allocated() - before
        else:
            with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
                call(logits, self.labels).backward()
            events: Any = profiler.profiler.kineto_results.events()
            changes = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
            held = peak = 0
            for _, change in changes:
                held += change
                peak = max(peak, held)
        return peak / (logits.numel() * logits.element_size())

    def bandwidth(self) -> float:
        """Bytes a second that a copy of the logits moves."""
        times = []
        for _ in range(10):
            self._wait()
            started = time.perf_counter()
            self.logits.clone()
            self._wait()
            times.append(time.perf_counter() - started)
        return 2 * self.bytes / statistics.median(times)

    @property
    def bytes(self) -> int:
        """Of the logits."""
        return self.logits.numel() * self.logits.element_size()

    def run(self, entries: Sequence[Entry], repeats: int) -> None:
        """Fill in times and memory, the entries in turn."""
        for entry in entries:
            try:
                for _ in range(2):
                    self.step(entry.call)
                entry.memory = self.memory(entry.call)
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                entry.error = " ".join(str(error).split())[:80]
        for _ in range(repeats):
            for entry in entries:
                if not entry.error:
                    entry.times.append(self.step(entry.call))

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def entries_of(names: Sequence[str], classes: int, compiled: bool, peers: bool) -> list[Entry]:
    """What is to be run, the base first."""
    counts = [10.0 ** (2 + index % 5) for index in range(classes)]
    entries = [Entry("ce", BASE, peers_of("ce", classes)[BASE])]
    for name in names:
        loss = segloss.build_loss(name, num_classes=classes, class_counts=counts, **OWN.get(name, {}))
        entries.append(Entry(name, "eager", loss))
        if compiled and name not in NOT_COMPILED:
            entries.append(Entry(name, "compiled", torch.compile(loss, fullgraph=True, dynamic=False)))
        if peers:
            entries += [Entry(name, how, call) for how, call in peers_of(name, classes).items() if how != BASE]
    return entries


def table(entries: Sequence[Entry], bench: Bench) -> str:
    """Markdown, one row an entry."""
    base = entries[0].median
    fast = bench.device.type == "cuda"
    copy = bench.bandwidth() if fast else 0.0
    lines = ["| loss | run | ms | × CE | memory |" + (" bandwidth |" if fast else "")]
    lines.append("|---|---|--:|--:|--:|" + ("--:|" if fast else ""))
    for entry in entries:
        if entry.error:
            lines.append(f"| `{entry.name}` | {entry.how} | fails: {entry.error} | | |" + (" |" if fast else ""))
            continue
        line = f"| `{entry.name}` | {entry.how} | {1e3 * entry.median:.2f} | {entry.median / base:.2f} | "
        line += f"{entry.memory:.2f} |"
        if fast:  # logits read twice, the gradient written
            line += f" {3 * bench.bytes / entry.median / copy:.0%} |"
        lines.append(line)
    return "\n".join(lines)


def machine(device: torch.device) -> str:
    """What it ran on."""
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {torch.get_num_threads()} threads, torch {torch.__version__}"


def main() -> None:
    """Run the benchmark."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--losses", nargs="+", choices=list(segloss.LOSSES), default=list(segloss.LOSSES))
    arguments.add_argument("--shapes", nargs="+", default=SHAPES, help="NxCxHxW")
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments.add_argument("--repeats", type=int, default=7)
    arguments.add_argument("--no-compile", action="store_true")
    arguments.add_argument("--no-peers", action="store_true")
    arguments.add_argument("--plot", type=Path, help="draw time and memory into this PNG instead")
    options = arguments.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    torch.set_num_threads(options.threads)
    torch._dynamo.config.recompile_limit = 64
    device = torch.device(options.device)
    print(machine(device))
    if options.plot:
        from .plot import draw

        draw(options.plot, device, options.repeats)
        return
    for shape in options.shapes:
        sizes = tuple(int(size) for size in shape.split("x"))
        bench = Bench(sizes, device, getattr(torch, options.dtype))
        entries = entries_of(options.losses, sizes[1], not options.no_compile, not options.no_peers)
        bench.run(entries, options.repeats)
        print(
            f"\n{shape} {options.dtype}, {bench.bytes / 2**20:.0f} MiB of logits\n\n{table(entries, bench)}", flush=True
        )


if __name__ == "__main__":
    main()
