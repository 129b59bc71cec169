"""One training in several processes: the same gradients, scores and batches as in one, and one end."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch
from lightning_fabric.plugins.environments.lightning import find_free_network_port
from PIL import Image
from safetensors.torch import load_file, save_file
from segmentation_models_pytorch.encoders import get_encoder
from timm.layers import convert_sync_batchnorm

import datasets
from engine.errors import UsageError
from engine.processes import ranks
from engine.processes.abort import AbortTogether
from engine.processes.launcher import ProcessInfo, process_info, refuse_several, without_launcher
from engine.scoring.evaluation import score
from engine.training.stepper import Stepper
from segloss_tests import ROOT, runs
from segloss_tests.runs import Started, trainer
from segloss_tests.stills import make_camvid

CASES = {
    "plain": ["loss.name=ce", "train.batch_size=5"],
    "in_parts": ["loss.name=focal", "train.batch_size=2", "train.accumulate=3"],
    "weighted": ["loss={name: ce, class_weights: inverse_sqrt, normalize: weights}", "train.batch_size=5"],
    "listed": ["loss=[{name: dfl, weight: 0.3}, {name: sigmoid_focal}]", "train.batch_size=5", "train.clip_norm=1e-2"],
    "overlaps": ["loss=[{name: dice}, {name: ce}, {name: iou, weight: 0.5}]", "train.batch_size=5"],
    "upsampled": ["loss.name=ce", "train.batch_size=4", "train.upsampled_loss=true"],
}
"""Batches of five on two processes: three samples and two."""
NETWORK = "model={name: unet2015, width: 4, depth: 2, batch_norm: false, dropout: 0, acw: true}"


@pytest.fixture
def voids(tmp_path):
    """The small CamVid, its void unevenly spread: two training images hold nothing else, one hardly any."""
    root = make_camvid(tmp_path / "camvid")
    for number, rows in enumerate((24, 24, 20, 7)):
        path = root / "trainannot" / f"A_{number:03d}.png"
        mask = np.array(Image.open(path))
        mask[:rows] = 11
        Image.fromarray(mask).save(path)
    path = tmp_path / "run.yaml"
    path.write_text(runs.YAML.format(root=json.dumps(str(root))))
    return path


def environments():
    """What torchrun gives to two processes of one machine."""
    shared = {"TORCHELASTIC_RUN_ID": "test", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(find_free_network_port())}
    return [shared | {"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]


def slurm():
    """What srun gives to two tasks of one machine."""
    shared = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1"}
    shared |= {"SLURM_JOB_ID": "7", "SLURM_NODELIST": "127.0.0.1", "SLURM_NODEID": "0"}
    shared |= {"MASTER_PORT": str(find_free_network_port())}
    return [shared | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in ("0", "1")]


def two(folder, *arguments, given=environments, **options):
    return [Started(folder, *arguments, environment=each, **options) for each in given()]


def measure(path, name, together):
    """The gradients of the first step of an epoch by each loss, and the scores of an untrained network."""
    tensors, documents = {}, {}
    for case, overrides in CASES.items():
        made = trainer(path, f"name={name}-{case}", NETWORK, *overrides, together=together)
        update = made.stepper.guard.update

        def caught(loss, *more, made=made, case=case, update=update):
            tensors[f"{case}.loss"] = loss.clone()
            for key, parameter in made.stepper.model.named_parameters():
                tensors[f"{case}.{key}"] = parameter.grad.clone(memory_format=torch.contiguous_format)
            update(loss, *more)

        made.stepper.guard.update = caught
        made.step(next(made.groups(0)))
        made.close()
    for grid in ("original", "network"):
        overrides = (f"name={name}-{grid}", "train.batch_size=2", f"scores.grid={grid}")
        made = trainer(path, *overrides, together=together)
        for part in ("test", "val"):
            found = score(made.stepper.forward, part, made.experiment, made.fabric, thorough=True)
            documents[f"{grid} {part}"] = found.scores().document.to_json()
    return tensors, documents


def gradient(path, name, together):
    """Of the first step of a network with batch normalisation, on a GPU."""
    made = trainer(
        path, f"name={name}", "train.device=cuda", "train.precision=32-true", "train.batch_size=6", together=together
    )
    found = {}
    named = list(made.stepper.model.named_parameters())
    made.stepper.guard.update = lambda *_: found.update(
        {k: p.grad.cpu().contiguous() for k, p in named if p.grad is not None}
    )
    made.step(next(made.groups(0)))
    return found


def _gradient(folder, arguments, save_seconds, environment):
    os.environ.update(environment)
    save_file(gradient(folder / "run.yaml", "two", together=True), folder / f"{environment['RANK']}.safetensors")


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_batch_normalisation_on_gpus_is_over_the_whole_batch(voids, tmp_path):
    started = two(tmp_path, target=_gradient)
    assert [each.end() for each in started] == [0, 0]
    for name, tensor in gradient(voids, "one", together=False).items():
        found = load_file(tmp_path / "1.safetensors")[name]
        torch.testing.assert_close(found, tensor, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def _measure(folder, arguments, save_seconds, environment):
    os.environ.update(environment)
    torch.set_num_threads(1)
    tensors, documents = measure(folder / "run.yaml", "two", together=True)
    save_file(tensors, folder / f"{environment['RANK']}.safetensors")
    (folder / f"{environment['RANK']}.json").write_text(json.dumps(documents))


def test_gradients_and_scores_are_those_of_one_process(voids, tmp_path):
    started = two(tmp_path, target=_measure)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    expected, scores = measure(voids, "one", together=False)
    torch.set_num_threads(threads)
    assert [each.end() for each in started] == [0, 0]
    for rank in ("0", "1"):
        found = load_file(tmp_path / f"{rank}.safetensors")
        assert found.keys() == expected.keys()
        for name, tensor in expected.items():
            assert tensor.abs().max() > 0 or ".acw." in name, name
            torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-6, msg=lambda m, n=name: f"{n}: {m}")
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == scores


def logged(run):
    return [{key: entry[key] for key in ("epoch", "step", "loss", "lr")} for entry in runs.log(run)]


@pytest.mark.slow
def test_a_run_of_two_is_that_of_one_and_resumes(voids, tmp_path, module_program):
    """Stopped by a SIGTERM to one of them, continued by both, evaluated by one."""
    arguments = ["train", voids, NETWORK, "train.epochs=4", "train.batch_size=4"]
    module_program(*arguments, "name=one", cwd=tmp_path, check=0)
    last = tmp_path / "runs/two/checkpoints/last.safetensors"
    both = two(tmp_path, *arguments, "name=two", "train.checkpoint_steps=1", save_seconds=0.1)
    assert both[0].until(lambda: last.is_file())
    os.kill(both[1].process.pid, signal.SIGTERM)
    assert [each.end() for each in both] == [0, 0]
    said = (tmp_path / "output.txt").read_text()
    assert said.count("stopped by SIGTERM") == 1
    assert said.count("2 processes (cpu) share each batch of 4") == 1
    assert not (tmp_path / "runs/two/scores.json").exists()
    assert [each.end() for each in two(tmp_path, *arguments, "name=two")] == [0, 0]
    assert "continues after epoch" in (tmp_path / "output.txt").read_text()

    one, other = logged(tmp_path / "runs/one"), logged(tmp_path / "runs/two")
    assert [e["step"] for e in one] == [e["step"] for e in other] == [2, 4, 6, 8]
    for expected, found in zip(one, other, strict=True):
        assert found == pytest.approx(expected, rel=1e-3)
    assert not (tmp_path / "runs/two/.lock").exists()
    module_program("evaluate", "runs/two", cwd=tmp_path, check=0)
    trained = (tmp_path / "runs/two/scores.json").read_text()
    assert (tmp_path / "runs/two/evaluation-test-best-original/scores.json").read_text() == trained
    assert "trained by 2 processes" in module_program("reproduce", "runs/two", cwd=tmp_path, check=2).stderr


def _fail(folder, arguments, save_seconds, environment):
    """As the program, but in the second process the second step cannot be taken, or takes it along; or it never begins.

    That follows from `save_seconds`: 0, 1 and 2.
    """
    if environment["RANK"] == "1" and save_seconds == 2:
        AbortTogether.__enter__ = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    elif environment["RANK"] == "1":
        take, calls = Stepper.take, []

        def fails(self, group):
            calls.append(1)
            if len(calls) == 2 and save_seconds:
                os.kill(os.getpid(), signal.SIGKILL)
            if len(calls) == 2:
                raise datasets.DataError("case A_003: made up")
            return take(self, group)

        Stepper.take = fails
    runs.work(folder, arguments, 0, environment)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1, 2])
def test_an_error_of_one_process_ends_both_and_is_told_once(voids, tmp_path, killed):
    """An error of its own, or it is killed in a step, or before the two look after each other."""
    both = two(tmp_path, "train", voids, NETWORK, "name=bad", target=_fail, save_seconds=killed)
    assert [each.end(60) for each in both] == [2, -signal.SIGKILL if killed else 2]
    said = (tmp_path / "output.txt").read_text()
    assert "Traceback" not in said
    assert said.count("another process of this training exited unexpectedly" if killed else "case A_003: made up") == 1


@pytest.mark.slow
def test_a_step_that_is_not_finite_is_skipped_by_both(voids, tmp_path):
    """By one bad sample of one process; the samples of both are kept, in their order."""
    overrides = ["train.batch_size=4", "train.epochs=1", "train.nonfinite=skip", "data.split.kind=official"]
    both = two(tmp_path, "train", voids, NETWORK, "name=nan", *overrides, target=_poison, given=slurm)
    assert [each.end() for each in both] == [0, 0]
    facts = json.loads((tmp_path / "runs/nan/nonfinite/step-000001.json").read_text())
    assert [row["position"] for row in facts["samples"]] == [0, 1, 2, 3]
    assert [row["finite"] for row in facts["samples"]] == [True, False, True, True]
    assert runs.log(tmp_path / "runs/nan")[0]["skipped"] == 1
    tensors = load_file(tmp_path / "runs/nan/nonfinite/step-000001.safetensors")
    assert torch.isnan(tensors["image.0"]).flatten(1).any(1).tolist() == [False, True, False, False]


def _poison(folder, arguments, save_seconds, environment):
    """As the program, but the sample at position 1 is NaN."""
    get = datasets.Samples.packed

    def poisoned(self, key):
        sample = get(self, key)
        if isinstance(key, datasets.Draw) and key.position == 1:
            sample["factor"][0] = torch.nan
        return sample

    datasets.Samples.packed = poisoned
    runs.work(folder, arguments, save_seconds, environment)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_the_shares_of_a_batch_make_it_up(size, processes):
    def batches(share):
        return list(datasets.TrainingBatches(13, size, seed=3, share=share))

    expected = batches((0, 1))
    for number, whole in enumerate(expected):
        shares = [batches((rank, processes))[number] for rank in range(processes)]
        assert sorted((d for share in shares for d in share if not d.padding), key=lambda d: d.position) == whole
        assert all(shares)
        assert {len(share) for share in shares} <= {max(1, len(whole) // processes), -(-len(whole) // processes)}
        assert all(d.sample == whole[0].sample for share in shares for d in share if d.padding)


def test_padding_counts_nowhere(voids):
    samples = trainer(voids).loader.dataset
    draw = datasets.Draw(0, 0, 0, 5)
    there, away = samples[draw], samples[draw._replace(padding=True)]
    assert torch.equal(there["image"], away["image"])
    assert (there["mask"] != datasets.IGNORE).any()
    assert (away["mask"] == datasets.IGNORE).all()
    assert (there["index"], away["index"]) == (5, datasets.PADDING)


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("sizes", [[], [4], [1, 1, 1, 1, 1], [20, 1, 1, 1, 20, 3], [5] * 12])
def test_every_case_is_scored_by_one_process(sizes, count):
    blocks = [ranks.partition(sizes, number, count) for number in range(count)]
    assert [item for block in blocks for item in block] == list(range(len(sizes)))
    loads = [sum(sizes[item] for item in block) for block in blocks]
    assert max(loads) <= sum(sizes) / count + max(sizes, default=0)


def test_cases_come_out_the_same_whichever_are_wanted(voids):
    made = trainer(voids)
    samples = made.experiment.samples("train")
    whole = list(datasets.evaluation_loader(samples, 4, 0))
    some = list(datasets.evaluation_loader(samples, 4, 0, [5]))
    assert [batch["index"].tolist() for batch in whole] == [[0, 1, 2, 3], [4, 5]]
    assert [batch["index"].tolist() for batch in some] == [[4, 5]]


def test_what_the_environment_says_of_a_process():
    torchrun = {"TORCHELASTIC_RUN_ID": "x", "RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
    step = {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "4", "SLURM_LOCALID": "0"}
    assert process_info({}) == ProcessInfo(None, 0, 0, 1, 1)
    assert process_info(torchrun) == ProcessInfo("torchrun", 5, 1, 8, 4)
    assert not process_info(torchrun).reports_errors
    assert process_info(step | {"SLURM_NTASKS_PER_NODE": "4"}) == ProcessInfo("srun", 4, 0, 8, 4)
    assert process_info(step).local_world_size == 0
    assert process_info(step).reports_errors
    assert process_info({"LOCAL_RANK": "1", "WORLD_SIZE": "2"}) == ProcessInfo(None, 1, 1, 1, 1)
    batch_script = {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"}  # not started by srun
    assert process_info(batch_script) == ProcessInfo()
    for environment in (torchrun, step):
        assert process_info(without_launcher(environment | {"PATH": "/bin"})) == ProcessInfo()
        assert without_launcher(environment | {"PATH": "/bin"})["PATH"] == "/bin"


def test_verbs_of_one_process_refuse_to_be_several(program, camvid_yaml, monkeypatch):
    for key, value in environments()[0].items():
        monkeypatch.setenv(key, value)
    with pytest.raises(UsageError, match="evaluate: works in one process, but torchrun has started 2"):
        refuse_several("evaluate")
    assert "train --find-lr: works in one process" in program("train", camvid_yaml, "--find-lr", check=2).stderr
    assert (
        "train.batch_size: 1 cannot be shared by 2 processes"
        in program("train", camvid_yaml, "train.batch_size=1", check=2).stderr
    )


def test_an_ablation_refuses_cells_of_several_devices(program, camvid_yaml):
    camvid_yaml.write_text(camvid_yaml.read_text() + "ablation: {baseline: a, arms: {a: {}, b: {loss: {name: dfl}}}}\n")
    assert (
        "train.devices: 2: the cells of an ablation"
        in program("ablate", camvid_yaml, "train.devices=2", check=2).stderr
    )


def test_what_no_logit_depends_on_is_not_waited_for(voids, monkeypatch):
    made = trainer(voids)
    made.stepper.model.register_parameter("spare", torch.nn.Parameter(torch.ones(1)))
    parameters, without = dict(made.stepper.model.named_parameters()), []
    zero = made.stepper.optimizer.zero_grad
    made.stepper.optimizer.zero_grad = lambda: (
        without.extend(k for k, p in parameters.items() if p.grad is None),
        zero(),
    )
    made.step(next(made.groups(0)))
    monkeypatch.setattr(ranks, "world_size", lambda: 2)
    ranks.leave_out_unused(made.stepper.model, 3)
    assert without
    assert [name for name, parameter in parameters.items() if not parameter.requires_grad] == without


@pytest.mark.parametrize("encoder", ["resnet18", "tu-mobilenetv3_small_100"])
def test_shared_statistics_keep_names_and_activations(encoder):
    """timm's batch normalisation holds an activation, which the converter of torch would drop."""
    torch.manual_seed(0)
    network = get_encoder(encoder, weights=None, depth=3).eval()
    names, images = list(network.state_dict()), torch.randn(2, 3, 64, 64)
    expected = network(images)
    converted = convert_sync_batchnorm(network)
    assert list(converted.state_dict()) == names
    assert not any(type(module) is torch.nn.BatchNorm2d for module in converted.modules())
    for found, wanted in zip(converted(images), expected, strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.slow
def test_the_program_starts_its_other_processes_itself(voids, tmp_path):
    command = [sys.executable, ROOT / "train_seg.py", "train", voids, NETWORK, "train.devices=2", "train.epochs=1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("epoch 1/1") == 1
    assert "Warning" not in done.stderr
    assert json.loads((tmp_path / "runs/small/environment.json").read_text())["processes"] == 2
