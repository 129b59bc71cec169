"""What `auto` becomes, and training on resident data."""

from types import SimpleNamespace

import pytest
import torch

from engine.configuration.checking import load_config
from engine.errors import UsageError
from engine.experiment.experiment import Experiment
from engine.experiment.run import Run
from engine.training.resolve import why_not_resident
from segloss_tests.runs import TIMES, trainer

SMALL = "model={name: unet2015, width: 4, depth: 1}"
GPU = torch.device("cuda")


def test_what_keeps_the_data_where_they_are(camvid_yaml, monkeypatch):
    def reason(device, memory, *options):
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=memory))
        config = load_config(camvid_yaml, [f"output={camvid_yaml.parent}", SMALL, *options])
        return why_not_resident(Experiment.prepare(config), device)

    needed = 8 * 24 * 32 * 4  # six images train and two validate, each RGB and a mask
    assert reason(GPU, 4 * needed) is None
    assert reason(GPU, 4 * needed - 4) == "the data take 0.00 GiB, and a quarter of the GPU's memory is 0.00 GiB"
    assert reason(torch.device("cpu"), 2**40) == "the device is cpu"
    assert reason(GPU, 2**40, "data.augment=[{name: HorizontalFlip}]") is None
    assert reason(GPU, 2**40, "data.augment=[{name: CLAHE}]").startswith("CLAHE has no device form; those that have: ")


def test_auto_is_what_the_run_began_with(camvid_yaml):
    options = [f"output={camvid_yaml.parent / 'runs'}", SMALL]
    made = trainer(camvid_yaml, SMALL, "data.resident=auto")
    assert made.experiment.config.data.resident is False
    resident = load_config(camvid_yaml, [*options, "name=other", "data.resident=true"])
    Run.of(resident).create(resident)
    began = trainer(camvid_yaml, SMALL, "name=other", "data.resident=auto")
    assert began.experiment.config.data.resident is True
    assert type(began.loader).__name__ == "ResidentLoader"
    with pytest.raises(UsageError, match=r"data.resident is True there and False here"):
        Run.of(load_config(camvid_yaml, [*options, "name=other", "data.resident=false"]))


def test_resident_data_train_and_score_the_same_where_nothing_is_augmented(camvid_yaml):
    entries = []
    for resident in ("false", "true"):
        made = trainer(camvid_yaml, SMALL, f"name=resident-{resident}", f"data.resident={resident}")
        entries.append(made.epoch())
        made.close()
    assert {key: value for key, value in entries[0].items() if key not in TIMES} == {
        key: value for key, value in entries[1].items() if key not in TIMES
    }
