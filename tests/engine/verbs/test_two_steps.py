"""Training and scoring are two steps: runs that differ in how they are scored share one training."""

import json

import pytest

from segloss_tests.grids import grid_yaml

ABLATION = """\
extends: grid.yaml
name: ab
data: {split: {kind: official}, group: null, augment: null}
ablation:
  arms:
    adfl: null
    focal: {loss: {name: focal}}
    flipped: {scores: {flip: true}}
    cleaned: {scores: {flip: true, tolerance: 2}}
    balanced: {scores: {adjust: {kind: prior, tau: 0.5}}}
"""


@pytest.fixture(scope="module")
def ablated(tmp_path_factory, module_program, cells_here):
    """An ablation with three arms that differ from the baseline in how they are scored alone."""
    folder = tmp_path_factory.mktemp("two_steps")
    grid_yaml(folder)
    (folder / "ab.yaml").write_text(ABLATION)
    planned = module_program("ablate", "ab.yaml", "--dry-run", check=0, cwd=folder).stdout
    done = module_program("ablate", "ab.yaml", check=0, cwd=folder).stdout
    return folder, planned, done


@pytest.mark.slow
def test_an_arm_that_is_scored_otherwise_is_not_trained_again(ablated, module_program):
    folder, planned, _ = ablated
    runs = folder / "runs/ab"
    assert "flipped seed 0 fold 0: to score, with the training of runs/ab/ce/seed-0/fold-0" in planned
    assert "2 cells to train, 3 to score" in planned
    assert "scores alone, trained as ce" in planned
    assert sorted(path.parts[-5] for path in runs.rglob("best.safetensors")) == ["ce", "focal"]
    ours = runs / "ce/seed-0/fold-0"
    for arm, given, name in (
        ("flipped", ["scores.flip=true"], "flip"),
        ("cleaned", ["scores.flip=true", "scores.tolerance=2"], "flip-tolerance-2"),
        ("balanced", ["scores.adjust={kind: prior, tau: 0.5}"], "adjust-prior-0.5"),
    ):
        module_program("evaluate", ours.relative_to(folder), *given, check=0, cwd=folder)
        again = ours / f"evaluation-test-best-original-{name}"
        one, other = (json.loads((path / "scores.json").read_text()) for path in (runs / arm / "seed-0/fold-0", again))
        assert one == other
        assert one["cases"] != json.loads((ours / "scores.json").read_text())["cases"]
    offsets = one["header"]["adjust"]["offsets"]
    assert f"{max(offsets):+.2f}" in (runs / "table.md").read_text()


@pytest.mark.slow
def test_what_shares_a_training_can_be_evaluated_predicted_with_and_reported(ablated, module_program, tmp_path):
    folder, _, _ = ablated
    run = folder / "runs/ab/flipped/seed-0/fold-0"
    said = module_program("evaluate", run, "--checkpoint", "last", check=0, cwd=folder).stdout
    assert "last" in said
    assert "not finished" not in said
    assert (run / "evaluation-test-last-original-flip/scores.json").is_file()
    module_program("predict", run, folder / "camvid/test", "--out", tmp_path / "out", check=0, cwd=folder)
    assert len(list((tmp_path / "out/masks").iterdir())) == 3
    module_program("report", run, "--out", tmp_path / "page.html", check=0, cwd=folder)
    assert "curves" in (tmp_path / "page.html").read_text()


@pytest.mark.slow
def test_every_way_of_scoring_has_a_folder_of_its_own(ablated, module_program):
    folder, _, _ = ablated
    run = folder / "runs/ab/focal/seed-0/fold-0"
    held = {}
    for overrides in ([], ["scores.flip=true"], ["scores.flip=true", "scores.window=[16,24]"]):
        module_program("evaluate", run, *overrides, check=0, cwd=folder)
        for path in run.glob("evaluation-*/scores.json"):
            assert held.setdefault(path, path.read_bytes()) == path.read_bytes()
    assert {path.parent.name for path in held} == {
        "evaluation-test-best-original",
        "evaluation-test-best-original-flip",
        "evaluation-test-best-original-window-16x24-flip",
    }
    assert len(set(held.values())) == 3


@pytest.fixture(scope="module")
def single(ablated, module_program):
    """The baseline as a run of its own."""
    folder, _, _ = ablated
    yaml = folder / "single.yaml"
    yaml.write_text("{extends: ab.yaml, ablation: null}")
    module_program("train", yaml, "output=single", check=0, cwd=folder)
    return yaml


def test_train_says_how_to_score_otherwise(single, module_program):
    said = module_program("train", single, "output=single", "scores.flip=true", check=2, cwd=single.parent).stderr
    assert "`train_seg.py evaluate single/ab scores.flip=true` scores it so" in said


def test_a_run_that_was_stopped_while_it_was_scored_is_not_trained_again(single, module_program, monkeypatch):
    def out_of_memory(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    with monkeypatch.context() as patch:
        patch.setattr("engine.scoring.checkpoint.score_part", out_of_memory)
        said = module_program("train", single, "output=again", check=2, cwd=single.parent).stderr
    assert "out of memory while scoring" in said
    monkeypatch.setattr("engine.training.trainer.Trainer.__init__", out_of_memory)
    module_program("train", single, "output=again", check=0, cwd=single.parent)
    whole, resumed = ((single.parent / name / "ab/scores.json").read_text() for name in ("single", "again"))
    assert resumed == whole


def test_validation_predicts_plainly(single, module_program):
    """What is done to the predictions of a trained network does not decide which epoch is kept."""
    given = ["output=flipped", "scores.flip=true", "scores.largest_component=false"]
    module_program("train", single, *given, check=0, cwd=single.parent)
    plain, flipped = (
        [json.loads(line)["validation"] for line in (single.parent / name / "ab/log.jsonl").read_text().splitlines()]
        for name in ("single", "flipped")
    )
    assert flipped == plain
