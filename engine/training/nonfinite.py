"""What is reported and kept of a step whose loss or gradient was not finite."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from matplotlib.figure import Figure
from safetensors.torch import save
from torch import Tensor

import datasets
from datasets.files import write_atomically

from ..errors import NotFiniteError
from ..experiment.run import Run
from ..pictures.chart import write_figure
from ..pictures.palette import coloured, palette
from ..processes import ranks

LATE = 8
"""Steps after which a flag of the GPU is read: it has arrived by then, and nothing waits."""
MOST_KEPT = 10
"""Steps of a run whose samples are kept; later ones are only reported."""
MOST_DRAWN = 8


@dataclass(frozen=True)
class Step:
    """A step that has been taken, as far as it may have to be reported.

    Attributes:
        number: optimizer steps done with it.
        epoch: counted from 1.
        position: of its first sample in the epoch.
        group: its batches, as they were loaded.
        flags: gives whether loss and gradient were not finite.
    """

    number: int
    epoch: int
    position: int
    group: Sequence[datasets.PackedSample]
    flags: Callable[[], list[bool]]


class NonFiniteMonitor:
    """Reads the guard's flags some steps later, and keeps the samples of the steps that were skipped.

    Args:
        run: samples are kept in its folder `nonfinite`.
        cases: the training cases, by their number in a sample.
        classes: the names of the classes.
        stops: the first such step ends the run.
        late: steps between a flag and its reading.
        tell: shows a line.
    """

    def __init__(
        self,
        run: Run,
        cases: Sequence[datasets.CachedCase],
        classes: Sequence[str],
        stops: bool,
        late: int,
        tell: Callable[[str], None],
    ) -> None:
        self.run, self.cases, self.classes, self.stops, self.late, self.tell = run, cases, classes, stops, late, tell
        self.pending: deque[Step] = deque()

    def add(
        self, number: int, epoch: int, position: int, group: Sequence[datasets.PackedSample], flags: Tensor
    ) -> None:
        """Note a step; a `NotFiniteError` where one of those before it was not finite and the run is to stop."""
        self.pending.append(Step(number, epoch, position, group, later(flags)))
        self.read(self.late)

    def read(self, left: int = 0) -> None:
        """Read all flags but the last `left`; see `add`."""
        while len(self.pending) > left:
            step = self.pending.popleft()
            if any(flags := step.flags()):
                self._report(step, *flags)

    def _report(self, step: Step, loss: bool, gradient: bool) -> None:
        step = replace(step, group=ranks.gather_batches([_here(batch) for batch in step.group]))
        what = "loss" if loss else "gradient"
        line = f"{self.run.path}: the {what} became NaN or infinite in epoch {step.epoch}, step {step.number}"
        folder = self.run.path / "nonfinite"
        if ranks.all_gather(len(list(folder.glob("*.json"))))[0] < MOST_KEPT:
            line += f" (its samples: {self._keep(step, loss, gradient)})"
        poor = [row for row in self._samples(step) if not row["finite"]]
        if poor:
            line += f"; the image of case {poor[0]['case']}, slice {poor[0]['slice']} is not finite itself"
        if self.stops:
            raise NotFiniteError(
                f"{line}; lower optim.lr or set train.clip_norm, and give the run another name, or skip such steps: "
                "run the same command with train.nonfinite=skip to resume"
            )
        self.tell(f"warning: {line}; skipped")

    def _keep(self, step: Step, loss: bool, gradient: bool) -> str:
        path = self.run.path / "nonfinite" / f"step-{step.number:06d}.json"
        facts = {
            "step": step.number,
            "epoch": step.epoch,
            "not_finite": [name for name, bad in (("loss", loss), ("gradient", gradient)) if bad],
            "samples": self._samples(step),
        }
        batches = [datasets.unpacked(batch) for batch in step.group]
        tensors = {f"{key}.{n}": batch[key] for n, batch in enumerate(batches) for key in ("image", "mask")}
        if self.run.writes:
            path.parent.mkdir(exist_ok=True)
            write_atomically(path.with_suffix(".safetensors"), save({k: t.contiguous() for k, t in tensors.items()}))
            write_figure(picture(batches[0], self.classes), path.with_suffix(".png"), dpi=80)
            write_atomically(path, (json.dumps(facts, indent=1) + "\n").encode())
        ranks.barrier()
        return str(path)

    def _samples(self, step: Step) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = []
        for batch in step.group:
            for image, case, slice_index in zip(
                datasets.unpacked(batch)["image"], _list(batch["case"]), _list(batch["slice"]), strict=True
            ):
                rows.append(
                    {
                        "position": step.position + len(rows),
                        "case": self.cases[case].case.id,
                        "slice": slice_index,
                        "finite": bool(torch.isfinite(image).all()),
                    }
                )
        return rows


def _here(batch: datasets.PackedSample) -> datasets.PackedSample:
    """A batch on the CPU, wherever it was made."""
    here: Any = {key: value.cpu() if isinstance(value, Tensor) else value for key, value in batch.items()}
    found: datasets.PackedSample = here
    return found


def later(flags: Tensor) -> Callable[[], list[bool]]:
    """What gives a device's flags as they are now, once it has got so far; on a GPU they travel meanwhile."""
    if not flags.is_cuda:
        return flags.tolist
    here = torch.empty_like(flags, device="cpu", pin_memory=True)
    here.copy_(flags, non_blocking=True)
    arrived = torch.cuda.Event()
    arrived.record()

    def read() -> list[bool]:
        arrived.synchronize()
        found: list[bool] = here.tolist()
        return found

    return read


def picture(batch: datasets.Sample, classes: Sequence[str]) -> Figure:
    """The first samples of a batch as the network saw them, their masks below; what is not finite is blank."""
    images, masks = batch["image"][:MOST_DRAWN], batch["mask"][:MOST_DRAWN]
    if masks.is_floating_point():
        masks = masks.argmax(1)  # of mixed labels the larger share
    figure = Figure(figsize=(2.2 * len(images), 4.6), layout="constrained")
    rows = figure.subplots(2, len(images), squeeze=False)
    colours, background = palette(len(classes)), datasets.background_index(classes)
    for column, (image, mask) in enumerate(zip(images, masks, strict=True)):
        grey = image.mean(0).numpy()
        rows[0, column].imshow(grey, cmap="gray")
        rows[1, column].imshow(grey, cmap="gray")
        rows[1, column].imshow(coloured(mask.numpy(), colours, background), interpolation="nearest")
        for row in rows[:, column]:
            row.set_axis_off()
    return figure


def _list(value: object) -> list[int]:
    return torch.as_tensor(value).tolist()
