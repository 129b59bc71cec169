"""Ablations: arms, cells, the pairing of scores, tables; and grids that are trained, fail, are killed and go on."""

import copy
import csv
import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import stats

from engine.ablation.answer import in_words
from engine.ablation.arms import Ablation
from engine.ablation.comparison import SMALLEST, Measure, Method, compared, measures, not_paired
from engine.ablation.conclusion import Conclusion
from engine.ablation.detection import detection
from engine.ablation.documents import method
from engine.ablation.forest import acw_curves, class_bars, forest, learning_curves
from engine.ablation.journal import journal_table
from engine.ablation.paragraph import statistical_analysis
from engine.ablation.ranking import ranking
from engine.ablation.record import Record
from engine.ablation.score_tables import beside_paper, score_by_seed, scores_of
from engine.ablation.verdict_sections import verdict_sections
from engine.ablation.verdicts import COLUMNS, Verdicts, compare_arms
from engine.configuration.build import build_network
from engine.configuration.config import FRACTIONS, PaperSection, TuneSection
from engine.console.display import Display
from engine.console.sections import Section
from engine.console.writing import latex, markdown
from engine.errors import ConfigError, UsageError
from engine.experiment.experiment import Experiment
from engine.training.probe import Probe
from engine.verbs import ablate
from segloss import compare
from segloss.document import Adjustment, ScoresDocument
from segloss.networks import Networks
from segloss_tests import ROOT
from segloss_tests.grids import grid_yaml, train_here, without_hours

pytestmark = pytest.mark.usefixtures("rendered_figures")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return grid_yaml(tmp_path_factory.mktemp("grid"))


def test_cells_are_runs_of_every_arm_seed_and_fold(shared):
    ablation = Ablation.load(shared, ["ablation.seeds=[3, 5]", "ablation.noise_floor=true"])
    cells = ablation.cells
    assert len(cells) == 3 * 2 * 2
    assert {str(cell.run.path) for cell in cells} == {
        f"runs/grid/{arm}/seed-{seed}/fold-{fold}"
        for arm, seeds in (("ce", (3, 5)), ("adfl", (3, 5)), ("noise_floor", (10_003, 10_005)))
        for seed in seeds
        for fold in (0, 1)
    }
    for cell in cells:
        assert cell.title == f"{cell.arm} seed {cell.config.seed} fold {cell.config.data.split.fold}"
        assert (cell.config.loss[0].name, cell.config.model.acw) == (
            ("dfl", True) if cell.arm == "adfl" else ("ce", None)
        )
        assert cell.config.data.cache == "runs/.cache"
    assert [cell.config.seed % 10_000 for cell in cells] == [3] * 6 + [5] * 6  # early results can be compared


def test_cells_are_made_once(shared, monkeypatch):
    """However many arms are asked whose training they share, a fingerprint a cell is all that is computed."""
    made = []
    monkeypatch.setattr("engine.ablation.arms.fingerprint", lambda config: made.append(config) or str(config.loss))
    arms = {f"arm{index}": {"scores": {"tolerance": 2 + index}} for index in range(5)}
    ablation = Ablation.load(shared, [f"ablation.arms={json.dumps({'adfl': None, **arms})}"])
    record = Record.of(ablation)
    assert {arm: one.shares for arm, one in record.arms.items()} == {"ce": None, **dict.fromkeys(arms, "ce")}
    assert len(made) == len(ablation.cells) == 6 * 2


def test_arms_share_first_weights_and_batches(shared, tmp_path):
    ablation = Ablation.load(shared, [f"output={tmp_path}"])
    ce, adfl = (next(c for c in ablation.cells if c.arm == arm).config for arm in ("ce", "adfl"))
    one, two = (Experiment.prepare(config) for config in (ce, adfl))
    mine, other = (build_network(x.config, x.adapter).state_dict() for x in (one, two))
    assert set(other) - set(mine) == {"acw.weight"}
    assert all(torch.equal(mine[key], other[key]) for key in mine)
    batches = []
    for experiment in (one, two):
        samples = experiment.training_samples()
        order = experiment.training_batches(samples)
        order.set_epoch(1)
        batches.append([samples[draw]["image"] for batch in order for draw in batch])
    assert all(torch.equal(a, b) for a, b in zip(*batches, strict=True))


def test_what_starts_otherwise_is_told(shared):
    arms = ["ablation.arms.wide.model.decoder_channels=[32, 16, 8]", "ablation.arms.rare.data.sampler=rare"]
    ablation = Ablation.load(shared, [*arms, "ablation.arms.acw.model.acw=true"])
    assert {arm: ablation.changed(arm) for arm in ablation.arms} == {
        "ce": [],
        "adfl": [],
        "acw": [],
        "wide": ["model"],
        "rare": ["data"],
    }


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("ablation.baseline=cee", "ablation.baseline: unknown arm 'cee'; did you mean 'ce'?"),
        ("ablation.arms.adfl.loss.name=dlf", "loss.name: unknown loss 'dlf'; did you mean 'dfl'?"),
        ("ablation.arms.adfl.scores.grid=network", "ablation.arms.adfl: scores.grid is the same in every arm"),
        ("ablation.arms.x.seed=3", "ablation.arms.x: seed is the same in every arm; set it outside of ablation"),
        ("ablation.arms.x.data.split.folds=3", "ablation.arms.x: data.split is the same in every arm"),
        ("ablation.arms.x.data.exclude=[A_000]", "ablation.arms.x: data.exclude is the same in every arm"),
        ("ablation.arms.x.data.labelled={}", "ablation.arms.x: data.labelled is the same in every arm"),
        ("ablation.arms.-x={}", "ablation.arms: use letters, digits and . _ - (a letter or digit first), got '-x'"),
        ("ablation.arms.noise_floor={}", "is the name of the baseline with other seeds"),
        ("ablation.seeds=[1, 1]", "ablation.seeds: a seed is given twice, got [1, 1]"),
        ("ablation.smallest=3", "ablation.smallest: must lie between 0 and 1, or be given by score, such as HD95: 1"),
        ("ablation.smallest={DCS: 0.1}", "ablation.smallest: unknown key 'DCS'; did you mean 'DSC'?"),
        ("ablation.arm={}", "ablation: unknown key 'arm'; did you mean 'arms'?"),
        ("ablation=null", "ablation: missing"),
        (
            "ablation.paper={source: x, aggregation: case, values: {cee: {mDSC: 0.5}}}",
            "ablation.paper.values: unknown arm 'cee'",
        ),
        ("ablation.paper={source: x, aggregation: case, values: {ce: {mDSC: 86}}}", "ablation.paper.values"),
        (
            "ablation.paper={source: x, aggregation: case, values: {ce: {mdsc: 0.8}}}",
            "ce: unknown score 'mdsc'; allowed",
        ),
    ],
)
def test_mistakes_are_one_line_each(shared, override, message):
    with pytest.raises(ConfigError) as error:
        Ablation.load(shared, [override])
    assert len(error.value.problems) == 1
    assert message in error.value.problems[0]


def test_the_smallest_difference_is_one_number_or_one_a_score(shared):
    of = {
        given: Ablation.load(shared, [f"ablation.smallest={given}"]).section.smallest for given in ("0.02", "{HD95: 3}")
    }
    assert of["0.02"].model_dump() == {**SMALLEST, **dict.fromkeys(FRACTIONS, 0.02)}
    assert of["{HD95: 3}"].model_dump() == {**SMALLEST, "HD95": 3}


def test_arms_of_the_networks_grid_have_one_size(shared):
    size = "ablation.arms.adfl.data.size=[32, 32]"
    with pytest.raises(ConfigError, match=r"adfl: data\.size is the grid that"):
        Ablation.load(shared, [size, "scores.grid=network"])
    assert Ablation.load(shared, [size]).changed("adfl") == ["data"]


def test_train_says_what_an_ablation_is_for(program, shared):
    said = program("train", shared, check=2).stderr
    assert said == f"{shared}: holds an ablation; train_seg.py ablate {shared} trains its arms\n"


CLASSES = ["background", "zone", "tumour"]
ARMS = {"ce": 0.0, "dfl": 0.02, "adfl": 0.004}


def document(seed=0, fold=0, shift=0.0, cases=12, groups=None, background="background", **header):
    """Scores of patients 0, 2, … (fold 0) or 1, 3, … (fold 1), as JSON without `kind` and `primary` unless they are
    given; the same patients are as hard in every call.
    """
    hard = np.random.default_rng(0).beta(20, 5, (cases, 3))
    easy = np.random.default_rng(seed + 17).normal(0, 0.01, (cases, 3)) + shift
    rows = []
    for case in range(fold, cases, 2):
        for index, name in enumerate(CLASSES):
            found = int(1000 * np.clip(hard[case, index] + easy[case, index], 0, 1))
            counts = {"tp": found, "fp": 1000 - found, "fn": 1000 - found}
            row = {"case": f"p{case}", "group": f"p{case // (groups or 1)}", "class": name, **counts}
            rows.append({**row, "DSC": found / 1000, "IoU": found / (2000 - found)})
    scores = {
        "mDSC": float(np.mean([row["DSC"] for row in rows if row["class"] != background])),
        "mIoU": 0.5,
        "units": 6,
        "left_out": 0,
        "classes": {name: {"DSC": 0.5, "IoU": 0.4} for name in CLASSES},
    }
    known = {"classes": CLASSES, "background": background, "ignore_index": 255, "seed": seed, "fold": fold}
    return {"header": {**known, "grid": "original", **header}, "cases": rows} | {
        name: copy.deepcopy(scores) | {"accuracy": accuracy}
        for name, accuracy in (("dataset", 0.9), ("case", 0.8), ("image", 0.7))
    }


def arm(name, shift=0.0, seeds=(0, 1), change=lambda one: None, **options):
    """The scores of two folds with some seeds; `change` is given each document as JSON to work on."""
    found = {seed: [document(seed, fold, shift, **options) for fold in (0, 1)] for seed in seeds}
    for documents in found.values():
        for one in documents:
            change(one)
    return Method(name, {seed: [*map(ScoresDocument.from_json, documents)] for seed, documents in found.items()})


OVERLAP = [None, *CLASSES[1:]]


def primary(aggregation, metric):
    return {"aggregation": aggregation, "metric": metric}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({}, [("case", "DSC", name) for name in OVERLAP]),  # a document of an older version
        ({"background": None}, [("dataset", "IoU", name) for name in (None, *CLASSES)]),
        ({"kind": "volume", "background": None}, [("case", "DSC", name) for name in (None, *CLASSES)]),
        ({"kind": "still"}, [("dataset", "IoU", name) for name in OVERLAP]),
        ({"kind": "still", "primary": primary("case", "mDSC")}, [("case", "DSC", name) for name in OVERLAP]),
        ({"kind": "still", "primary": primary("image", "mIoU")}, [("case", "IoU", name) for name in OVERLAP]),
        ({"kind": "volume", "primary": primary("dataset", "mIoU")}, [("dataset", "IoU", name) for name in OVERLAP]),
        ({"kind": "volume", "primary": primary("image", "mDSC")}, [("case", "DSC", name) for name in OVERLAP]),
    ],
)
def test_the_primary_metric_leads(header, expected):
    method = arm("a", **header)
    detected = [Measure("case", score, name) for _, _, name in expected if name for score in ("missed", "invented")]
    assert measures(method) == [*(Measure(*one) for one in expected), *detected]
    first = compare_arms({"a": method, "b": arm("b", 0.05, **header)}, "a")[0]
    assert (first.measure.aggregation, first.measure.score) == expected[0][:2]
    assert scores_of({"a": method}).columns[2] == str(method.header.primary)
    assert class_bars({"a": method}).axes[0].get_ylabel() == (
        f"{method.header.primary.score}, aggregation: {method.header.primary.aggregation}"
    )


def test_stills_whose_background_is_left_out_are_no_patients():
    """Kind and background are two things: stills are compared in their primary metric, without HD95, by groups."""
    found = {name: arm(name, shift, kind="still", change=far) for name, shift in ARMS.items()}
    verdicts = compare_arms(found, "ce")
    assert {one.measure.score for one in verdicts} == {"IoU", "missed"}  # all groups have all classes
    lines = [line for section in verdict_sections(verdicts, found) for line in section.lines]
    assert any("12 groups" in line for line in lines)
    assert not any("patients" in line for line in lines)
    kinds = [compare_arms({n: arm(n, kind=kind, change=far) for n in "ab"}, "a") for kind in ("volume", "still")]
    assert [any(one.measure.score == "HD95" for one in of_kind) for of_kind in kinds] == [True, False]


def far(one):
    for row in one["cases"]:
        row["HD95"] = 5.0


def test_volumes_whose_primary_metric_is_by_image_are_compared_by_case_and_that_is_said():
    header = {"kind": "volume", "primary": primary("image", "mDSC")}
    lines = []
    for of in (header, {**header, "kind": "still"}):
        arms = {name: arm(name, **of) for name in "ab"}
        lines.append([line for one in verdict_sections(compare_arms(arms, "a"), arms) for line in one.lines])
    said = "The primary metric is image mDSC; scores list no slices, so volumes are compared by case instead."
    assert [said in one for one in lines] == [True, False]


def test_patients_are_paired_by_name_not_by_order():
    a, b = arm("a", 0.05, change=lambda one: one["cases"].reverse()), arm("b")
    found = compared(a, b, Measure("case", "DSC", "tumour"))
    values = [
        [{r.group: r.scores["DSC"] for _, r in m.rows(seed) if r.label == "tumour"} for seed in (0, 1)] for m in (a, b)
    ]
    assert found.difference == pytest.approx(
        np.mean([values[0][s][f"p{g}"] - values[1][s][f"p{g}"] for s in (0, 1) for g in range(12)])
    )
    assert (found.groups, found.seeds, found.networks.freedom) == (12, 2, 2)  # 2 folds of 2 seeds


def test_a_group_counts_once_whatever_its_cases():
    found = compared(arm("a", 0.05, groups=4), arm("b", groups=4), Measure("case", "DSC"))
    assert found.groups == 3
    assert found.p_value is None


def test_pooled_counts_are_those_of_all_patients():
    a, b = arm("a", 0.05, background=None), arm("b", background=None)
    found = compared(a, b, Measure("dataset", "IoU"))
    expected = []
    for one in (a, b):
        by_seed = []
        for seed in (0, 1):
            rows = [row for _, row in one.rows(seed)]
            of_class = [[[r.tp, r.fp, r.fn] for r in rows if r.label == name] for name in CLASSES]
            counts = [np.sum(found, 0) for found in of_class]
            by_seed.append(np.mean([c[0] / c.sum() for c in counts]))
        expected.append(np.mean(by_seed))
    assert (found.mean_a, found.mean_b) == pytest.approx(tuple(expected))
    single = compared(a, b, Measure("dataset", "IoU", "zone"))
    assert single.mean_a != pytest.approx(found.mean_a)


def test_seeds_that_are_not_pairs_are_averaged():
    found = compared(arm("a", 0.05, seeds=(0, 1, 2)), arm("b", seeds=(7,)), Measure("case", "DSC"))
    assert found.seeds == 1
    assert "12 patients, one seed" in found.verdict("a", "b", "mDSC")


def test_groups_of_a_class_are_those_whose_reference_has_it():
    """An arm that invents a tumour in all healthy patients: the tumour's row has those who have one, for every arm."""

    def healthy(invents):
        def change(one):
            without("tumour", range(5))(one)
            for row in one["cases"]:
                if row["class"] == "tumour" and row["fn"] + row["tp"] == 0 and invents:
                    row |= {"fp": 20, "volume_ml": 3.2, "reference_ml": 0.0}
                elif row["class"] == "tumour":
                    row |= {"volume_ml": 0.0, "reference_ml": 1.0}

        return change

    options = {"cases": 25, "kind": "volume"}
    arms = {name: arm(name, change=healthy(name == "greedy"), **options) for name in ("ce", "dfl", "greedy")}
    verdicts = {one.measure.title: one for one in compare_arms(arms, "ce")}
    tumour, invented = verdicts["tumour DSC"].found, verdicts["tumour invented"].found
    assert {one.groups for one in tumour.values()} == {5}
    assert tumour["greedy"].mean_a == pytest.approx(tumour["dfl"].mean_b)
    assert (invented["greedy"].groups, invented["dfl"].difference) == (20, 0)
    assert invented["greedy"].difference == pytest.approx(1)
    assert invented["greedy"].p_value < 0.001
    table = detection(arms, [*verdicts.values()])
    assert [row[:3] + row[4:5] + row[6:] for row in table.rows] == [
        ["tumour", "ce", "0 of 5", "0 of 20", "0.00"],
        ["tumour", "dfl", "0 of 5", "0 of 20", "0.00"],
        ["tumour", "greedy", "0 of 5", "20 of 20", "3.20"],
    ]
    assert table.lines[0] == "greedy: tumour invented in 20 of 20 patients who have none, against 0 by ce (p < 0.001)"


def test_a_miss_is_counted_and_no_distance():
    """Its distance is no number, whatever a document of an older version holds."""

    def change(one):
        far(one)
        for row in one["cases"]:
            if row["class"] == "tumour" and row["case"] == "p3":
                row |= {"tp": 0, "fp": 0, "fn": 1000, "HD95": 119.0}

    arms = {"ce": arm("ce", change=far), "adfl": arm("adfl", change=change), "dfl": arm("dfl", 0.01, change=far)}
    verdicts = {one.measure.title: one for one in compare_arms(arms, "ce")}
    distance = verdicts["tumour HD95"]
    assert {(one.groups, one.mean_a) for one in distance.found.values()} == {(11, 5.0)}
    row = distance.rows()[0]
    assert [*row[:2], *row[6:8]] == ["tumour HD95 mm", "adfl", "5.00", "5.00"]
    assert (verdicts["tumour missed"].found["adfl"].difference, verdicts["tumour DSC"].found["adfl"].groups) == (
        pytest.approx(1 / 12),
        12,
    )
    assert ["tumour", "adfl", "1 of 12"] in [row[:3] for row in detection(arms, [*verdicts.values()]).rows]


def without(name, keep=()):
    """Takes a class out of all cases of a document but those to keep."""

    def change(one):
        for row in one["cases"]:
            if row["class"] == name and int(row["case"][1:]) not in keep:
                row |= {"tp": 0, "fp": 0, "fn": 0}

    return change


@pytest.mark.parametrize("background", ["background", None])
@pytest.mark.parametrize("keep", [(), (3,)])
def test_a_class_that_few_held_out_cases_have_does_not_stop_the_tables(background, keep):
    change = without("tumour", keep)
    arms = {name: arm(name, shift, background=background, change=change) for name, shift in ARMS.items()}
    verdicts = compare_arms(arms, "ce")
    found = {one.measure.name: one.found["dfl"] for one in verdicts if one.measure.score in ("DSC", "IoU")}
    assert ("tumour" in found) == bool(keep)
    assert all(one.p_value is not None for name, one in found.items() if name != "tumour")
    assert not keep or (found["tumour"].groups, found["tumour"].p_value) == (1, None)
    sections = [*verdict_sections(verdicts, arms)]
    assert "nan" not in markdown(sections)
    assert len(forest(verdicts).axes) >= len(verdicts)


def test_distances_are_compared_where_both_have_them_and_less_wins():
    distances = {"ce": 5.0, "dfl": 4.0}

    def measured(distance):
        def change(one):
            for row in one["cases"]:
                row["HD95"] = distance

        return change

    arms = {name: arm(name, shift, change=measured(distances.get(name))) for name, shift in ARMS.items()}
    hd95 = next(one for one in compare_arms(arms, "ce") if one.measure.title == "tumour HD95")
    assert list(hd95.found) == ["dfl"]
    assert "12/0/0" in hd95.rows()[0]
    assert (next(hd95.flat())["wins"], next(hd95.flat())["losses"]) == (12, 0)


def test_what_is_not_paired_is_said():
    a, b = arm("a", seeds=(0, 1, 2)), arm("b", seeds=(0, 1))
    assert not_paired(a, arm("c", 0.05, seeds=(0, 1, 2))) == []
    for documents in b.documents.values():
        documents[1] = dataclasses.replace(documents[1], rows=[])
    del a.documents[2][1]
    seeds, short, alone = not_paired(a, b)
    assert short == "seed 2 of a has 1 of 2 folds: only what these hold out is compared"
    assert seeds == "seeds of a: 0, 1, 2; of b: 0, 1; compared are the pairs of 0, 1"
    assert alone.startswith("only a has p1, p11, p3, p5, p7 and 1 more: left out")


def test_other_references_are_refused():
    def change(one):
        if one["header"]["fold"] == 0:
            one["cases"][0]["fn"] += 7

    with pytest.raises(UsageError, match=r"p0: the reference has 1000 pixels of background in a, 1007 in b \(1 case"):
        not_paired(arm("a"), arm("b", change=change))


def test_methods_that_are_not_scored_alike_are_refused():
    with pytest.raises(UsageError, match="not scored alike: background background there, None here"):
        compared(arm("a"), arm("b", background=None), Measure("case", "DSC"))

    def change(one):
        for row in one["cases"]:
            row["group"] = f"x{row['group']}"

    stranger = arm("b", change=change)
    with pytest.raises(UsageError, match="no patient or group in common"):
        compared(arm("a"), stranger, Measure("case", "DSC"))
    healthy = [arm(name, change=without("tumour")) for name in "ab"]
    with pytest.raises(UsageError, match="a and b: tumour DSC is not defined: none of the patients that both have is"):
        compared(*healthy, Measure("case", "DSC", "tumour"))


def noisy(name, shift, seed, seeds=(0,), **options):
    """An arm whose patients differ by chance from those of the others."""
    rng = np.random.default_rng(seed)

    def change(one):
        for row in one["cases"]:
            found = int(np.clip(row["tp"] + rng.normal(1000 * shift, 30), 0, 1000))
            row |= {"tp": found, "fp": 1000 - found, "fn": 1000 - found}

    return arm(name, seeds=seeds, change=change, **options)


def test_p_values_are_adjusted_for_the_arms_but_not_for_the_noise_floor():
    arms = {name: noisy(name, by, seed) for seed, (name, by) in enumerate({**ARMS, "noise_floor": 0.001}.items())}
    found = compare_arms(arms, "ce", noise_floor="noise_floor")
    alone = {name: compared(arms[name], arms["ce"], found[0].measure, tested=False) for name in arms if name != "ce"}
    together = compare.together([alone["dfl"], alone["adfl"]])
    first = found[0].found
    assert [first[name].p_value for name in ("dfl", "adfl")] == [one.p_value for one in together]
    assert first["adfl"].p_value > compare.together([alone["adfl"]])[0].p_value
    assert (first["noise_floor"].family, first["adfl"].family) == (1, 2)
    assert {one.found["adfl"].family for one in found[1:]} == {8}  # two classes, their misses, two arms


def said(arms, smallest=SMALLEST, **options):
    return in_words(compare_arms(arms, "ce", smallest)[0], **options)


def test_the_answer_comes_first():
    better = {"ce": noisy("ce", 0, 0), "dfl": noisy("dfl", 0.06, 1), "adfl": noisy("adfl", 0.05, 2)}
    lines = said(better)
    assert lines[0].startswith("Use dfl: better than ce by 0.0")
    assert lines[0].endswith("; so is adfl.")
    assert lines[1] == "These trained networks differ; whether the losses do needs three seeds or more."
    assert len(lines) == 4
    equal = {name: arm(name, shift) for name, shift in ARMS.items()}
    assert said(equal, {"DSC": 0.05})[0] == "Use ce: nothing is better by 0.05 DSC."
    undecided = said({"ce": noisy("ce", 0, 0), "dfl": noisy("dfl", 0, 3)})
    assert re.fullmatch(
        r"Undecided: dfl against ce: [+-]0\.0\d\d DSC \(95 % CI .*\); about [\d,]+ to [\d,]+ patients would decide, if "
        r"the difference stays as it is\.",
        undecided[0],
    )
    assert undecided[1].startswith("One seed: this is about these trained networks")
    assert sum("80 % power" in line for line in undecided) == 1
    verdicts = compare_arms({"ce": noisy("ce", 0, 0), "dfl": noisy("dfl", 0, 3)}, "ce", SMALLEST)[0]
    for networks, what in (
        (Networks(1.0, 2), "more seeds (more"),
        (Networks(1.0, 2, 0.5), "more seeds and folds (more"),
    ):
        found = {"dfl": dataclasses.replace(verdicts.found["dfl"], networks=networks)}
        assert what in in_words(dataclasses.replace(verdicts, found=found))[0]
    few = {name: arm(name, shift, cases=4) for name, shift in ARMS.items()}
    assert said(few)[0] == "Undecided: nothing is tested, which needs 6 patients."
    ranks, _ = ranking(few, compare_arms(few, "ce")[0])
    assert [row[1:3] for row in ranks.rows] == [["1 to 3", "-"]] * 3  # nor is it resampled


@pytest.mark.parametrize(
    ("difference", "spread", "said"),
    [
        (0.012, 0.02, "whether by 0.01 DSC is open; about 566 to 1,170 patients would decide, if"),
        (0.004, 0.03, "ce: +0.004 DSC (95 % CI -0.004 to 0.012); about 143 to 294 patients would decide, if"),
        (0.01, 0.02, "is open; more than 100,000 patients would decide, if the difference stays as it is."),
    ],
)
def test_what_would_decide_is_more_than_there_is(difference, spread, said):
    """Sixty patients: (1.96 + 0.8416)² s² / (0.01 − difference)² + 2, at both ends of the 95 % interval of s²."""
    values = np.random.default_rng(1).standard_normal(60)
    values = difference + spread * (values - values.mean()) / values.std(ddof=1)
    found = {"dfl": compare.paired(values, 0 * values)}
    first = Verdicts(Measure("case", "DSC"), "ce", found, arm("ce").header, 0.01)
    assert said in in_words(first)[0]
    if abs(difference - 0.01) > 1e-9:
        ends = [spread**2 * 59 / stats.chi2.isf(tail, 59) for tail in (0.025, 0.975)]
        low, high = (int(np.ceil(2.8016**2 * end / (difference - 0.01) ** 2)) + 2 for end in ends)
        assert f"about {low:,} to {high:,} patients" in said


def test_intervals_without_ends_are_written_alike():
    """Six patients and three arms: no pattern of 64 is rare enough."""
    arms = {"ce": noisy("ce", 0, 0, cases=6)}
    arms |= {
        name: noisy(name, by, seed, cases=6)
        for seed, (name, by) in enumerate([("dfl", 0.02), ("fl", -0.01), ("adfl", 0.01)], 1)
    }
    verdicts = compare_arms(arms, "ce")
    text = markdown([*verdict_sections(verdicts, arms), journal_table(verdicts, [])])
    assert text.count("(95 % CI −∞ to ∞)") == 1
    assert "(−∞ to ∞)" in text
    assert not re.search(r"\binf\b", text)
    assert "about 7 to " in text


def test_seeds_of_one_arm_are_not_said_of_another():
    """The second arm has one seed of three: what is said of seeds, and the baseline's score, is of the others."""
    arms = {
        name: noisy(name, by, seed, seeds=(0, 1, 2))
        for seed, (name, by) in enumerate([("ce", 0), ("dfl", 0.06), ("fl", 0)])
    }
    for seed in (1, 2):
        del arms["fl"].documents[seed]
    arms = {name: arms[name] for name in ("ce", "fl", "dfl")}
    verdicts = compare_arms(arms, "ce")
    assert in_words(verdicts[0])[1].startswith("fl: one seed: this is about these trained networks")
    (text,) = statistical_analysis(verdicts, arms).lines
    assert "with 3 random seeds for each training (fl: 1)." in text
    assert "variance between training seeds was estimated" in text
    assert "t distribution with 4 degrees of freedom" in text  # two folds of three seeds
    assert "Conclusions on fl, of one training each, are about these trained networks." in text
    assert "With one training of each arm" not in text
    found = journal_table(verdicts, [])
    assert "Scores on 12 patients, mean of 3 seeds (fl: 1), and differences" in found.caption
    assert "Differences: over the seeds that both arms have." in found.caption
    of_seeds = [
        np.mean([row.scores["DSC"] for _, row in arms["ce"].rows(seed) if row.label != "background"])
        for seed in range(3)
    ]
    assert found.rows[0][1] == f"{np.mean(of_seeds):.3f}" != f"{of_seeds[0]:.3f}"


def test_degrees_of_freedom_of_tuned_arms_are_their_own():
    arms = {name: arm(name, seeds=(0, 1, 2)) for name in ("ce", "dfl", "fl")}
    found = compare_arms(arms, "ce")[0]
    freedoms = {"dfl": Networks(1e-4, 4, 0.0), "fl": Networks(1e-4, 1.25, 5e-5)}
    found.found.update({name: dataclasses.replace(found.found[name], networks=one) for name, one in freedoms.items()})
    (text,) = statistical_analysis([found], arms).lines
    assert "t distribution with 1.25 to 4 degrees of freedom" in text


def test_nothing_is_said_of_the_noise_floor_by_class():
    """It is tested by itself, so that of many classes some differ by chance; the headings tell it apart."""
    arms = {"ce": noisy("ce", 0, 0), "dfl": noisy("dfl", 0, 1), "noise_floor": noisy("noise_floor", 0.1, 2)}
    for document in arms["noise_floor"].documents[0]:
        document.rows[:] = [
            dataclasses.replace(row, tp=0, fp=0, fn=1000) if row.label == "tumour" else row for row in document.rows
        ]
    verdicts = compare_arms(arms, "ce", noise_floor="noise_floor")
    assert any(one.found["noise_floor"].distinguishable for one in verdicts[1:])
    sections = {one.title: one for one in verdict_sections(verdicts, arms, "noise_floor")}
    by_class = sections[
        "by class, against ce; p and intervals hold for all 4 comparisons together, those of noise_floor each by itself"
    ]
    assert by_class.lines == []
    assert [row[1] for row in by_class.rows] == ["dfl", "noise_floor"] * 2
    missed = sections["classes missed and invented"]
    assert ["tumour", "noise_floor", "12 of 12", "<0.001"] in [row[:4] for row in missed.rows]
    assert not [line for line in missed.lines if line.startswith("noise_floor")]
    assert "of noise_floor each by itself" in missed.lines[-1]


def test_where_no_margin_is_set_the_csv_file_has_no_outcome():
    """Misses differ by p < 0.001 here: no interval of theirs is called equivalent."""
    arms = {name: arm(name) for name in ("ce", "dfl")}
    for documents in arms["dfl"].documents.values():
        for document in documents:
            document.rows[:] = [dataclasses.replace(row, tp=0, fp=0, fn=1000) for row in document.rows]
    rows = {row["measure"]: row for one in compare_arms(arms, "ce") for row in one.flat()}
    assert rows["tumour missed"]["p"] < 0.001
    assert (rows["tumour missed"]["smallest"], rows["tumour missed"]["outcome"]) == (None, None)
    assert (rows["mDSC"]["smallest"], rows["mDSC"]["outcome"]) == (0.01, "undecided")


def test_arms_that_tie_in_every_group_are_undecided():
    first, *others = in_words(compare_arms({name: arm(name) for name in ("ce", "dfl")}, "ce")[0])
    assert first == (
        "Undecided: dfl against ce: +0.000 DSC (95 % CI -0.265 to 0.265); about 368 patients would decide, if the "
        "difference stays as it is."
    )
    assert not [line for line in others if "80 % power" in line]


def only_invented(key, value):
    """A change of the scores of an arm: where a case or class is this, the reference has none of it."""

    def change(one):
        for row in one["cases"]:
            if row[key] == value:
                row |= {"tp": 0, "fp": 5, "fn": 0}

    return change


def test_a_group_without_a_score_of_its_own_neither_fails_nor_succeeds():
    """Pooled, the false pixels of a healthy patient count, and the patient has no IoU."""

    arms = {name: arm(name, kind="still", change=only_invented("case", "p0")) for name in ("ce", "dfl")}
    verdicts = compare_arms(arms, "ce")
    assert verdicts[0].found["dfl"].groups == 12
    ranks = next(ranking(arms, verdicts[0]))
    assert [row[3].split(" of ")[1] for row in ranks.rows] == ["11", "11"]


def test_what_the_differences_leave_out_and_the_scores_do_not_is_said():
    """A class of no reference that is invented: mIoU of one class here, and with a 0 of the other there."""

    arms = {name: arm(name, kind="still", change=only_invented("class", "tumour")) for name in ("ce", "dfl")}
    verdicts = compare_arms(arms, "ce")
    zones = np.sum([[row.tp, row.fp, row.fn] for _, row in arms["ce"].rows(0) if row.label == "zone"], 0)
    assert score_by_seed(arms["ce"], "dataset", "mIoU")[0] == pytest.approx(zones[0] / zones.sum() / 2)
    assert verdicts[0].found["dfl"].mean_b == pytest.approx(np.mean([score_by_seed(arms["ce"], "dataset", "IoU zone")]))
    *_, how = verdict_sections(verdicts, arms)
    assert how.lines[1].startswith("In no reference, so left out of mIoU here: tumour. The table of scores counts")

    def healthy(one):
        for row in one["cases"]:
            if row["case"] in ("p0", "p1", "p2"):
                row |= {"tp": 0, "fp": 5, "fn": 0}

    arms = {name: arm(name, kind="volume", change=healthy) for name in ("ce", "dfl")}
    *_, how = verdict_sections(compare_arms(arms, "ce"), arms)
    assert how.lines[1].startswith("3 patients whose reference has none of the classes are left out of mDSC here.")

    def one_healthy(one):
        for row in one["cases"]:
            if row["case"] == "p0":
                row |= {"tp": 0, "fp": 5, "fn": 0}

    arms = {name: arm(name, kind="volume", change=one_healthy) for name in ("ce", "dfl")}
    *_, how = verdict_sections(compare_arms(arms, "ce"), arms)
    assert how.lines[1].startswith("1 patient whose reference has none of the classes is left out of mDSC here.")
    arms = {name: arm(name, kind="volume") for name in ("ce", "dfl")}
    *_, how = verdict_sections(compare_arms(arms, "ce"), arms)
    assert len(how.lines) == 1


def test_patients_with_several_scans_count_once_and_that_is_said():
    """Patients of two and five scans: not the mean over scans that the table of scores has."""
    arms = {name: arm(name, groups=5, seeds=(0,)) for name in ("ce", "dfl")}
    (found,) = compare_arms(arms, "ce")[0].found.values()
    of_scans: dict[str, list[float]] = {}
    for _, row in arms["ce"].rows(0):
        if row.label != "background":
            of_scans.setdefault(row.group, []).append(row.scores["DSC"])
    assert [len(one) // 2 for one in of_scans.values()] != [1] * len(of_scans)
    assert found.mean_b == pytest.approx(np.mean([np.mean(one) for one in of_scans.values()]))
    assert score_by_seed(arms["ce"], "case", "mDSC") != [pytest.approx(found.mean_b)]
    *_, how = verdict_sections(compare_arms(arms, "ce"), arms)
    assert how.lines[1].startswith("Each of the patients counts once here, its cases averaged; the table of scores")


def test_what_else_an_arm_differs_in_is_said(shared):
    arms = [
        "ablation.arms.fast.optim.lr=0.003",
        "ablation.arms.fast.loss.name=focal",
        "ablation.arms.rare.data.sampler=rare",
    ]
    ablation = Ablation.load(shared, [*arms, "ablation.arms.long={train: {epochs: 9}, loss: {name: dfl}}"])
    differs = {name: ablation.differs(name) for name in ablation.arms}
    assert differs == {
        "ce": [],
        "adfl": [],
        "fast": ["optim.lr 0.003, not 0.001"],
        "rare": [],
        "long": ["train.epochs 9, not 2"],
    }
    arms = {name: arm(name, shift) for name, shift in ARMS.items()}
    assert said(arms, differs={"dfl": ["optim.lr 0.003, not 0.001"]})[1].endswith(
        "; it also differs in optim.lr 0.003, not 0.001"
    )


def test_ranks_and_pairs():
    arms = {
        "ce": noisy("ce", 0, 0),
        "dfl": noisy("dfl", 0.08, 1),
        "adfl": noisy("adfl", 0.07, 2),
        "low": arm("low", -0.5),
    }
    del arms["low"].documents[1]
    ranks, pairs = ranking(arms, compare_arms(arms, "ce")[0])
    found = {row[0]: row[1:] for row in ranks.rows}
    assert [found[name][0] for name in arms] == ["3", "1 to 2", "1 to 2", "4"]
    assert (found["ce"][1], found["low"][1:]) == ("0%", ["0%", "12 of 12"])
    assert [row[0] for row in pairs.rows] == [
        "ce - dfl", "ce - adfl", "ce - low", "dfl - adfl", "dfl - low", "adfl - low"
    ]  # fmt: skip


def test_the_noise_floor_alone_is_no_comparison():
    arms = {"ce": noisy("ce", 0, 0), "noise_floor": noisy("noise_floor", 0.01, 1)}
    verdicts = compare_arms(arms, "ce", noise_floor="noise_floor")
    first, *rest = verdict_sections(verdicts, arms, "noise_floor")
    assert first.lines[0] == "Undecided: ce is compared with itself under other seeds alone."
    assert first.lines[-1].startswith("noise floor: with other seeds the baseline differs by ")
    assert not [section.title for section in rest if section.title.startswith("ranks")]
    record = SimpleNamespace(noise_floor="noise_floor")
    assert Conclusion(Path(), record, arms, [], verdicts).journal() == []


def test_the_table_for_a_paper():
    arms = {"ce": noisy("ce", 0, 0), "d_fl": noisy("dfl", 0.06, 1), "adfl": noisy("adfl", 0, 2)}
    verdicts = compare_arms(arms, "ce")
    found = journal_table(verdicts, ["d_fl"])
    assert found.columns == ["arm", "mDSC", "zone DSC", "tumour DSC", "Δ mDSC (95 % CI)", "p"]
    one = verdicts[0].found["d_fl"]
    assert found.rows[0][4:] == ["reference", "-"]
    assert found.rows[1][1] == f"{one.mean_a:.3f}"
    assert found.rows[1][4] == f"{one.difference:+.3f} ({one.low:+.3f} to {one.high:+.3f})"
    assert "Scores on 12 patients, and differences from ce in mDSC" in found.caption
    assert "for all 2 comparisons together" in found.caption
    text = latex([found], "my ablation")
    assert r"\label{tab:my-ablation-results}" in text
    assert rf"\textbf{{d\_fl}} & \textbf{{{one.mean_a:.3f}}} & " in text
    assert text.count(r"\textbf") == 2
    assert r"95 \% confidence" in text
    assert r"$\Delta$ mDSC (95 \% CI)" in text
    ends = [rf"\{end}{{{what}}}" for what in ("table", "tabular") for end in ("begin", "end")]
    assert [text.count(one) for one in ends] == [1, 1, 1, 1]


def test_differences_of_fractions_end_at_one():
    """Two seeds that disagree, three classes at once: a t distribution with one degree of freedom would go beyond."""
    arms = {name: arm(name, shift) for name, shift in (("ce", 0.0), ("dfl", 0.02), ("adfl", 0.01))}
    rows = [row for document in arms["dfl"].documents[1] for row in document.rows]
    assert rows
    for of_seed, sign in zip(arms["dfl"].documents.values(), (-1, 1), strict=True):
        for document in of_seed:
            for row in document.rows:
                row.scores["DSC"] = 0.5 + 0.4 * sign
    verdicts = compare_arms(arms, "ce")
    ends = [end for one in verdicts for found in one.found.values() for end in (found.low, found.high)]
    assert (min(ends), max(ends)) == (-1, 1)
    _, pairs = ranking(arms, verdicts[0])
    assert {row[2] for row in pairs.rows if "dfl" in row[0].split(" - ")} == {"-1.0000 to +1.0000"}


def test_the_paragraph_says_what_was_done():
    arms = {"ce": arm("ce"), "dfl": arm("dfl", 0.02), "adfl": arm("adfl", 0.004)}
    tune = TuneSection(keys={"optim.lr": [1e-3, 1e-2]}, trials=4)
    (text,) = statistical_analysis(compare_arms(arms, "ce", {"DSC": 0.02}), arms, tune=tune).lines
    assert text.startswith(
        "The primary outcome was the mean DSC over zone and tumour, by patient (the mean of its scans); dfl and adfl "
        "were compared with ce on the same 12 patients, each held out once in 2-fold cross-validation, with 2 random "
        "seeds for each training. Before, optim.lr was tuned with 4 trials for every arm, chosen for each fold by its "
    )
    assert "(sign patterns: all 4,096)" in text
    assert "as a t distribution with 2 degrees of freedom." in text
    assert "adjusted for its 2 comparisons together by the single-step min-P method" in text
    assert "Secondary outcomes were DSC by class and the numbers of patients with a missed" in text
    assert "; their 8 comparisons were adjusted as another family." in text
    first, second, *_ = compare_arms(arms, "ce")
    alone = {"dfl": dataclasses.replace(second.found["dfl"], family=1)}
    (of_one,) = statistical_analysis([first, dataclasses.replace(second, found=alone)], arms).lines
    assert "Secondary outcomes were DSC by class. A difference" in of_one
    assert "A difference of 0.02 DSC was considered the smallest of relevance" in text
    few = {name: arm(name, shift, cases=4, seeds=(0,)) for name, shift in ARMS.items()}
    (text,) = statistical_analysis(compare_arms(few, "ce"), few).lines
    assert "Differences were not tested, since there are fewer than 6 patients." in text
    assert "smallest of relevance" not in text  # which intervals would be held against
    assert "Before" not in text


def test_the_paragraph_about_tuned_arms_that_are_read_from_files():
    """As `compare` reads them: of one seed, and nothing beside them says how they were tuned."""
    arms = {name: Method(name, arm(name, seeds=(0,)).documents, tuned=True) for name in ("ce", "dfl")}
    for fold, document in enumerate(arms["dfl"].documents[0]):
        for row in document.rows:
            row.scores["DSC"] = 0.4 + 0.3 * fold
    (text,) = statistical_analysis(compare_arms(arms, "ce"), arms).lines
    assert "The variance between the values that folds chose was estimated by analysis of variance" in text


def test_the_paragraph_says_what_was_done_after_training():
    def with_header(name, **changes):
        found = arm(name)
        changed = {
            seed: [dataclasses.replace(one, header=dataclasses.replace(one.header, **changes)) for one in documents]
            for seed, documents in found.documents.items()
        }
        return dataclasses.replace(found, documents=changed)

    prior = Adjustment(kind="prior", part="train", tau=0.5)
    arms = {
        "ce": with_header("ce", flip=True),
        "adjusted": with_header("adjusted", flip=True, adjust=prior),
        "averaged": with_header("averaged", flip=True, checkpoint="average"),
        "together": with_header("together", flip=True, ensemble=3),
    }
    (text,) = statistical_analysis(compare_arms(arms, "ce"), arms).lines
    assert "In all arms, logits were averaged with those of the mirrored image." in text
    assert "In adjusted, 0.5 times the logarithm of the share of each class in the training part was subtracted" in text
    assert "In averaged, the average of the weights over training was scored." in text
    assert "In together, the logits of 3 networks, trained with other seeds, were averaged." in text
    assert "largest connected component" not in text


def test_tables_and_pictures():
    arms = {"ce": arm("ce"), "dfl_1": arm("dfl", 0.02), "adfl": arm("adfl", 0.004)}
    verdicts = compare_arms(arms, "ce")
    paper = PaperSection(source="Table 5", aggregation="case", values={"ce": {"mDSC": 0.8}, "adfl": {"mDSC": 0.7}})
    beside = beside_paper(arms, paper)
    assert beside.lines[1] == "mDSC: the order is another: adfl > ce here, ce > adfl there"
    assert [row[:2] for row in beside.rows] == [["ce", "mDSC"], ["adfl", "mDSC"]]
    sections = [scores_of(arms), Section("verdicts", columns=COLUMNS, rows=verdicts[0].rows()), beside]
    lines = markdown(sections).splitlines()
    row = next(line for line in lines if line.startswith("| dfl_1 | 2 |"))
    assert row.count("|") == next(line for line in lines if line.startswith("| arm | seeds")).count("|")
    assert r"dfl\_1 & " in latex(sections, "a")
    odd = [Section("odd", columns=["class", "n"], rows=[["a|b", "~"], ["\\x^{2}", "1 < 2"], ["−∞", "∞"]])]
    assert r"| a\|b | ~ |" in markdown(odd)
    assert r"\textbackslash{}x\textasciicircum{}\{2\} & 1 $<$ 2 \\" in latex(odd, "a")
    assert r"$-$$\infty$ & $\infty$ \\" in latex(odd, "a")
    assert latex(sections, "a").count(r"\begin{tabular}") == len(sections)
    rows = [row for one in verdicts for row in one.flat()]
    assert [row["arm"] for row in rows] == ["dfl_1", "adfl"] * 5  # three of DSC, two of misses
    assert len(forest(verdicts[:3]).axes) == 3
    assert acw_curves({"ce": [[{"acw": None}]]}, CLASSES) is None
    log = [{"epoch": 1, "loss": 0.5, "score": 0.4}]
    losses = {"ce": "ce", "acw": "ce", "fl": "focal (gamma 1)"}
    curves = learning_curves({key: [log] for key in losses}, "image mIoU", losses)
    of_two = learning_curves({key: [[*log, log[0] | {"epoch": 2}]] for key in losses}, "image mIoU", losses)
    for figure, marker in ((curves, "."), (of_two, "None")):  # one epoch is a point
        assert {line.get_marker() for axis in figure.axes for line in axis.lines[1::2]} == {marker}
    drawn = {axis.get_title(): [line.get_label() for line in axis.lines[1::2]] for axis in curves.axes}
    assert drawn == {
        "validation image mIoU": ["ce", "acw", "fl"],
        "training loss: ce": ["ce", "acw"],
        "training loss: focal (gamma 1)": ["fl"],
    }
    assert score_by_seed(arms["ce"], "case", "mDSC")[0] == pytest.approx(
        np.mean([r.scores["DSC"] for _, r in arms["ce"].rows(0) if r.label != "background"])
    )


def test_pictures_of_a_thousand_classes():
    """They have room for some measures, and for a curve an arm over all classes."""
    names = [f"class {index}" for index in range(1000)]
    rng = np.random.default_rng(0)

    def of_labels(name, share):
        right = rng.random(2000) < share
        rows = [
            {"case": f"i{index}", "label": names[index // 2], "predicted": names[index // 2 if right[index] else 0]}
            for index in range(2000)
        ]
        header = {"kind": "label", "classes": names, "primary": primary("dataset", "accuracy")}
        return Method(name, {0: [ScoresDocument.from_json({"header": header, "cases": rows})]})

    arms = {"ce": of_labels("ce", 0.4), "dfl": of_labels("dfl", 0.8)}
    bars = class_bars(arms)
    assert [line.get_label() for line in bars.axes[0].lines] == ["ce", "dfl"]
    first = bars.axes[0].lines[0].get_ydata()
    of_one = np.mean([row.tp for _, row in arms["ce"].rows(0) if row.label == "class 1" and not row.fp])
    assert np.all(np.diff(first[np.isfinite(first)]) <= 0)
    assert score_by_seed(arms["ce"], "dataset", "recall class 1") == [of_one]
    found = {"dfl": compared(arms["dfl"], arms["ce"], Measure("case", "accuracy"))}
    every = [Verdicts(Measure("case", "recall", name), "ce", found, arms["ce"].header, 0.01) for name in names]
    every[777] = dataclasses.replace(every[777], found={"dfl": dataclasses.replace(found["dfl"], p_value=0.0)})
    panels = forest(every)
    titles = [axis.get_title() for axis in panels.axes]
    assert len(titles) == 48
    assert titles[0] == "class 0 recall against ce"
    assert titles[-1] == "class 777 recall against ce"
    assert max(*bars.get_size_inches(), *panels.get_size_inches()) < 40
    first = compare_arms(arms, "ce")[0]
    assert re.match(r"Use dfl: better than ce by 0\.\d{3} accuracy \(", in_words(first)[0])
    balanced = dataclasses.replace(first, measure=Measure("dataset", "balanced_accuracy"))
    assert re.match(r"Use dfl: better than ce by 0\.\d{3} balanced accuracy \(", in_words(balanced)[0])
    of_masks = dataclasses.replace(
        first, measure=Measure("dataset", "IoU"), header=dataclasses.replace(first.header, kind="still")
    )
    (text,) = statistical_analysis([of_masks], arms).lines
    assert text.startswith(
        "The primary outcome was the mean IoU over the 1,000 classes that were scored, of the pixels"
    )
    assert "of 1,000 measures the first and those with the smallest p" in panels.get_supxlabel()


def test_scores_of_another_trainer(tmp_path):
    """Counts alone are enough: groups, DSC and IoU are filled in."""
    foreign = document()
    foreign["header"] = {"classes": CLASSES, "background": "background"}
    for row in foreign["cases"]:
        del row["DSC"], row["IoU"], row["group"]
    (tmp_path / "theirs.json").write_text(json.dumps({key: foreign[key] for key in ("header", "cases")}))
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours/scores.json").write_text(json.dumps(document(shift=0.03)))
    found = compared(method(tmp_path / "ours"), method(tmp_path / "theirs.json"), Measure("case", "DSC"))
    assert (found.groups, found.seeds) == (6, 1)
    both = [Method(name, {0: [ScoresDocument.from_json(document(shift=by))]}) for name, by in (("a", 0.03), ("b", 0))]
    expected = compared(*both, Measure("case", "DSC"))
    assert found.difference == pytest.approx(expected.difference)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("cases"), "cases: missing; needed are header.classes and cases"),
        (lambda d: d["cases"][3].update(tp=-1), "cases.3.tp: a number, 0 or more, is needed, got -1"),
        (lambda d: d["cases"][0].update({"class": "gland"}), "the class 'gland' is none of background, zone, tumour"),
        (lambda d: d["header"].update(classes="ab"), "header.classes"),
        (
            lambda d: d["header"].update(classes=[*CLASSES, "zone"]),
            "header.classes: a class is named twice",
        ),
        (lambda d: d["header"].update(seed=[0, 1]), "header.seed"),
        (lambda d: d["header"].update(fold={"a": 1}), "header.fold"),
        (lambda d: d["header"].update(background="bg"), "header.background: 'bg' is none of background, zone, tumour"),
        (lambda d: d["cases"].append(d["cases"][0]), "cases: p0 has two rows of background; needed is one for each"),
        (lambda d: d["cases"][1].update(HD95="n/a"), "cases.1.HD95"),
        (lambda d: d["header"].update(kind="scan"), "header.kind must be one of volume, still, label, got 'scan'"),
        (lambda d: d["header"].update(primary={"metric": "mDSC"}), "header.primary.aggregation: missing"),
        (lambda d: d["header"].update(primary=primary("patient", "mDSC")), "got 'patient'"),
        (lambda d: d["header"].update(format=3), "header.format: 2 is needed, or no such key, got 3; read it with the"),
        (lambda d: d["header"].update(format=0), "header.format: 2 is needed, or no such key, got 0"),
        (lambda d: d.update(case=[0.5]), "case: a mapping is needed, got [0.5]"),
        (lambda d: d["case"].pop("units"), "case.units: missing"),
        (lambda d: d["image"].update(mDSC=86), "image.mDSC: a fraction of 1 is needed, got 86"),
        (lambda d: d["dataset"].update(left_out=-1), "dataset.left_out: a number, 0 or more"),
        (lambda d: d["dataset"]["classes"].pop("zone"), "dataset.classes.zone: missing"),
        (lambda d: d["dataset"]["classes"].update(gland={}), "dataset.classes: 'gland' is none of background, zone"),
    ],
)
def test_other_json_is_refused(tmp_path, change, message):
    broken = document()
    change(broken)
    (tmp_path / "x.json").write_text(json.dumps(broken))
    with pytest.raises(UsageError) as error:
        method(tmp_path / "x.json")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_numbers_as_other_programs_write_them(tmp_path):
    foreign = document()
    for row in foreign["cases"]:
        row |= {"tp": str(row["tp"]), "HD95": float("nan")}
    (tmp_path / "x.json").write_text(json.dumps(foreign))
    rows = [row for _, row in method(tmp_path / "x.json").rows(0)]
    assert {row.scores["HD95"] for row in rows} == {None}
    assert [row.tp for row in rows] == [row["tp"] for row in document()["cases"]]


def test_a_probe_is_of_the_arm_as_it_is_now(shared, tmp_path, monkeypatch):
    """After a dry run nothing is fixed yet: another loss or more epochs are tried anew, what is the same is not."""
    tried = []
    monkeypatch.setattr(ablate, "probe", lambda config, _: tried.append(config) or Probe(1.0, config.train.epochs))

    def seconds(*overrides, tries=True):
        ablation = Ablation.load(shared, [f"output={tmp_path}", *overrides])
        found = ablate._probes(ablation, tries, Display())
        return {arm: one.seconds for arm, one in found.items()}

    assert seconds(tries=False) == {}
    assert seconds() == seconds() == {"ce": 2, "adfl": 2}
    assert len(tried) == 2
    assert seconds("ablation.arms.adfl.loss.name=dice") == {"ce": 2, "adfl": 2}
    assert len(tried) == 3
    assert seconds("train.epochs=9") == {"ce": 9, "adfl": 9}


def test_an_arm_whose_first_steps_fail_is_told_and_stops_no_other(shared, tmp_path, monkeypatch, capsys):
    def fails(config, _):
        if config.model.acw:
            raise UsageError("too large")
        return Probe(1.0, 2.0)

    monkeypatch.setattr(ablate, "probe", fails)
    ablation = Ablation.load(shared, [f"output={tmp_path}"])
    assert [*ablate._probes(ablation, True, Display())] == ["ce"]
    assert "adfl: a few steps of it fail: too large" in capsys.readouterr().out


def test_slices_of_folds_weigh_by_those_that_count():
    """Exact for the mean over classes: 1 of 10 slices holds the gland in one fold, 9 of 10 in the other."""

    def change(one):
        score, left_out = ((0.2, 9), (0.8, 1))[one["header"]["fold"]]
        one["image"] = {**one["image"], "mDSC": score, "units": 10, "left_out": left_out, "accuracy": None}
        one["image"]["classes"]["zone"] |= {"recall": score / 2}

    made = arm("a", seeds=(0,), change=change)
    assert score_by_seed(made, "image", "mDSC") == [pytest.approx((0.2 + 9 * 0.8) / 10)]
    assert score_by_seed(made, "image", "recall zone") == [pytest.approx((0.1 + 9 * 0.4) / 10)]
    assert score_by_seed(made, "image", "precision zone") == []
    stills = arm("a", seeds=(0,), kind="still")
    expected = np.mean([row.scores["DSC"] for _, row in stills.rows(0) if row.label == "zone"])
    assert score_by_seed(stills, "image", "DSC zone") == [pytest.approx(expected)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, module_program):
    """A grid with an arm that fails, and what was said."""
    folder = tmp_path_factory.mktemp("trained")
    path = grid_yaml(folder)
    arms = "ablation.arms={ce: {}, adfl: {loss: {name: adfl}}, wild: {optim: {lr: 1e30}}}"
    arguments = ("ablate", path, arms, "ablation.workers=2")
    dry = module_program(*arguments, "--dry-run", check=0, cwd=folder)
    assert not list(folder.rglob("scores.json"))
    with pytest.MonkeyPatch.context() as patch:
        train_here(patch, module_program)
        return folder, arguments, dry, module_program(*arguments, check=2, cwd=folder)


def test_a_dry_run_lists_the_cells(trained):
    dry = trained[2].stdout
    assert "6 cells, 0 finished; 2 at a time" in dry
    assert "adfl seed 0 fold 1: to train" in dry
    assert "first gradient norm" in dry
    assert "6 cells to train: about" in dry


def test_a_failing_cell_does_not_stop_the_others(trained):
    folder, _, _, said = trained
    for name in ("ce", "adfl"):
        assert len(list((folder / f"runs/grid/{name}").rglob("scores.json"))) == 2
    failures = said.stderr.splitlines()
    assert len(failures) == 2
    assert failures[0].startswith("wild seed 0 fold 0 has failed (")
    assert "wild/seed-0/fold-0.log; run the same command to try it again" in failures[0]
    assert "wild seed 0: not all folds are finished; left out of the tables" in said.stdout


def test_the_tables_lie_in_the_folder(trained):
    folder, _, _, said = trained
    path = folder / "runs/grid"
    assert "mIoU against ce" in said.stdout
    table = (path / "table.md").read_text()
    costs = table[table.index("## cost of training") :].splitlines()
    trained = json.loads((path / "adfl/seed-0/fold-0/trained.json").read_text())
    assert next(line for line in costs if line.startswith("| adfl | 2 |")).endswith(f"| {trained['parameters']:,} |")
    assert r"\toprule" in (path / "table.tex").read_text()
    with (path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["arm"] for row in rows} == {"adfl"}
    assert rows[0]["groups"] == "11"
    assert "verdict" in (path / "report.html").read_text()
    for name in ("forest", "classes", "learning_curves", "acw_curves"):
        assert (path / f"figures/{name}.png").stat().st_size > 5000
        assert (path / f"figures/{name}.svg").read_text().startswith("<?xml")
    norms = json.loads((path / "probe.json").read_text())
    assert 0 < norms["ce"]["gradient_norm"] < 100
    assert norms["ce"]["seconds"] > 0


def test_a_cell_that_was_killed_before_its_page_gets_one(trained, module_program):
    folder, arguments, *_ = trained
    page = folder / "runs/grid/adfl/seed-0/fold-1/report.html"
    before = page.read_text()
    page.unlink()
    for name in (".lock", ".report.html.99-0123abcd"):
        (page.parent / name).touch()
    arms = "ablation.arms={ce: {}, adfl: {loss: {name: adfl}}}"
    module_program("ablate", arguments[1], arms, check=0, cwd=folder)
    assert page.read_text() == before
    assert not [*page.parent.glob(".*")]


@pytest.mark.slow
def test_cells_are_the_runs_that_train_would_make(trained, module_program, tmp_path):
    folder, *_ = trained
    cell = folder / "runs/grid/adfl/seed-0/fold-1"
    module_program("train", cell.with_suffix(".yaml"), f"output={tmp_path}", "name=alone", check=0, cwd=folder)
    ours, alone = (json.loads((path / "scores.json").read_text()) for path in (cell, tmp_path / "alone"))
    assert ours == alone


@pytest.mark.slow
def test_a_grid_is_extended_and_what_is_done_stays(trained, module_program):
    folder, arguments, *_ = trained
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("scores.json")}
    arms = "ablation.arms={ce: {}, adfl: {loss: {name: adfl}}, dice: {loss: {name: dice}}}"
    said = module_program("ablate", arguments[1], arms, "ablation.workers=2", check=0, cwd=folder).stdout
    assert "6 cells, 4 finished" in said
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "dice seed 0 fold 1: done" in said
    assert "wild: on disk, but not among the arms any more; left out of the tables" in said
    with (folder / "runs/grid/table.csv").open() as file:
        assert {row["arm"] for row in csv.DictReader(file)} == {"adfl", "dice"}


def test_another_configuration_under_the_same_name_is_refused(trained, module_program):
    folder, arguments, *_ = trained
    said = module_program(*arguments, "optim.lr=5e-3", check=2, cwd=folder).stderr
    assert "holds another run: optim.lr is 0.001 there and 0.005 here" in said
    assert "; name the arm otherwise in ablation.arms, or give the ablation a name of its own" in said


def test_arms_are_compared_by_hand(trained, module_program):
    folder, *_ = trained
    said = module_program("compare", "runs/grid/adfl", "runs/grid/ce", check=0, cwd=folder).stdout
    assert "mIoU against ce" in said
    assert "adfl against ce" in said or "over ce by" in said or "are equivalent" in said
    assert "11 groups, one seed" in said
    assert "compared by itself" not in said
    wrong = module_program("compare", "runs/grid", "runs/grid/ce", check=2, cwd=folder).stderr
    assert wrong.startswith("runs/grid: no scores in it; it is an ablation; give one of its arms: adfl, ce")
    assert "compared with itself" in module_program("compare", "runs", "runs", check=2, cwd=folder).stderr


def test_arms_of_two_ablations_are_compared_each_by_itself(trained, module_program, tmp_path):
    folder, *_ = trained
    shutil.copytree(folder / "runs/grid", tmp_path / "other")
    said = module_program("compare", "runs/grid", tmp_path / "other", check=0, cwd=folder).stdout
    assert said.count("one of 2 arms, each compared by itself: p and intervals do not allow for their number") == 2
    assert said.count("left out, since they are not scored in both: wild") == 2
    shutil.rmtree(tmp_path / "other/adfl")
    said = module_program("compare", "runs/grid", tmp_path / "other", check=0, cwd=folder).stdout
    assert "left out, since they are not scored in both: adfl, wild" in said
    assert "compared by itself" not in said


def _in_folds(folder, name):
    """Whether a run of a fold holds a file; folders may come and go meanwhile."""
    return any(name in names and "fold-" in Path(place).name for place, _, names in os.walk(folder))


@pytest.mark.slow
def test_a_killed_grid_leaves_no_process_and_goes_on(module_program, tmp_path):
    """SIGKILL to the ablation alone: its workers end, the trainings at their leash stop, and the same command ends."""
    path = grid_yaml(tmp_path)
    arguments = [path, "ablation.workers=2", "train.epochs=4", "ablation.arms.adfl=null"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    command = [sys.executable, str(ROOT / "train_seg.py"), "ablate", *map(str, arguments), f"output={cut}"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as grid:
        until = time.monotonic() + 300
        while not _in_folds(cut, "log.jsonl") and time.monotonic() < until:
            time.sleep(0.1)
        grid.send_signal(signal.SIGKILL)
    assert time.monotonic() < until
    until = time.monotonic() + 60
    while _in_folds(cut, ".lock") and time.monotonic() < until:  # the training holds it to its end
        time.sleep(0.1)
    assert not _in_folds(cut, ".lock")
    assert len(list(cut.rglob("scores.json"))) < 2
    module_program("ablate", *arguments, f"output={cut}", check=0, cwd=tmp_path)
    for cell in Ablation.load(path, [*arguments[1:], f"output={cut}"]).cells:
        other = (f"output={whole / 'grid/ce/seed-0'}", f"name={cell.run.path.name}")
        module_program("train", cell.run.path.with_suffix(".yaml"), *other, check=0, cwd=tmp_path)
    module_program("ablate", *arguments, f"output={whole}", check=0, cwd=tmp_path)
    for name in ("table.csv", "table.md"):
        ours, theirs = (without_hours((path / "grid" / name).read_text()) for path in (cut, whole))
        assert ours == theirs


def test_folders_of_masks_are_compared(program, tmp_path):
    """By their reference; the numbers are those of the scores of `evaluate --pred`."""
    rng = np.random.default_rng(0)
    for case in range(7):
        truth = (rng.random((16, 16)) < 0.3).astype(np.uint8)
        for name, wrong in (("ref", 0), ("good", 0.05), ("bad", 0.2)):
            (tmp_path / name).mkdir(exist_ok=True)
            flipped = np.where(rng.random((16, 16)) < wrong, 1 - truth, truth).astype(np.uint8)
            Image.fromarray(flipped).save(tmp_path / name / f"p{case}.png")
    options = ("labels={background: 0, gland: 1}", "background=background")
    said = program("compare", "good", "bad", "--ref", "ref", *options, check=0).stdout
    assert "good improves gland IoU over bad by" in said  # stills, in the primary metric of stills
    assert "7 groups, one seed" in said
    for name in ("good", "bad"):
        program("evaluate", "--pred", name, "--ref", "ref", "--out", f"{name}-scores", *options, check=0)
    again = program("compare", "good-scores", "bad-scores", check=0).stdout
    assert [line.split(" by ")[1] for line in again.splitlines() if "improves" in line] == [
        line.split(" by ")[1] for line in said.splitlines() if "improves" in line
    ]
    assert "give their reference with --ref" in program("compare", "good", "bad", *options, check=2).stderr
