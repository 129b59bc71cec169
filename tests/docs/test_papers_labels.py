"""The papers' tables of image classification as ablations, beside the numbers that docs/papers.md has of them."""

import json
import re

import pytest
from ruamel.yaml import YAML

from engine.ablation.sweep import sweeps
from engine.configuration.checking import load_config
from engine.configuration.source import Node, load, merge
from engine.experiment.identity import flat
from segloss_tests import ROOT

NAMES = (
    "cb_table2_cifar10",
    "cb_table2_cifar100",
    "cb_table3_ilsvrc",
    "cefl_table2_cifar10",
    "cefl_table3_cifar100",
    "cefl_table4_mushroom",
    "cefl_table5_mushroom",
    "mse_ol_table1_cifar10",
    "mse_ol_table3_cifar100",
    "mse_ol_table5_food101lt",
)
PAGE = (ROOT / "docs/papers.md").read_text()


def arms_of(name):
    """The whole configuration of each arm, and the file's ablation."""
    root = load(ROOT / f"configs/papers/{name}.yaml")
    settings = Node({key: node for key, node in root.value.items() if key != "ablation"}, root.at)
    ablation = root.value["ablation"]
    return {arm: merge(settings, node).plain() for arm, node in ablation.value["arms"].value.items()}, ablation.plain()


@pytest.mark.parametrize("name", NAMES)
def test_an_ablation_says_what_it_compares(name):
    arms, ablation = arms_of(name)
    own = YAML(typ="safe", pure=True).load(ROOT / f"configs/papers/{name}.yaml")
    assert own["name"] == name.replace("_", "-")
    assert ablation["baseline"] in arms
    assert ablation["seeds"] == [0, 1, 2]
    assert ablation["paper"]["values"].keys() <= arms.keys()
    listed = re.search(rf"^\| .*`{name}`.*\| ([\d, ]+) \|$", PAGE, re.MULTILINE)
    names = re.findall(r"`(\w+)`", listed[0].rsplit("|", 3)[0])
    cells = dict(zip([found for found in names if found in NAMES], listed[1].split(", "), strict=True))
    assert int(cells[name]) == 3 * len(arms)


@pytest.mark.parametrize("name", NAMES)
def test_every_loss_is_a_valid_arm(name, tmp_path):
    """With a small network, whose check is quick; the first arm with its own."""
    arms, ablation = arms_of(name)
    for index, (arm, plain) in enumerate(arms.items()):
        if index:
            plain["model"] = {key: plain["model"][key] for key in ("head", "head_bias") if key in plain["model"]}
            plain["model"] |= {"name": "resnet_cifar", "depth": 8}
        path = tmp_path / f"{arm}.yaml"
        path.write_text(json.dumps({**plain, "name": "arm"}))
        config = load_config(path)
        assert config.loss[0].name in ("ce", plain["loss"]["name"])
    (tmp_path / "whole.yaml").write_text(json.dumps({**plain, "name": "whole", "ablation": ablation}))
    load_config(tmp_path / "whole.yaml")


def test_every_loss_of_the_figure_is_a_curve_over_beta():
    arms, ablation = arms_of("cb_fig5_cifar10")
    found = sweeps({arm: dict(flat(plain)) for arm, plain in arms.items()})
    assert {one.key for one in found} == {"loss.beta", "loss.gamma"}
    curves = [one for one in found if one.key == "loss.beta"]
    assert [list(one.arms) for one in curves] == 5 * [[0, 0.9, 0.99, 0.999, 0.9999]]
    assert {arm for one in curves for arm in one.arms.values()} == arms.keys()
    assert next(iter(curves[0].arms.values())) == ablation["baseline"]
    assert "| 75 |" in re.search(r"^\| `cb_fig5_cifar10`.*", PAGE, re.MULTILINE)[0]


def test_the_numbers_are_those_of_the_page():
    """Of Class-Balanced's Table 2 at factor 100, error in percent."""
    text = re.search(r"^## Class-Balanced, Table 2.*?(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in re.findall(r"^\|.*", text, re.MULTILINE)]
    for column, name in ((2, "cb_table2_cifar10"), (8, "cb_table2_cifar100")):
        values = arms_of(name)[1]["paper"]["values"]
        printed = {row[0].strip("`"): float(row[column]) for row in rows[2:]}
        assert printed.keys() == values.keys()
        for arm, error in printed.items():
            assert values[arm]["accuracy"] == pytest.approx(1 - error / 100)


def test_the_numbers_of_nine_classes_have_the_printed_means():
    values = arms_of("cefl_table5_mushroom")[1]["paper"]["values"]
    assert values.keys() == arms_of("cefl_table5_mushroom")[0].keys()
    for scores in values.values():
        for score, mean in (("recall", "balanced_accuracy"), ("f1", "f1")):
            of_classes = [value for name, value in scores.items() if name.startswith(f"{score} ")]
            assert len(of_classes) == 9
            assert sum(of_classes) / 9 == pytest.approx(scores[mean], abs=2e-4)


def test_the_settings_that_the_papers_give():
    first = {name: next(iter(arms_of(name)[0].values())) for name in NAMES}
    cb, cefl, kato = (first[name] for name in ("cb_table2_cifar100", "cefl_table3_cifar100", "mse_ol_table1_cifar10"))
    assert cb["data"]["name"] == cefl["data"]["name"] == "cifar100"
    assert cb["train"] == {"epochs": 200, "batch_size": 128}
    assert cb["optim"]["schedule"] == {"name": "multistep", "at": [160, 180], "factor": 0.01, "warmup": "5 epochs"}
    assert (cefl["optim"]["lr"], cefl["optim"]["schedule"]["at"], cefl["train"]["epochs"]) == (0.05, [60, 80], 100)
    assert cefl["data"]["imbalance"]["rarest"] == "first"
    assert cefl["data"]["split"] == {"kind": "official", "val": 0}
    assert (kato["optim"]["name"], kato["optim"]["schedule"], kato["train"]["epochs"]) == ("adam", None, 1000)
    assert kato["data"]["split"] == {"kind": "official", "val": 50}
    assert not kato["data"]["augment"]
