"""Steps that are captured and replayed: which are, and that they are the same; captured for real in test_gpu.py."""

import torch

from engine.training.graph import StepGraph
from segloss_tests.runs import trainer

CPU = torch.device("cpu")


def recorded(work):
    """What a CUDA graph does, on the CPU: runs the work when it is replayed, its results in the same tensors."""
    results = []

    def replay():
        found = work()
        if not results:
            results.extend(map(torch.zeros_like, found))
        for kept, one in zip(results, found, strict=True):
            kept.copy_(one)

    return results, replay


def batch(size, start):
    image = torch.arange(start, start + size, dtype=torch.float32).view(size, 1, 1, 1)
    ones = torch.ones(size, 1)
    mask, case = torch.zeros(size, 1, 1, dtype=torch.uint8), torch.arange(size)
    return {"image": image, "factor": ones, "shift": ones, "mask": mask, "case": case}


def test_batches_of_one_shape_are_replayed_and_others_taken_as_they_are():
    seen = []

    def work(group):
        seen.append((len(group[0]["image"]), group[0]["image"].data_ptr()))
        return [group[0]["image"].sum()]

    graph = StepGraph(work, CPU, recorded, warm_up=2)
    found = []
    for epoch in range(2):
        for number, size in enumerate((4, 4, 4, 4, 2)):
            found.append(
                (graph([batch(size, 10 * epoch + number)])[0], size * (10 * epoch + number) + sum(range(size)))
            )
        graph.forget()
    assert all(float(one) == expected for one, expected in found)  # those of earlier steps too
    assert [size for size, _ in seen] == [4, 4, 4, 4, 2] * 2
    assert seen[2] == seen[3]
    assert len({pointer for size, pointer in seen[5:9] if size == 4}) == 1


def test_the_shape_that_is_captured_is_that_of_whole_batches():
    calls = []

    def capture(work):
        calls.append(1)
        return recorded(work)

    graph = StepGraph(lambda group: [group[0]["image"].sum()], CPU, capture, warm_up=1)
    for size in (2, 4, 2, 2):  # resumed in the last batch of an epoch
        graph([batch(size, 0)])
    assert calls == []
    graph([batch(4, 0)])
    assert calls == [1]


def test_replayed_steps_train_the_same_bit_for_bit(camvid_yaml):
    """A short last batch and a second epoch among them, with clipping, accumulation and a loss that follows epochs."""
    options = ["model={name: unet2015, width: 4, depth: 1}", "train.clip_norm=1.0", "optim.schedule={name: poly}"]
    options += ["loss={name: ldam, drw_epoch: 1}", "train.batch_size=4"]
    found = []
    for graphed in (False, True):
        made = trainer(camvid_yaml, f"name=graphed-{graphed}", *options)
        if graphed:
            made.stepper.graph = StepGraph(made.stepper._compute, CPU, recorded, warm_up=0)
        losses = []
        for epoch in range(2):
            made.stepper.new_epoch(epoch, None)
            losses += [(float(made.step(group)), float(made.stepper.guard.norm)) for group in made.groups(epoch)]
        found.append((losses, made.stepper.model.state_dict()))
    assert found[0][0] == found[1][0]
    for name, tensor in found[0][1].items():
        assert torch.equal(tensor, found[1][1][name]), name
