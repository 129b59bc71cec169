"""NVIDIA's multi-process service: what several processes do on one GPU runs at the same time, not in turns."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory, TemporaryFile

CONTROL = "nvidia-cuda-mps-control"
"""The program that starts and ends the service; it comes with the driver."""
PIPES = "CUDA_MPS_PIPE_DIRECTORY"
SECONDS = 30.0
"""How long it may take to start or end."""


@contextmanager
def multi_process_service(report: Callable[[str], None]) -> Iterator[dict[str, str]]:
    """The service, ended afterwards; gives what the environment of a process that is to use it holds beside its own.

    Where the environment names a service already, that one is used; where there is none, processes take turns.

    Args:
        report: takes a line where they do.
    """
    if PIPES in os.environ:
        yield {}
        return
    program = shutil.which(CONTROL)
    if program is None:
        report(f"cells on one GPU take turns, since {CONTROL} is not there")
        yield {}
        return
    with TemporaryDirectory(prefix="segloss-mps-") as folder:
        own = {PIPES: folder, "CUDA_MPS_LOG_DIRECTORY": folder}
        # it must see all devices: cells name those that they take as this process does
        environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"} | own
        if (failed := _call([program, "-d"], environment, "")) is not None:
            report(f"cells on one GPU take turns, since {CONTROL} does not start: {failed}")
            yield {}
            return
        try:
            yield own
        finally:
            if (failed := _call([program], environment, "quit\n")) is not None:
                report(f"{CONTROL} does not end: {failed}; end it yourself: echo quit | {PIPES}={folder} {CONTROL}")


def _call(command: list[str], environment: dict[str, str], text: str) -> str | None:
    """Why a command has failed, in a line; None where it has not."""
    with TemporaryFile("w+") as file:  # a pipe would be the service's too, and so stay open for as long as it runs
        try:
            done = subprocess.run(
                command, env=environment, input=text, stdout=file, stderr=file, text=True, timeout=SECONDS, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return str(error)
        file.seek(0)
        said = " ".join(file.read().split())
    return None if done.returncode == 0 else said or f"exit code {done.returncode}"
