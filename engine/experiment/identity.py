"""What makes a configuration the same run as another, and what may change between two starts of one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from ..configuration.config import Config

FREE = (
    "output",
    "data.workers",
    "data.cache",
    "train.device",
    "train.devices",
    "train.tensorboard",
    "train.wandb",
    "train.checkpoint_steps",
    "train.checkpoint_minutes",
    "train.nonfinite",
)
"""What may change between two starts of one run: it decides where and how fast, not what comes out."""
REMARK = re.compile(r"data\.exclude\.\d+\.reason")
"""Keys that are for readers alone."""
AUTOMATIC = ("data.resident",)
"""Keys whose `auto` is resolved when a run begins: its `config.yaml` holds the choice, and `auto` stands for it."""
SCORING = (
    "scores.checkpoint",
    "scores.ensemble",
    "scores.flip",
    "scores.largest_component",
    "scores.adjust",
    "scores.tolerance",
)
"""What decides how a checkpoint is scored, and not how it is trained: runs that differ in these alone share one.

Validation, which chooses the checkpoint, predicts in the windows of a run, so these belong to its training.
"""
MAY_CHANGE = ("data.root", "scores.grid", "scores.window", "scores.overlap", *SCORING)
"""What an override may change when a trained run is scored, or predicts."""


def fingerprint(config: Config) -> str:
    """A hash of all that decides a training, which is not its name nor how its checkpoint is scored."""
    decisive = {key: value for key, value in identity(config).items() if not within(key, ("name", *SCORING))}
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:16]


def within(key: str, sections: Collection[str]) -> bool:
    """Whether a dotted key is one of some keys, or lies in the section of one.

    >>> within("scores.adjust.tau", ["scores.adjust"]), within("scores.adjusted", ["scores.adjust"])
    (True, False)
    """
    return any(key == one or key.startswith(f"{one}.") for one in sections)


def identity(config: Config) -> dict[str, Any]:
    """All that decides what comes out, by dotted key."""
    return {key: value for key, value in flat(config.document()) if key not in FREE and not REMARK.fullmatch(key)}


def flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested mappings, each with its dotted key."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{prefix}.{key}" if prefix else key)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        yield from flat({str(index): inner for index, inner in enumerate(value)}, prefix)
    else:
        yield prefix, value
