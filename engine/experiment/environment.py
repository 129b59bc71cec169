"""What a run begins with: versions, code and machine."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ..processes.ranks import world_size

PACKAGES = ("torch", "torchvision", "segmentation-models-pytorch", "albumentations", "lightning-fabric", "numpy")


def environment(device: str) -> dict[str, Any]:
    """Versions, code and machine, as far as they may decide what comes out.

    Args:
        device: `train.device`; under `cpu` a GPU is left alone.
    """
    import torch

    gpu = device in ("auto", "cuda") and torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": _git(),
        "device": torch.cuda.get_device_name() if gpu else platform.machine(),
        "threads": torch.get_num_threads(),
        "processes": world_size(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git() -> dict[str, Any] | None:
    def ask(*arguments: str) -> str:
        answer = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            start_new_session=True,  # a signal to the whole job would end it, and the run begin without its commit
        )
        return answer.stdout.strip()

    try:
        return {"commit": ask("rev-parse", "HEAD"), "changed": bool(ask("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):
        return None
