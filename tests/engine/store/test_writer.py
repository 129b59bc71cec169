"""Checkpoints that are written while training goes on."""

import json
import threading

import pytest
import torch
from safetensors import safe_open

from datasets import DataError
from engine.store import checkpoint as module
from engine.store.checkpoint import Checkpoint, Snapshot
from engine.store.writer import CheckpointWriter

SECONDS = 20


def snapshot(number):
    return Snapshot(Checkpoint({"a": torch.full((3,), float(number))}, {"n": number}))


def test_a_snapshot_is_of_its_moment(tmp_path):
    """And its file is one of safetensors, whatever the memory order, types and shapes of the tensors."""
    tensors = {
        "kernel": torch.randn(3, 4, 5, 6).contiguous(memory_format=torch.channels_last),
        "count": torch.tensor(3),
        "flags": torch.tensor([True, False]),
        "half": torch.randn(3).bfloat16(),
        "random": torch.arange(7, dtype=torch.uint8),
        "empty": torch.zeros(0, 2),
        "exact": torch.randn(2, dtype=torch.float64),
    }
    expected = {name: tensor.clone() for name, tensor in tensors.items()}
    taken = Snapshot(Checkpoint(tensors, {"x": ["ü", None]}))
    for tensor in tensors.values():
        tensor.zero_()
    taken.write(tmp_path / "c")
    with safe_open(tmp_path / "c", framework="pt") as file:
        assert json.loads(file.metadata()["state"]) == {"x": ["ü", None]}
        assert set(file.keys()) == set(expected)
        for name, tensor in expected.items():
            assert file.get_tensor(name).dtype == tensor.dtype
            assert torch.equal(file.get_tensor(name), tensor), name
    loaded = Checkpoint.load(tmp_path / "c")
    assert all(torch.equal(loaded.tensors[name], tensor) for name, tensor in expected.items())


def test_one_group_of_files_is_written_at_a_time_in_order(tmp_path, monkeypatch):
    begun, go_on, written = threading.Event(), threading.Event(), []

    def slowly(path, content):
        begun.set()
        assert go_on.wait(SECONDS)
        written.append(path.name)
        path.write_bytes(content)

    monkeypatch.setattr(module, "write_atomically", slowly)
    with CheckpointWriter() as writer:
        writer.start([(tmp_path / "best", snapshot(1)), (tmp_path / "last", snapshot(1))])
        assert begun.wait(SECONDS)
        assert written == []
        second = threading.Thread(target=writer.start, args=([(tmp_path / "last", snapshot(2))],))
        second.start()
        second.join(0.05)
        assert second.is_alive()  # waits for the first
        go_on.set()
        second.join(SECONDS)
        assert written[:2] == ["best", "last"]
    assert written == ["best", "last", "last"]
    assert Checkpoint.load(tmp_path / "last").state == {"n": 2}


def test_what_cannot_be_written_is_said_when_it_is_waited_for(tmp_path, monkeypatch):
    snapshot(1).write(tmp_path / "last")

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    writer = CheckpointWriter()
    writer.start([(tmp_path / "last", snapshot(2))])
    with pytest.raises(DataError, match="the disk is full"):
        writer.start([(tmp_path / "last", snapshot(3))])
    writer.wait()  # it is said once
    assert Checkpoint.load(tmp_path / "last").state == {"n": 1}
    with pytest.raises(DataError, match="the disk is full"), CheckpointWriter() as writer:
        writer.start([(tmp_path / "last", snapshot(2))])

    def interrupted():
        with CheckpointWriter() as writer:
            writer.start([(tmp_path / "last", snapshot(2))])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        interrupted()
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
