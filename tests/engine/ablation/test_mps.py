"""The service that lets processes share a GPU, with a program in its place."""

import os
from pathlib import Path

import pytest

from engine.ablation import executors, mps
from engine.ablation.executors import LocalExecutor
from engine.ablation.mps import CONTROL, PIPES, multi_process_service

FAKE = """\
#!/bin/sh
said=$([ "$1" = -d ] || cat)
printf '%s|%s|%s|%s\\n' "$1" "$said" "$CUDA_MPS_PIPE_DIRECTORY" "${{CUDA_VISIBLE_DEVICES-all}}" >> {log}
{last}
"""


@pytest.fixture
def control(tmp_path, monkeypatch):
    """Puts a program in place of NVIDIA's; gives what it was called with: option, input, folder, devices."""
    monkeypatch.delenv(PIPES, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")

    def put(last="exit 0"):
        program, log = tmp_path / CONTROL, tmp_path / "calls"
        program.write_text(FAKE.format(log=log, last=last))
        program.chmod(0o755)
        return lambda: [line.split("|") for line in log.read_text().splitlines()]

    return put


def test_it_is_started_in_a_folder_of_its_own_and_ended(control):
    calls, said = control(), []

    def stopped():
        with multi_process_service(said.append) as environment:
            said.append(environment[PIPES])
            assert Path(environment[PIPES]).is_dir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    (folder,) = said
    assert calls() == [["-d", "", folder, "all"], ["", "quit", folder, "all"]]
    assert not Path(folder).exists()


def test_a_service_that_keeps_its_output_open_is_not_waited_for(control, monkeypatch):
    monkeypatch.setattr(mps, "SECONDS", 2.0)
    control("sleep 6 &")
    said = []
    with multi_process_service(said.append) as environment:
        assert PIPES in environment
    assert said == []


def test_without_it_cells_take_turns(control, monkeypatch, tmp_path):
    said = []
    control("echo no permission >&2; exit 1")
    with multi_process_service(said.append) as environment:
        assert environment == {}
    assert said == [f"cells on one GPU take turns, since {CONTROL} does not start: no permission"]
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with multi_process_service(said.append) as environment:
        assert environment == {}
    assert said[1] == f"cells on one GPU take turns, since {CONTROL} is not there"


def test_one_that_runs_already_is_used(control, monkeypatch):
    control()
    monkeypatch.setenv(PIPES, "/somewhere")
    with multi_process_service(print) as environment:
        assert environment == {}


@pytest.mark.parametrize(("gpus", "workers", "starts"), [(["0"], 2, True), (["0", "1"], 2, False), ([], 2, False)])
def test_it_is_for_more_cells_than_gpus(control, monkeypatch, gpus, workers, starts):
    class Nothing:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    calls = control()
    monkeypatch.setattr(executors, "LocalCluster", Nothing)
    monkeypatch.setattr(executors, "Client", Nothing)
    with LocalExecutor(workers, 1, gpus).connect(4, print) as found:
        assert (PIPES in found.environment) == starts
    assert not starts or [call[:2] for call in calls()] == [["-d", ""], ["", "quit"]]
