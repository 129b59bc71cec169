import pickle
from dataclasses import asdict

import pytest
import torch
from torch import nn

from datasets import DataError
from engine.errors import UsageError
from engine.store.checkpoint import (
    Checkpoint,
    load_model,
    load_optimizer,
    load_random,
    optimizer_state,
    prefixed,
    random_state,
)
from engine.store.state import State


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_an_optimizer_goes_on_to_the_bit(tmp_path, kind):
    def start():
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        return model, kind(model.parameters(), lr=0.1, **options)

    def step(model, optimizer, seed):
        torch.manual_seed(seed)
        optimizer.zero_grad()
        model(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()

    model, optimizer = start()
    step(model, optimizer, 1)
    tensors, groups = optimizer_state(optimizer)
    checkpoint = Checkpoint(
        {**prefixed("model", model.state_dict()), **prefixed("optimizer", tensors)}, {"groups": groups}
    )
    checkpoint.save(tmp_path / "c")
    step(model, optimizer, 2)

    resumed, other = start()
    loaded = Checkpoint.load(tmp_path / "c")
    load_model(resumed, loaded, tmp_path / "c")
    load_optimizer(other, loaded.part("optimizer"), loaded.state["groups"])
    step(resumed, other, 2)
    assert torch.equal(model.weight, resumed.weight)
    assert torch.equal(model.bias, resumed.bias)


def test_the_random_generator_comes_back(tmp_path):
    Checkpoint(random_state(), {}).save(tmp_path / "c")
    expected = torch.rand(3).tolist()
    load_random(Checkpoint.load(tmp_path / "c").tensors)
    assert torch.rand(3).tolist() == expected


def test_a_training_that_has_not_begun_has_nothing_done():
    assert not any(asdict(State()).values())


def test_a_checkpoint_of_another_model_is_refused():
    checkpoint = Checkpoint(prefixed("model", nn.Linear(3, 2).state_dict()), {})
    for model, says in [
        (nn.Linear(3, 4), r"bias is \(2,\), not \(4,\)"),
        (nn.BatchNorm1d(2), "it lacks num_batches_tracked"),
        (nn.Linear(3, 2, bias=False), "it has bias"),
    ]:
        with pytest.raises(UsageError, match=says):
            load_model(model, checkpoint, "c")
    checkpoint = Checkpoint({f"model.{name}": torch.zeros(1) for name in "hgfedcba"}, {})
    with pytest.raises(UsageError, match="another model: it lacks bias, it has a; use the run it belongs to"):
        load_model(nn.Linear(3, 2), checkpoint, "c")


def test_damaged_and_foreign_files_are_refused_and_never_unpickled(tmp_path):
    path = tmp_path / "c"
    Checkpoint({"a": torch.zeros(100)}, {"n": 1}).save(path)
    whole = path.read_bytes()
    for content, says in [
        (whole[:-50], "damaged"),
        (whole[:20], "damaged"),
        (b"", "damaged"),
        (pickle.dumps({"a": 1}), "damaged"),
        (whole[:-1] + b"\x01", "does not agree with its digest"),
        (whole.replace(b'\\"n\\": 1', b'\\"n\\": 2'), "does not agree with its digest"),
    ]:
        path.write_bytes(content)
        with pytest.raises(UsageError, match=says):
            Checkpoint.load(path)
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match="not a checkpoint of this program"):
        Checkpoint.load(path)
    with pytest.raises(UsageError, match="no such checkpoint"):
        Checkpoint.load(tmp_path / "no")


def test_a_failed_save_leaves_the_old_one_whole(tmp_path, monkeypatch):
    path = tmp_path / "c"
    Checkpoint({"a": torch.ones(3)}, {"n": 1}).save(path)

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(DataError, match="the disk is full"):
        Checkpoint({"a": torch.zeros(3)}, {"n": 2}).save(path)
    assert Checkpoint.load(path).state == {"n": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["c"]
