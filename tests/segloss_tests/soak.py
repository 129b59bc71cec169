"""What takes too long for every change: `make soak`, or one of its parts, as `python tests/segloss_tests/soak.py …`.

soak.py table --count 100 --seed 3    faults of every kind; each run must end the same, or in one line first
soak.py table --count 1000 --out faults.json --folder DIR    in pieces: it goes on with what the file holds
soak.py loader --epochs 10000         loader epochs without growth of memory, handles, shared memory
soak.py start --patients 2000         a large data set: time to the first step, memory of check
fuzz.py --seconds 600                 damaged files for every reader
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import datasets
from datasets.cache import Cache
from datasets.files import write_atomically
from datasets.normalise import NORMALISATIONS
from segloss_tests.faults import EQUAL, KINDS, LEFT_OUT, LINE, LOST, MISSED, Fault, attempt
from segloss_tests.runs import small_yaml

KEPT = (
    *(".cache", "camvid", "cells.socket", "disk", "elsewhere", "lost", "read-only"),
    *("whole", "whole-0", "whole-2", "whole-two"),
)
"""What lies in the folder of the faults for all of them."""


def table(count: int, seed: int, out: Path | None, folder: Path) -> None:
    """Let faults of all kinds happen until so many have hit; print their table.

    Args:
        count: of the faults in the table.
        seed: of all that is drawn.
        out: a JSON file of what has happened, which is gone on with; None for none.
        folder: of the runs.
    """
    done = [Fault(**one) for one in json.loads(out.read_text())] if out is not None and out.is_file() else []
    while sum(one.ended not in (MISSED, LEFT_OUT) for one in done) < count:
        fault = attempt(folder, seed, done)
        if fault.ended == LOST or (fault.ended == LEFT_OUT and fault not in done):
            print(f"fault {len(done)}, {fault.kind}: {fault.ended}: {fault.why}", flush=True)
        if fault.ended == LOST:
            shutil.copytree(folder, folder / "lost" / str(len(done)), ignore=shutil.ignore_patterns(*KEPT))
        done.append(fault)
        if out is not None:
            write_atomically(out, json.dumps([one._asdict() for one in done], indent=1).encode())
    print(as_markdown(done), flush=True)


def as_markdown(done: Sequence[Fault]) -> str:
    """What has happened, a row a kind: how many, how many ended equal at once, how many in one line first, lost."""
    lines = ["| fault | count | ended bit for bit the same | told in one line, then the same | lost |"]
    lines.append("|---|---|---|---|---|")
    for kind in [*KINDS, "all"]:
        ends = [one.ended for one in done if kind in (one.kind, "all")]
        numbers = [ends.count(end) for end in (EQUAL, LINE, LOST)]
        lines.append(f"| {kind} | {' | '.join(map(str, (sum(numbers), *numbers)))} |")
    return "\n".join(lines)


def loader(epochs: int, folder: Path) -> None:
    """Go through the training samples so many times, and the validation samples a tenth as often."""
    small_yaml(folder)
    adapter = datasets.ADAPTERS["camvid"](root=str(folder / "camvid"))
    cases = list(
        Cache(folder / "cache", adapter, (24, 32), None, NORMALISATIONS["imagenet"](), "").decode(adapter.cases())
    )
    augmentation = datasets.Augmentation([{"name": "HorizontalFlip"}])
    samples = datasets.Samples(cases, augmentation)
    for workers in (0, 2):
        batches = datasets.TrainingBatches(len(samples), 2, 0)
        training = datasets.training_loader(samples, batches, workers)
        seen, before = 0, {}
        for epoch in range(epochs):
            batches.set_epoch(epoch)
            seen += sum(len(batch["image"]) for batch in datasets.unwrap_worker_errors(training))
            if epoch % 100 == 0 and epoch < epochs // 10:
                scored = datasets.evaluation_loader(samples, 2, workers)
                seen += sum(len(batch["image"]) for batch in datasets.unwrap_worker_errors(scored))
            if epoch == epochs // 10:
                before = held()
        after = held()
        print(f"{workers} workers, {epochs} epochs, {seen} samples: {before} -> {after}", flush=True)
        assert after["handles"] <= before["handles"] + 2
        assert after["shared"] <= before["shared"]
        assert after["MiB"] <= before["MiB"] + 16
        del training


def held() -> dict[str, int]:
    """Memory of this process and its children in MiB, its open handles, and the entries of shared memory."""
    me = Path("/proc/self")
    pids = [int(pid) for task in (me / "task").iterdir() for pid in (task / "children").read_text().split()]
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in ["self", *pids])
    return {
        "MiB": pages * resource.getpagesize() // 2**20,
        "handles": len(list((me / "fd").iterdir())),
        "shared": sum(f"_{pid}_" in path.name for path in Path("/dev/shm").iterdir() for pid in [os.getpid(), *pids]),
    }


def start(patients: int, folder: Path) -> None:
    """Make so many phantom patients, decode them, and time what a start costs then; `check` in bounded memory."""
    path = folder / "run.yaml"
    text = (ROOT / "configs/demo.yaml").read_text().replace("patients: 20", f"patients: {patients}\n  workers: 0")
    path.write_text(text.replace("test: 4, val: 2", "test: 0.1, val: 0.01"))
    door = [sys.executable, str(ROOT / "train_seg.py")]
    for when in ("made and decoded", "cached"):
        began = time.monotonic()
        shutil.rmtree(folder / "runs/demo", ignore_errors=True)
        process = subprocess.Popen(
            [*door, "train", str(path), "train.checkpoint_steps=1"], cwd=folder, stdout=subprocess.DEVNULL
        )
        while not (folder / "runs/demo/checkpoints/last.safetensors").exists():
            assert process.poll() is None, "the run has ended before its first step"
            time.sleep(0.05)
        print(f"{patients} patients, {when}: {time.monotonic() - began:.1f} s to the first checkpoint", flush=True)
        process.kill()
        process.wait()
    began = time.monotonic()
    subprocess.run([*door, "check", str(path)], cwd=folder, stdout=subprocess.DEVNULL, check=True)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"check: {time.monotonic() - began:.1f} s, {most} MiB at most (of these and the trainings)")


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["table", "loader", "start"])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="what has happened so far, as JSON")
    parser.add_argument("--epochs", type=int, default=10_000)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="where; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        if options.part == "table":
            table(options.count, options.seed, options.out, folder)
        elif options.part == "loader":
            loader(options.epochs, folder)
        else:
            start(options.patients, folder)


if __name__ == "__main__":
    main()
