"""Steps that are not finite, batches that do not fit, disks that are too small."""

import copy
import json
import math

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from engine.errors import UsageError
from engine.store.disk import refuse_small_disk
from engine.training import memory
from engine.training.guard import Guard, fuse, gradient_norm
from engine.training.nonfinite import NonFiniteMonitor
from segloss_tests.runs import log, trainer

pytestmark = pytest.mark.usefixtures("rendered_figures")


class Poison(nn.Module):
    """A loss that is not finite in some calls, or whose gradient alone is not."""

    def __init__(self, loss, calls, gradient=False):
        super().__init__()
        self.loss, self.calls, self.gradient, self.done = loss, calls, gradient, 0
        self.denominator, self.new_epoch, self.follows_validation = loss.denominator, loss.new_epoch, False
        self.ignore_index = loss.ignore_index

    def forward(self, logits, target, denominator=None):
        self.done += logits.grad_fn is not None  # a step's, not the probe's of the shares
        loss = self.loss(logits, target, denominator=denominator)
        if logits.grad_fn is None or self.done not in self.calls:
            return loss
        if self.gradient:
            logits.register_hook(lambda gradient: gradient * torch.nan)
            return loss
        return loss * torch.inf


def poisoned(path, calls, *overrides, gradient=False):
    made = trainer(path, *overrides)
    made.stepper.loss = made.stepper.objective = Poison(made.stepper.loss, calls, gradient)
    return made


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("at", [0, 2])
def test_a_skipped_step_changes_nothing(optimizer, on_device, at):
    """On the CPU, and by the flag alone as on a GPU: the steps around it come out as if it had never been."""
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[optimizer]
    options = {"lr": 0.1} | ({"momentum": 0.9} if optimizer == "sgd" else {})

    def run(bad):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
        stepper = kind(model.parameters(), **options)
        guard = Guard(model, stepper, on_device)
        flags = []
        for index in range(4):
            batch = torch.randn(5, 3, generator=torch.Generator().manual_seed(index))
            if index == at:
                if not bad:
                    continue
                batch[0, 0] = torch.nan
            guard.begin()
            loss = model(batch).square().mean()
            loss.backward()
            guard.update(loss.detach())
            stepper.zero_grad()
            flags.append(guard.flags.tolist())
        return model.state_dict(), stepper.state_dict()["state"], flags

    weights, moments, flags = run(bad=True)
    expected, expected_moments, _ = run(bad=False)
    assert flags == [[index == at] * 2 for index in range(4)]
    for name, tensor in expected.items():
        assert torch.equal(weights[name], tensor), name
    for index, state in expected_moments.items():
        for name, tensor in state.items():
            assert torch.equal(moments[index][name], tensor), name


@pytest.mark.parametrize("on_device", [False, True])
def test_buffers_of_all_types_come_back_and_stay_those_of_the_network(on_device):
    """In views of one tensor a type; a copy of the network has buffers of its own."""
    model = nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1), nn.BatchNorm1d(1))
    model.register_buffer("flag", torch.tensor(True))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    guard = Guard(model, torch.optim.SGD(model.parameters(), lr=0.1), on_device)
    assert len(guard.buffers) == 3  # float32, int64, bool
    apart = copy.deepcopy(model)
    guard.begin()
    loss = model(torch.randn(4, 2)).mean() * math.nan
    loss.backward()
    model.flag.logical_not_()
    assert not torch.equal(model[0].running_mean, before["0.running_mean"])
    guard.update(loss.detach())
    for each in (model, apart):
        assert {name: buffer.tolist() for name, buffer in each.named_buffers()} == {
            name: buffer.tolist() for name, buffer in before.items()
        }
    model.load_state_dict(
        {name: tensor + 1 for name, tensor in apart.state_dict().items() if name != "flag"}, strict=False
    )
    guard.begin()
    model.eval()
    assert all(torch.equal(kept, now) for kept, now in zip(guard.before, guard.buffers, strict=True))
    (statistics,) = [flat for flat in guard.buffers if flat.is_floating_point()]
    assert float(statistics.sum()) == pytest.approx(9)  # means of 0 + 1, variances of 1 + 1


def test_the_norm_is_of_the_gradient_before_it_is_clipped(camvid_yaml):
    """Else the first gradient norms of all arms of an ablation would be train.clip_norm."""
    norms = []
    for clip in ("null", "1e-6"):
        made = trainer(
            camvid_yaml, "model={name: unet2015, width: 4, depth: 1}", f"name=clip-{clip}", f"train.clip_norm={clip}"
        )
        made.step(next(made.groups(0)))
        norms.append(float(made.stepper.guard.norm))
        made.close()
    assert norms[0] == pytest.approx(norms[1])
    assert norms[1] > 1e-3


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD])
def test_the_fused_optimizer_computes_the_same(optimizer):
    found = []
    for fused in (False, True):
        torch.manual_seed(0)
        model = nn.Linear(6, 5)
        options = {"momentum": 0.9} if optimizer is torch.optim.SGD else {}
        stepper = optimizer(model.parameters(), lr=0.01, **options)
        if fused:
            fuse(stepper)
        for _ in range(5):
            model(torch.ones(2, 6)).square().sum().backward()
            stepper.step()
            stepper.zero_grad()
        found.append(model.weight.detach())
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-6)


def test_the_norm_of_the_gradients():
    def norm(*gradients):
        parameters = [nn.Parameter(torch.zeros_like(torch.tensor(gradient))) for gradient in gradients]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = torch.tensor(gradient)
        return gradient_norm([*parameters, nn.Parameter(torch.zeros(1))]).item()

    assert norm([3.0], [0.0, -4.0]) == pytest.approx(5)
    assert math.isnan(norm([3.0], [0.0, math.nan]))
    assert norm([3.0], [-math.inf]) == math.inf
    assert norm() == 0


@pytest.mark.parametrize("gradient", [False, True])
def test_a_run_stops_at_a_step_that_is_not_finite(camvid_yaml, gradient):
    made = poisoned(camvid_yaml, {5}, "train.batch_size=2", "train.checkpoint_steps=3", gradient=gradient)
    what = "gradient" if gradient else "loss"
    with pytest.raises(UsageError, match=rf"the {what} became NaN or infinite in epoch 2, step 5 \(.*lower optim.lr"):
        made.fit()
    folder = made.run.path / "nonfinite"
    facts = json.loads((folder / "step-000005.json").read_text())
    assert (facts["step"], facts["epoch"], [row["position"] for row in facts["samples"]]) == (5, 2, [2, 3])
    made.batches.set_epoch(1)
    drawn = [draw.sample for draw in list(made.batches)[1]]
    samples = made.loader.dataset
    assert [row["case"] for row in facts["samples"]] == [samples.cases[index].case.id for index in drawn]
    kept = load_file(folder / "step-000005.safetensors")
    assert torch.equal(kept["image.0"], torch.stack([samples[index]["image"] for index in drawn]))
    assert (folder / "step-000005.png").stat().st_size > 1000
    assert made.run.load("last").state["progress"]["step"] == 3


def test_a_run_goes_on_without_steps_that_are_not_finite(camvid_yaml):
    """Their losses are left out of the mean, and a resumed run still knows of them."""
    made = poisoned(camvid_yaml, {2, 5}, "train.nonfinite=skip", "train.checkpoint_steps=1")
    losses, step = [], made.stepper.take

    def noted(group):
        losses.append(float(loss := step(group)))
        return loss

    made.stepper.take = noted
    made.fit()
    first, second = log(made.run.path)
    assert [first["skipped"], second["skipped"]] == [1, 1]
    assert first["loss"] == pytest.approx((losses[0] + losses[2]) / 2, rel=1e-6)
    assert all(torch.isfinite(tensor).all() for tensor in made.stepper.model.state_dict().values())
    assert sorted(path.name for path in (made.run.path / "nonfinite").glob("*.json")) == [
        "step-000002.json",
        "step-000005.json",
    ]


def test_a_run_without_any_finite_step_ends(camvid_yaml):
    made = poisoned(camvid_yaml, range(1, 100), "train.nonfinite=skip")
    with pytest.raises(UsageError, match="no step of epoch 1 had a finite loss"):
        made.fit()


def test_flags_are_read_a_bounded_number_of_steps_later(camvid_yaml):
    made = trainer(camvid_yaml)
    told = []
    classes = made.experiment.adapter.classes
    watch = NonFiniteMonitor(made.run, made.loader.dataset.cases, classes, stops=False, late=3, tell=told.append)
    batch = next(iter(made.loader))
    for step in range(1, 10):
        watch.add(step, 1, 2 * step - 2, [batch], torch.tensor([step == 4, False]))
        assert bool(told) == (step >= 7)
    watch.add(10, 1, 18, [batch], torch.tensor([False, True]))
    watch.read()
    assert "step 4 " in told[0]
    assert "the gradient became NaN or infinite in epoch 1, step 10" in told[1]


def test_out_of_memory_names_the_largest_batch_that_fits(camvid_yaml, monkeypatch):
    made = trainer(camvid_yaml, "train.batch_size=6", "train.accumulate=2")
    forward, tried = made.stepper.forward, []

    class Small(nn.Module):
        def forward(self, images):
            tried.append(len(images))
            if len(images) > 3:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")
            return forward(images)

    made.stepper.forward = Small()
    with pytest.raises(UsageError) as caught:
        made.fit()
    said = str(caught.value)
    assert "out of memory with 6 images of 3x24x32 a batch (CUDA out of memory. Tried to allocate 2.00 GiB.)" in said
    assert "the largest batch that fits is train.batch_size=3; the same step in parts: train.batch_size=3 " in said
    assert "train.accumulate=4" in said
    assert "\n" not in said
    assert tried == [6, 3, 4]
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setattr(memory, "usage", lambda device: "the device has 8.00 GiB")
    with pytest.raises(UsageError, match=r"\(the device has 8.00 GiB\)"):
        made.fit()


def test_out_of_memory_while_scoring(program, camvid_yaml, monkeypatch):
    def score(*_, **named):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9.00 GiB.\nmore")

    monkeypatch.setattr("engine.training.trainer.score_part", score)
    said = program("train", camvid_yaml, check=2).stderr
    assert said.startswith("out of memory while scoring (CUDA out of memory. Tried to allocate 9.00 GiB.); predict")
    assert said.count("\n") == 1


def test_the_largest_batch_by_trying():
    for limit in range(9):

        def attempt(samples, limit=limit):
            if samples > limit:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")

        assert memory.largest_batch(attempt, 9) == limit

    def alone(samples):
        if samples > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        nn.BatchNorm2d(2)(torch.zeros(1, 2, 1, 1))  # a ValueError

    assert memory.largest_batch(alone, 4) == 0
    with pytest.raises(ValueError, match="more than 1 value"):
        memory.largest_batch(lambda _: nn.BatchNorm2d(2)(torch.zeros(1, 2, 1, 1)), 9)
    with pytest.raises(RuntimeError, match="else"):
        memory.largest_batch(lambda _: (_ for _ in ()).throw(RuntimeError("something else")), 9)
    assert "not even one sample fits" in memory.smaller(0, 4, 1)
    assert memory.smaller(5, 7, 1) == "the largest batch that fits is train.batch_size=5"


def test_a_disk_that_is_too_small_is_told_before_training(tmp_path, monkeypatch):
    """Adam of 4·10⁶ weights: 16 MB in best, 48 MB in last, and last is there twice while it is replaced."""
    model = nn.Linear(2000, 2000, bias=False)
    optimizer = torch.optim.Adam(model.parameters())
    needed = (16 + 2 * 48) * 1e6 + 16 * 2**20
    for free, fits in ((needed - 1, False), (needed, True)):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        if fits:
            refuse_small_disk(tmp_path, model, optimizer)
        else:
            with pytest.raises(ValueError, match="123 MiB free, but the checkpoints need 123 MiB"):
                refuse_small_disk(tmp_path, model, optimizer)
