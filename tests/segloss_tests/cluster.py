"""A scheduler of Dask and its workers, as processes that can be killed."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager

HOST = "127.0.0.1"


def dask(folder, *arguments):
    """A process of Dask, in a folder that knows nothing of this checkout."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@contextmanager
def running(folder, workers):
    """A scheduler and its workers: the address, the processes of the workers, and that of the scheduler."""
    folder.mkdir(exist_ok=True)
    scheduler = dask(folder, "distributed.cli.dask_scheduler", "--host", HOST, "--port", "0", "--no-dashboard")
    said = iter(scheduler.stderr.readline, b"")
    address = next(found[0] for line in said if (found := re.search(rf"tcp://{HOST}:\d+", line.decode())))
    options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", HOST)
    started = [dask(folder, "distributed.cli.dask_worker", address, *options) for _ in range(workers)]
    try:
        yield address, started, scheduler
    finally:
        for process in [*started, scheduler]:
            process.kill()
            process.wait()
            process.stderr.close()
