"""Ensembles of seeds as arms: which networks they take, that they train none, and that they are the mean of these."""

import json

import numpy as np
import pytest

from engine.ablation.arms import Ablation
from engine.ablation.conclusion import Conclusion
from engine.ablation.record import Record
from engine.errors import ConfigError
from segloss_tests.grids import grid_yaml

ARMS = """\
extends: grid.yaml
name: ab
data: {split: {kind: official}, group: null, augment: null}
train: {epochs: 1}
ablation:
  seeds: [0, 1]
  arms:
    together: {scores: {ensemble: true}}
    adfl: null
    flipped: {scores: {flip: true}}
    adjusted: {scores: {ensemble: true, adjust: {kind: temperature}}}
"""


@pytest.fixture(scope="module")
def yaml(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensembles")
    grid_yaml(folder)
    (folder / "ab.yaml").write_text(ARMS)
    return folder / "ab.yaml"


def names(cells):
    return [(cell.arm, cell.config.seed, [run.path.parts[-3:] for run in cell.members]) for cell in cells]


def test_an_ensemble_is_one_cell_a_fold_after_those_that_train(yaml):
    ablation = Ablation.load(yaml, ["output=runs"])
    members = [("ce", "seed-0", "fold-0"), ("ce", "seed-1", "fold-0")]
    assert names(ablation.cells) == [
        ("ce", 0, []),
        ("flipped", 0, []),
        ("ce", 1, []),
        ("flipped", 1, []),
        ("together", 0, members),
        ("adjusted", 0, members),
    ]
    trained = [cell.arm for cell in ablation.cells if cell.training_of is None]
    assert trained == ["ce", "ce"]
    assert ablation.training_of("together") == "ce"
    assert Record.of(ablation).arms["together"].seeds == [0, 0]


def test_an_ensemble_is_of_every_fold(yaml):
    ablation = Ablation.load(yaml, ["data.split={kind: kfold, folds: 2, fold: all, val: 2}", "data.group=case"])
    folds = [names([cell])[0][2] for cell in ablation.cells if cell.arm == "together"]
    assert folds == [[("ce", f"seed-{seed}", f"fold-{fold}") for seed in (0, 1)] for fold in (0, 1)]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("ablation.arms.together.loss={name: focal}", "no other arm has the same training; add it"),
        ("ablation.seeds=[0]", "takes the networks of two seeds or more; set ablation.seeds"),
        ("ablation.baseline=together", "is the baseline, so it cannot be an ensemble"),
    ],
)
def test_ensembles_of_nothing_are_refused(yaml, override, line):
    with pytest.raises(ConfigError, match=line):
        Ablation.load(yaml, [override])


def test_an_ensemble_is_scored_again_where_its_members_change(yaml, tmp_path):
    def cell(seeds):
        ablation = Ablation.load(yaml, [f"output={tmp_path}", f"ablation.seeds={seeds}"])
        return next(one for one in ablation.cells if one.arm == "together")

    first = cell([0, 1])
    first.run.share(first.config, first.training_of, first.members)
    (first.run.path / "scores.json").write_text("{}")
    assert first.finished
    more = cell([0, 1, 2])
    assert more.run.path == first.run.path
    assert not more.finished
    more.run.share(more.config, more.training_of, more.members)
    assert not more.run.finished
    assert [run.path.parts[-2] for run in more.run.members] == ["seed-0", "seed-1", "seed-2"]


@pytest.fixture(scope="module")
def trained(yaml, module_program):
    """All cells, one after the other in this process."""
    ablation = Ablation.load(yaml, [f"output={yaml.parent / 'runs'}"])
    ablation.path.mkdir(parents=True)
    Record.of(ablation).write(ablation.path)
    for cell in ablation.cells:
        cell.run.share(cell.config, cell.training_of, cell.members)
        path = cell.run.path.with_suffix(".yaml")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(cell.config.to_yaml())
        module_program("train", path, check=0, cwd=yaml.parent)
    return ablation.path


@pytest.mark.slow
def test_the_ensemble_is_the_mean_of_the_logits(trained, yaml, module_program):
    images, found = yaml.parent / "camvid/test", {}
    for name in ("ce/seed-0", "ce/seed-1", "together/seed-0"):
        out = yaml.parent / f"out-{name.replace('/', '-')}"
        module_program("predict", trained / name / "fold-0", images, "--out", out, "--probabilities", check=0,
                       cwd=yaml.parent)  # fmt: skip
        found[name] = np.stack([np.load(file)[0] for file in sorted((out / "probabilities").iterdir())])
    mean = np.mean([np.log(found["ce/seed-0"]), np.log(found["ce/seed-1"])], axis=0)
    shares = np.exp(mean) / np.exp(mean).sum(1, keepdims=True)
    np.testing.assert_allclose(found["together/seed-0"], shares, atol=2e-6)
    assert len(list((trained / "together").rglob("*.safetensors"))) == 0
    header = json.loads((trained / "together/seed-0/fold-0/scores.json").read_text())["header"]
    assert (header["ensemble"], header["seed"], header["epoch"]) == (2, None, None)


@pytest.mark.slow
def test_an_ensemble_is_adjusted_as_one(trained):
    one, other = (
        json.loads((trained / arm / "seed-0/fold-0/scores.json").read_text()) for arm in ("together", "adjusted")
    )
    assert one["cases"] == other["cases"]
    assert other["header"]["adjust"]["after"] < other["header"]["adjust"]["before"]
    assert one["calibration"]["ece"] != other["calibration"]["ece"]


@pytest.mark.slow
def test_the_tables_count_an_ensemble_once(trained):
    found = Conclusion.of(trained)
    assert found.missing == []
    sections = {section.title: section for section in found.sections()}
    (scores,) = [section for title, section in sections.items() if title.startswith("scores of the held-out")]
    rows = {row[0]: row for row in scores.rows}
    assert rows["together"][1] == "all in one"
    assert "±" not in rows["together"][2]
    assert "±" in rows["ce"][2]
    costs = {row[0]: row for row in sections["cost of training"].rows}
    assert costs["together"][3] == f"{costs['ce'][3]} (those of ce)"


@pytest.mark.slow
def test_a_run_of_its_own_is_no_ensemble(trained, yaml, module_program):
    run = trained / "ce/seed-0/fold-0"
    said = module_program("evaluate", run, "scores.ensemble=true", check=2, cwd=yaml.parent).stderr
    assert "scores.ensemble takes the networks of all seeds of an arm" in said
    given = ["ablation=null", "scores.ensemble=true", "name=alone"]
    assert "is for arms of an ablation" in module_program("train", yaml, *given, check=2, cwd=yaml.parent).stderr
