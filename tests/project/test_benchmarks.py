"""The benchmark of the losses measures what it says."""

import torch

from benchmarks.losses import Bench, Entry, entries_of, table


def test_memory_is_what_is_held_beyond_the_input():
    bench = Bench((1, 4, 64, 64), torch.device("cpu"))
    few, more = (bench.memory(lambda z, t, n=n: sum(z.exp().sum() for _ in range(n))) for n in (1, 3))
    assert few >= 1.99  # what exp keeps, and the gradient
    assert more >= few + 1.99


def test_the_table_has_every_loss_and_its_peers():
    bench = Bench((1, 3, 16, 16), torch.device("cpu"))
    entries = entries_of(["dice", "lovasz"], 3, compiled=False, peers=True)
    entries.append(Entry("broken", "eager", lambda z, t: z.view(7)))
    bench.run(entries, repeats=1)
    text = table(entries, bench)
    for start in ("| `ce` | torch", "| `dice` | eager", "| `dice` | MONAI", "| `lovasz` | smp", "| `lovasz` | kornia"):
        assert sum(line.startswith(start) for line in text.splitlines()) == 1, text
    assert "| `broken` | eager | fails: shape" in text
