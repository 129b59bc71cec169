"""How time, memory and files grow with the number of images, volumes, cells of an ablation and processes.

python -m benchmarks.scale stills 1000 10000 100000
python -m benchmarks.scale pictures 1000 10000 100000
python -m benchmarks.scale volumes 100 1000
python -m benchmarks.scale cells 20 100
python -m benchmarks.scale processes 1 2 4 8

Data and runs are written below `--folder` and removed. Images are small (32 × 32) and the network is as well, so what
is measured is what every image costs beside its pixels and its arithmetic.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
SIDE = 32
SMALL = ["model={name: unet, encoder: resnet18, depth: 3, decoder_channels: [32, 16, 8]}", "train.epochs=1"]
ALIKE = ["data.augment=null", "data.workers=0", "train.batch_size=64", "train.step=eager"]


def stills(folder: Path, count: int) -> None:
    """Grey images with masks of a square, ten of a patient."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    for index in range(count):
        image, mask = _square(rng)
        name = f"p{index // 10:06d}_{index % 10}.png"
        Image.fromarray(image).save(folder / "images" / name)
        Image.fromarray(mask).save(folder / "masks" / name)


def pictures(folder: Path, count: int) -> None:
    """Pictures of ten classes in a folder each."""
    rng = np.random.default_rng(0)
    for index in range(count):
        of_class = folder / f"class{index % 10}"
        of_class.mkdir(parents=True, exist_ok=True)
        image, _ = _square(rng)
        Image.fromarray(image).save(of_class / f"{index:07d}.png")


def volumes(folder: Path, count: int) -> None:
    """NIfTI volumes of 16 slices with labels, one of a patient."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    for index in range(count):
        slices = [_square(rng) for _ in range(16)]
        image, mask = (np.stack([one[part] for one in slices], -1) for part in (0, 1))
        for kind, array in (("images", image.astype(np.int16)), ("labels", mask)):
            nibabel.save(nibabel.Nifti1Image(array, affine), folder / kind / f"p{index:05d}.nii.gz")


def _square(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image of noise with a brighter square, and its mask."""
    top, left = rng.integers(0, SIDE - 8, 2)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[top : top + 8, left : left + 8] = 1
    return (rng.integers(0, 120, (SIDE, SIDE)) + 100 * mask).astype(np.uint8), mask


DATA: dict[str, Callable[[Path, int], None]] = {"stills": stills, "pictures": pictures, "volumes": volumes}


def measured(name: str, amount: int, what: str, command: list[str | Path], folder: Path) -> None:
    """Run a command of the program and print a row: CPU time, the most memory, what lies in the folder of runs."""
    log = folder / "log.txt"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *map(str, command)], cwd=folder, stdout=file, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
    seconds = usage.ru_utime + usage.ru_stime  # not of the clock, as machines are shared
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{what}: {log.read_text()[-2000:]}")
    files = [path.stat().st_size for path in _files(folder / "runs")]
    print(
        f"| {amount:,} {name} | {what} | {seconds:.1f} | {usage.ru_maxrss / 1024:,.0f} | {len(files):,} | "
        f"{sum(files) / 2**20:.1f} |",
        flush=True,
    )


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def data(name: str, amount: int, folder: Path) -> None:
    """From a folder to a report, and the comparison of two runs."""
    door = ROOT / "train_seg.py"
    DATA[name](folder / "data", amount)
    measured(name, amount, "init", [door, "init", "data", "--out", "one.yaml"], folder)
    small = SMALL if name != "pictures" else SMALL[1:]
    settings = [*small, *ALIKE, *(["data.group='(p\\d+)_'"] if name == "stills" else [])]
    measured(name, amount, "check", [door, "check", "one.yaml", *settings], folder)
    measured(name, amount, "train, one epoch", [door, "train", "one.yaml", *settings, "name=one"], folder)
    measured(name, amount, "the same, from the cache", [door, "train", "one.yaml", *settings, "name=two"], folder)
    measured(name, amount, "report", [door, "report", "runs/two"], folder)
    measured(name, amount, "compare", [door, "compare", "runs/one", "runs/two", "--html", "page.html"], folder)


def cells(amount: int, folder: Path) -> None:
    """An ablation of so many cells: arms × five folds × two seeds."""
    stills(folder / "data", 60)
    arms = "\n".join(f"    focal{arm}: {{loss: {{name: focal, gamma: {arm / 10}}}}}" for arm in range(amount // 10))
    (folder / "ablation.yaml").write_text(
        f"""name: grid
data:
  {{name: folder, root: data, labels: {{background: 0, square: 1}}, channels: 1, group: '(p\\d+)_', workers: 0,
   split: {{kind: kfold, folds: 5, fold: all, val: 1}}}}
{SMALL[0].replace("=", ": ")}
loss: {{name: ce}}
optim: {{name: adam, lr: 1e-3}}
train: {{epochs: 1, batch_size: 16}}
ablation:
  baseline: focal0
  seeds: [0, 1]
  arms:
{arms}
"""
    )
    door = ROOT / "train_seg.py"
    measured("cells", amount, "ablate", [door, "ablate", "ablation.yaml"], folder)
    measured("cells", amount, "ablate again, all finished", [door, "ablate", "ablation.yaml"], folder)
    measured("cells", amount, "report", [door, "report", "runs/grid"], folder)


def processes(amount: int, folder: Path) -> None:
    """One epoch of 1,280 stills by so many processes."""
    stills(folder / "data", 1280)
    door = ROOT / "train_seg.py"
    measured("stills", 1280, "init", [door, "init", "data", "--out", "one.yaml"], folder)
    settings = [*SMALL, *ALIKE, f"train.devices={amount}"]
    measured("processes", amount, "train, one epoch", [door, "train", "one.yaml", *settings], folder)


def main() -> None:
    """Measure one kind at several amounts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=[*DATA, "cells", "processes"])
    parser.add_argument("amounts", type=int, nargs="+")
    parser.add_argument(
        "--folder", type=Path, help="below which all is written; default: the system's temporary folder"
    )
    options = parser.parse_args()
    print("| amount | what | CPU s | MiB at most | files in runs | MiB in runs |\n|---|---|---|---|---|---|")
    for amount in options.amounts:
        folder = Path(tempfile.mkdtemp(dir=options.folder))
        try:
            if options.kind in DATA:
                data(options.kind, amount, folder)
            else:
                (cells if options.kind == "cells" else processes)(amount, folder)
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
