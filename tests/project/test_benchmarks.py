"""The benchmark of the losses measures what it says."""

import torch

from benchmarks.losses import Bench, Entry, entries_of


def test_memory_is_what_is_held_beyond_the_input():
    bench = Bench((1, 4, 64, 64), torch.device("cpu"))
    few, more = (bench.memory(lambda z, t, n=n: sum(z.exp().sum() for _ in range(n))) for n in (1, 3))
    assert few >= 1.99  # what exp keeps, and the gradient
    assert more >= few + 1.99


def test_every_entry_is_measured_or_says_why_not():
    bench = Bench((1, 3, 16, 16), torch.device("cpu"))
    entries = entries_of(["dice", "lovasz"], 3, compiled=False, peers=True)
    broken = Entry("broken", "eager", lambda z, t: z.view(7))
    bench.run([*entries, broken], repeats=1)
    assert broken.error.startswith("shape")
    assert {(entry.name, entry.how.split()[0]) for entry in entries} >= {
        ("ce", "torch"), ("dice", "eager"), ("dice", "MONAI"), ("lovasz", "smp"), ("lovasz", "kornia")
    }  # fmt: skip
    assert all(not entry.error and len(entry.times) == 1 for entry in entries)
