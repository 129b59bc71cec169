"""The cells of a grid forked from a process that has imported everything, where the program would start them.

`Cells` is that process. A grid is to start this file in place of `train_seg.py`: it hands its arguments, environment
and handles over, and ends as the process ends that is forked for it. That one has the standard input, the log and the
signals of a cell that is started, and takes seconds less.
"""

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

ADDRESS = "cells.socket"
"""In the working folder, which grids and their cells share."""
MOST_BYTES = 2**20


def main():
    """Have a cell forked, and end as it ends."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.connect(ADDRESS)
        said = json.dumps([sys.argv[1:], dict(os.environ)]).encode()
        socket.send_fds(server, [said], [0, 1, 2])
        code = int(server.recv(MOST_BYTES))
    if code < 0:
        os.kill(os.getpid(), -code)
    sys.exit(code)


class Cells:
    """The process that cells are forked from; as a context, it and they are gone afterwards.

    Args:
        folder: the working folder.
    """

    def __init__(self, folder):
        from segloss_tests import runs

        (folder / ADDRESS).unlink(missing_ok=True)
        self.process = runs.forked(_serve, folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.process.kill()
        self.process.join()

    def running(self):
        """The cells."""
        import psutil

        found = []
        for keeper in psutil.Process(self.process.pid).children():
            try:
                found += keeper.children()
            except psutil.NoSuchProcess:
                continue
        return found

    def kill_one(self):
        """Kill a cell; whether there is one."""
        import psutil

        for cell in self.running():
            with suppress(psutil.NoSuchProcess):
                cell.kill()
                return True
        return False

    def kill(self):
        """Kill all cells, as a machine does that is switched off."""
        while self.kill_one():
            pass


def _serve(folder):
    """Fork a keeper for every cell."""
    os.chdir(folder)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for keepers
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(ADDRESS)
    listener.listen()
    while True:
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _keep(client)
        client.close()


def _keep(client):
    """Fork a cell, and tell its client how it ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    said, handles, _, _ = socket.recv_fds(client, MOST_BYTES, 3)
    arguments, environment = json.loads(said)
    cell = os.fork()
    if cell == 0:
        client.close()
        for number, handle in enumerate(handles):
            os.dup2(handle, number)
            os.close(handle)
        _train(arguments, environment)
    for handle in handles:
        os.close(handle)
    code = os.waitstatus_to_exitcode(os.waitpid(cell, 0)[1])
    with suppress(OSError):  # it was killed
        client.send(str(code).encode())
    os._exit(0)


def _train(arguments, environment):
    from segloss_tests import runs

    sys.stdin, sys.stdout, sys.stderr = (open(number, mode) for number, mode in enumerate("rww"))  # noqa: SIM115, PTH123
    os.environ.clear()
    sys.exit(runs.program(Path.cwd(), arguments, environment))


if __name__ == "__main__":
    main()
