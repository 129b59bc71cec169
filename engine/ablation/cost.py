"""What the training of each arm has cost."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

from ..console.sections import Section
from ..experiment.run import TRAINED
from .record import Record

COLUMNS = ["arm", "epochs", "steps", "device hours", "parameters"]


def cost(record: Record, folder: Path) -> Section | None:
    """What the finished trainings of each arm took, and the parameters of its network; None where none is finished."""
    rows = []
    for arm, one in record.arms.items():
        of_arm = [run for name, _, _, run in record.every(folder) if name == arm and run.finished]
        runs = [*{one.path: one for run in of_arm for one in run.members}.values()]  # an ensemble stands for all seeds
        logs = [log for log in (run.history() for run in runs) if log and all("seconds" in line for line in log)]
        if not logs:
            continue
        epochs = mean(map(len, logs))
        steps = mean(log[-1]["step"] for log in logs)
        hours = sum(line["seconds"] for log in logs for line in log) / 3600
        counts = [
            run.training.read_json(TRAINED).get("parameters") for run in runs if (run.training.path / TRAINED).is_file()
        ]
        parameters = f"{counts[0]:,}" if counts and counts[0] else "-"
        of = f" (those of {one.shares})" if one.shares else ""
        rows.append([arm, f"{epochs:g}", f"{steps:,.0f}", f"{hours:.2f}{of}", parameters])
    if not rows:
        return None
    lines = ["Epochs and steps of one training, mean over folds and seeds; hours of all of them, without validation."]
    return Section("cost of training", lines, COLUMNS, rows)
