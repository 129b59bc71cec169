"""What takes too long for every change: `make soak`, or one of its parts, as `python tests/segloss_tests/soak.py …`.

soak.py kills --count 20 --seed 3     kill runs at random points, in saves too; each must end the same
soak.py grid --count 10               kill a grid of four trainings; its tables must end the same
soak.py grid --count 5 --tuned        the same of a grid that is tuned first
soak.py loader --epochs 10000         loader epochs without growth of memory, handles, shared memory
soak.py start --patients 2000         a large data set: time to the first step, memory of check
fuzz.py --seconds 600                 damaged files for every reader
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import datasets
from datasets.cache import Cache
from datasets.normalise import NORMALISATIONS
from segloss_tests.grids import grid_yaml, without_hours
from segloss_tests.runs import Started, assert_same_run, saving, small_yaml

MODEL = "model={name: unet2015, width: 8, depth: 2, batch_norm: true, dropout: 0.2, acw: {constraint: positive}}"
TUNED = [
    "data.split.val=3",
    "ablation.tune={keys: {optim.lr: {low: 1e-4, high: 1e-2, log: true}}, trials: 3, epochs: 1}",
]
ARGUMENTS = [MODEL, "loss.name=cdb_ce", "data.augment=[{name: HorizontalFlip}]", "train.epochs=12"]


def kills(count: int, seed: int, folder: Path) -> None:
    """Kill and continue runs until `count` kills have hit; every run must end as one that was never stopped."""
    rng = random.Random(seed)
    command = ["train", small_yaml(folder), *ARGUMENTS]
    began = time.monotonic()
    assert Started(folder, *command, "name=whole", save_seconds=0.02).end() == 0
    whole, hits, runs = time.monotonic() - began, {"any": 0, "save": 0, "term": 0}, 0
    while sum(hits.values()) < count:
        name = f"cut{runs}"
        run, runs = folder / "runs" / name, runs + 1
        for _ in range(rng.randint(1, 5)):
            kind = rng.choice(list(hits))
            workers, every = rng.choice((0, 0, 1, 2)), rng.choice(("checkpoint_steps=1", "checkpoint_minutes=2e-3"))
            started = Started(folder, *command, f"name={name}", f"data.workers={workers}", f"train.{every}",
                              save_seconds=rng.choice((0.01, 0.05)))  # fmt: skip
            until = time.monotonic() + rng.uniform(0, whole)
            if kind == "save":
                for _ in range(rng.randint(1, 20)):  # the start of so many saves
                    started.until(lambda run=run: not saving(run))
                    started.until(lambda run=run: saving(run))
            else:
                started.until(lambda until=until: time.monotonic() > until)
            code = started.kill(signal.SIGTERM if kind == "term" else signal.SIGKILL)
            assert code in ((0, None) if kind == "term" else (-signal.SIGKILL, None)), code
            hits[kind] += code is not None
        assert Started(folder, *command, f"name={name}").end() == 0, (folder / "output.txt").read_text()[-3000:]
        assert_same_run(folder / "runs/whole", run)
        assert {path.name for path in run.iterdir()} == {path.name for path in (folder / "runs/whole").iterdir()}
        shutil.rmtree(run)
    print(f"{sum(hits.values())} kills of {runs} runs ({hits}): all ended the same, bit for bit")


def grid(count: int, seed: int, folder: Path, tuned: bool = False) -> None:
    """Kill an ablation of four trainings at random points; started again it must end with the same tables."""
    rng = random.Random(seed)
    command = [sys.executable, str(ROOT / "train_seg.py"), "ablate", str(grid_yaml(folder)), "ablation.workers=2"]
    command += TUNED if tuned else []
    began = time.monotonic()
    subprocess.run([*command, "output=whole"], cwd=folder, stdout=subprocess.DEVNULL, check=True)
    whole, kills = time.monotonic() - began, 0
    while kills < count:
        while kills < count:
            with subprocess.Popen([*command, "output=cut"], cwd=folder, stdout=subprocess.DEVNULL) as started:
                try:
                    started.wait(rng.uniform(0.1, 1) * whole)
                    break
                except subprocess.TimeoutExpired:
                    started.kill()
                    kills += 1
        subprocess.run([*command, "output=cut"], cwd=folder, stdout=subprocess.DEVNULL, check=True)
        for table in ("table.csv", "table.md", "table.tex"):
            one, other = (without_hours((folder / name / "grid" / table).read_text()) for name in ("cut", "whole"))
            assert one == other, table
        for scores in (folder / "whole/grid").rglob("fold-*/scores.json"):
            run = scores.parent
            assert_same_run(run, folder / "cut/grid" / run.relative_to(folder / "whole/grid"))
        shutil.rmtree(folder / "cut")
    print(f"{kills} kills of grids: tables and runs ended the same, bit for bit")


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
    for attempt in ("made and decoded", "cached"):
        began = time.monotonic()
        shutil.rmtree(folder / "runs/demo", ignore_errors=True)
        process = subprocess.Popen(
            [*door, "train", str(path), "train.checkpoint_steps=1"], cwd=folder, stdout=subprocess.DEVNULL
        )
        while not (folder / "runs/demo/checkpoints/last.safetensors").exists():
            assert process.poll() is None, "the run has ended before its first step"
            time.sleep(0.05)
        print(f"{patients} patients, {attempt}: {time.monotonic() - began:.1f} s to the first checkpoint", flush=True)
        process.kill()
        process.wait()
    began = time.monotonic()
    subprocess.run([*door, "check", str(path)], cwd=folder, stdout=subprocess.DEVNULL, check=True)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
    print(f"check: {time.monotonic() - began:.1f} s, {most} MiB at most (of these and the trainings)")


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["kills", "grid", "loader", "start"])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--tuned", action="store_true")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=10_000)
    parser.add_argument("--patients", type=int, default=2000)
    parser.add_argument("--folder", type=Path, help="where; default: a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        if options.part == "kills":
            kills(options.count, options.seed, folder)
        elif options.part == "grid":
            grid(options.count, options.seed, folder, options.tuned)
        elif options.part == "loader":
            loader(options.epochs, folder)
        else:
            start(options.patients, folder)


if __name__ == "__main__":
    main()
