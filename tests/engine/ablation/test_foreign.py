"""Scores of other programs: nnU-Net's summary, MONAI's and any CSV, brought together with ours."""

import csv
import json

import numpy as np
import pytest
import torch
from monai.handlers.utils import write_metrics_reports

import datasets
from engine.ablation.comparison import Measure, Method, compared, measures, not_paired
from engine.ablation.documents import method
from engine.ablation.matching import matched
from engine.ablation.verdicts import compare_arms
from engine.errors import UsageError
from engine.scoring.mask_options import Options
from segloss.document import ScoresDocument

pytestmark = pytest.mark.filterwarnings("ignore:Mean of empty slice")  # of MONAI
CASES = [f"Case{number:02d}" for number in range(8)]
COUNTS = {case: (800 + 10 * number, 100, 120 - 3 * number) for number, case in enumerate(CASES)}
"""By case true positives, false positives and false negatives of the prostate."""
DICE = {case: 2 * tp / (2 * tp + fp + fn) for case, (tp, fp, fn) in COUNTS.items()}


def ours(shift=0, groups=1, **header):
    """Our scores of the same patients, with a background."""
    rows = []
    for number, (case, (tp, fp, fn)) in enumerate(COUNTS.items()):
        begin = {"case": case, "group": f"P{number // groups}"} if groups > 1 else {"case": case, "group": case}
        moved = shift + number % 3
        rows.append({**begin, "class": "background", "tp": 9000, "fp": fn, "fn": fp})
        rows.append({**begin, "class": "prostate", "tp": tp + moved, "fp": fp, "fn": fn - moved})
    known = {"classes": ["background", "prostate"], "background": "background", "kind": "volume", "seed": 0}
    return Method("ours", {0: [ScoresDocument.from_json({"header": known | header, "cases": rows})]})


def summary(folder, key="1", change=lambda found: None, ending=".nii.gz", **more):
    """What nnU-Net 2 writes: counts, Dice and IoU by label or region, and NaN where neither has it."""
    per_case = []
    for case, (tp, fp, fn) in COUNTS.items():
        metrics = {"Dice": DICE[case], "IoU": tp / (tp + fp + fn), "TP": tp, "FP": fp, "FN": fn, "TN": 9000}
        metrics |= {"n_pred": tp + fp, "n_ref": tp + fn}
        files = {"prediction_file": f"/nn/val/{case}{ending}", "reference_file": f"/raw/labelsTr/{case}{ending}"}
        per_case.append({**files, "metrics": {key: metrics}})
    found = {"foreground_mean": {"Dice": 0.9}, "mean": {key: {"Dice": 0.9}}, "metric_per_case": per_case}
    change(found)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "summary.json").write_text(json.dumps(found | more))
    return folder


def names(folder, labels):
    (folder / "dataset.json").write_text(json.dumps({"channel_names": {"0": "T2"}, "labels": labels}))


def test_folds_of_other_classes_are_no_method(tmp_path):
    for fold, classes in enumerate((["zone"], ["zone", "tumour"])):
        rows = [{"case": f"c{fold}", "group": f"c{fold}", "class": name, "tp": 9, "fp": 1, "fn": 2} for name in classes]
        (tmp_path / f"fold-{fold}").mkdir()
        content = {"header": {"kind": "volume", "classes": classes, "background": None}, "cases": rows}
        (tmp_path / f"fold-{fold}/scores.json").write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"fold-1/scores.json and .* are not scored alike: classes"):
        method(tmp_path)


def test_a_summary_of_nnu_net_is_compared_with_ours(tmp_path):
    """The counts are those of the file; the names, three folders up, those of dataset.json."""
    folder = summary(tmp_path / "Dataset005/nnUNetTrainer__nnUNetPlans__2d/fold_0/validation")
    names(folder.parent.parent, {"background": 0, "prostate": 1})
    theirs = method(folder)
    assert theirs.read_as == ["summary.json: prostate in 8 cases, of nnU-Net, named by dataset.json"]
    assert theirs.header.fold == 0
    a, b, lines = matched(ours(shift=5), theirs)
    assert lines == []
    assert not_paired(a, b)[0].startswith("seeds of ours: 0; of ")
    found = compared(a, b, Measure("case", "DSC"))
    expected = np.mean(
        [(2 * (tp + 5 + n % 3)) / (2 * tp + fp + fn + 5 + n % 3) for n, (tp, fp, fn) in enumerate(COUNTS.values())]
    )
    assert found.mean_b == pytest.approx(np.mean([*DICE.values()]))
    assert found.mean_a == pytest.approx(expected)
    assert found.groups == 8


def test_the_folds_of_a_trainer_are_one_method(tmp_path):
    for fold, half in enumerate((slice(0, 4), slice(4, 8))):

        def keep(found, half=half):
            found["metric_per_case"] = found["metric_per_case"][half]

        summary(tmp_path / f"fold_{fold}/validation", change=keep)
    found = method(tmp_path)
    assert [document.header.fold for document in found.documents[None]] == [0, 1]
    assert found.scores(None).names == CASES
    assert found.header.classes == ["1"]


def test_regions_of_nnu_net_have_their_names(tmp_path):
    folder = summary(tmp_path / "pred", key="(1, 2)")
    names(folder, {"background": 0, "whole": [1, 2], "core": [2]})
    assert method(folder).header.classes == ["whole"]
    assert method(folder, Options.parse(["labels={background: 0, prostate: [1, 2]}"])).header.classes == ["prostate"]
    with pytest.raises(UsageError, match=r"the label \(1, 2\) has no name in labels: prostate"):
        method(folder, Options.parse(["labels={prostate: 1}"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["metric_per_case"][2]["metrics"]["1"].pop("TP"), "no summary of nnU-Net 2: TP: missing"),
        (lambda d: d["metric_per_case"][2].pop("metrics"), "metric_per_case.2: prediction_file, reference_file and"),
        (lambda d: d["metric_per_case"].append(d["metric_per_case"][0]), "Case00 has two rows of 1"),
        (lambda d: d["metric_per_case"].clear(), "a list of one or more is needed"),
    ],
)
def test_other_summaries_are_refused(tmp_path, change, message):
    with pytest.raises(UsageError, match=r"summary\.json: ") as error:
        method(summary(tmp_path, change=change))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def monai(folder, labels=("prostate",), name="mean_dice"):
    """As MONAI writes it, by itself."""
    values = torch.tensor([[DICE[case], 0.5][: len(labels)] for case in CASES])
    values[3, 0] = float("nan")
    files = [f"/data/imagesTs/{case}.nii.gz" for case in CASES]
    write_metrics_reports(folder, files, None, {name: values}, "mean", class_labels=[*labels])
    return folder / f"{name}_raw.csv"


def test_the_csv_of_monai_is_read(tmp_path):
    path = monai(tmp_path)
    theirs = method(path)
    assert theirs.read_as == ["DSC of prostate in 8 cases; left out: mean"]
    assert not theirs.has_counts
    a, b, lines = matched(ours(), theirs)
    assert lines == [
        f"{path} has scores without counts: compared by case; misses and inventions are not known",
        "only ours has a score of prostate in Case03: left out, of means too",
    ]
    assert [line for line in not_paired(a, b) if "Case" in line] == []
    found = compare_arms({"ours": a, "theirs": b}, "theirs")
    assert [one.measure for one in found] == [Measure("case", "DSC", "prostate")]
    one = found[0].found["ours"]
    assert one.groups == 7
    assert one.mean_b == pytest.approx(np.mean([DICE[case] for case in CASES if case != "Case03"]), abs=1e-4)


def test_equal_predictions_are_equal_though_one_program_leaves_classes_undefined():
    """Ten patients, five without a tumour: both programs invent one there, of which one says nothing, as MONAI does.

    In two more that one has no score of a tumour that is there.
    """
    with_counts, by_dsc = [], []
    for number in range(12):
        for label, tp, fp, fn in (
            ("liver", 800 + number, 100, 100),
            ("tumour", 0, 5, 0) if number < 5 else ("tumour", 50, 5, 10),
        ):
            row = {"case": f"p{number}", "class": label}
            known = tp and (label == "liver" or number < 10)
            with_counts.append({**row, "tp": tp, "fp": fp, "fn": fn})
            by_dsc.append({**row, "DSC": 2 * tp / (2 * tp + fp + fn) if known else None})
    header = {"classes": ["liver", "tumour"], "kind": "volume"}
    both = [
        Method(name, {None: [ScoresDocument.from_json({"header": header, "cases": rows})]})
        for name, rows in (("ours", with_counts), ("theirs", by_dsc))
    ]
    for a, b in (both, both[::-1]):
        one, two, lines = matched(a, b)
        assert lines[1:] == [
            "only ours has a score of tumour in p0, p1, p10, p11, p2 and 2 more: left out, of means too"
        ]
        found = compared(one, two, Measure("case", "DSC"))
        assert (found.groups, found.difference, found.ties) == (12, 0, 12)
        expected = [(2 * (800 + n) / (2 * (800 + n) + 200), 100 / 115) for n in range(12)]
        assert found.mean_a == pytest.approx(
            np.mean([np.mean(p if 5 <= n < 10 else p[:1]) for n, p in enumerate(expected)])
        )


LONG = """\
case;class;Dice;HD95;reader
Case00;prostate;0.5;3;A
Case00;zone;;;B
Case01;prostate;0.75;4.5;C
Case01;zone;1;0;D
"""


def test_long_and_wide_tables_hold_the_same(tmp_path):
    (tmp_path / "long.csv").write_text("\ufeff" + LONG)
    (tmp_path / "wide.csv").write_text("\n\nsubject\tprostate\tzone\nCase00\t0.5\tNaN\nCase01\t0.75\t1\n")
    (tmp_path / "iou_raw.csv").write_text(f"filename,prostate,zone\nCase00,{1 / 3},\nCase01,0.6,1\n,,\n")
    found = [method(tmp_path / name) for name in ("long.csv", "wide.csv", "iou_raw.csv")]
    for one in found:
        values = {(row.case, row.label): row.scores["DSC"] for _, row in one.rows(None)}
        assert values == {
            ("Case00", "prostate"): pytest.approx(0.5),
            ("Case00", "zone"): None,
            ("Case01", "prostate"): pytest.approx(0.75),
            ("Case01", "zone"): 1,
        }
    assert found[0].read_as == ["DSC of prostate, zone in 2 cases; left out: reader"]
    assert found[2].read_as == ["IoU of prostate, zone in 2 cases"]
    assert found[0].scores(None).distance("HD95", "prostate") == pytest.approx([3, 4.5])
    ious = [row.scores["IoU"] for _, row in found[0].rows(None) if row.label == "prostate"]
    assert ious == pytest.approx([1 / 3, 0.6])


def test_a_table_of_ours_keeps_its_counts_seeds_and_patients(tmp_path):
    rows = [row.flat() | {"seed": seed} for seed in (0, 1) for row in ours(groups=2).documents[0][0].rows]
    with (tmp_path / "cases.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
    theirs = method(tmp_path / "cases.csv")
    assert [*theirs.documents] == [0, 1]
    assert theirs.has_counts
    assert theirs.header.background == "background"
    found = compared(ours(groups=2), theirs, Measure("case", "DSC", "prostate"))
    assert (found.groups, found.difference) == (4, 0)


def test_patients_are_those_of_the_method_that_knows_them(tmp_path):
    """Two scans each: six of our patients are not eight of theirs."""
    a, b, lines = matched(ours(groups=2), method(monai(tmp_path)))
    assert lines[0] == f"8 cases of {tmp_path / 'mean_dice_raw.csv'} belong to 4 groups, by ours"
    assert compared(a, b, Measure("case", "DSC")).groups == 4


def test_names_of_cases_are_found_by_a_pattern(tmp_path):
    (tmp_path / "x.csv").write_text(
        "id,prostate\n" + "".join(f"/a/{c}/pred_0000.nii.gz,{d}\n" for c, d in DICE.items())
    )
    with pytest.raises(UsageError, match=r"pred_0000 has two rows of prostate.*name="):
        method(tmp_path / "x.csv")
    found = method(tmp_path / "x.csv", Options.parse([r"name='/(Case\d+)/'", r"group='Case\d'"]))
    assert {row.case for _, row in found.rows(None)} == {*CASES}
    assert {row.group for _, row in found.rows(None)} == {"Case0"}


def test_classes_are_matched_by_name(tmp_path):
    both = monai(tmp_path, labels=("zone", "prostate"))
    a, b, lines = matched(method(both), ours())
    assert lines[0].startswith(f"only {both} has zone: left out, of means too; classes are matched by name")
    assert {one.name for one in measures(b)} == {"prostate"}
    assert a.header.classes == b.header.classes == ["background", "prostate"]
    with pytest.raises(UsageError, match="have no class in common: class0 there, prostate here; classes are"):
        matched(method(monai(tmp_path / "other", labels=("class0",))), ours())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "case,prostate\na,86.5\n",
            "line 2: prostate: a DSC is a fraction of 1, got '86.5'; divide percentages by 100",
        ),
        ("case,prostate\na,good\n", "line 2: prostate: a number is needed, got 'good'"),
        ("case,class,score\na,b,0.5\n", "no column DSC among case, class, score; needed is a line for each case"),
        ("case,prostate\na,0.5,0.6\n", "line 2: 3 values, 2 columns"),
        ("case,prostate\n", "no scores in it; needed is"),
        ("", "its first line is empty; needed is"),
        ('case,prostate\n"a"b,0.5\n', "cannot be read (',' expected after '\"'); needed is"),
        ("case,prostate\na," + 200_000 * "0" + "\n", "cannot be read (field larger than field limit"),
        ("case,a,a\nx,1,1\n", "its first line is case, a, a; needed is"),
        ("case,class,DSC\na,b,0.5\na,b,0.6\n", "a has two rows of b"),
    ],
)
def test_other_tables_are_refused(tmp_path, text, message):
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UsageError, match=r"x\.csv: ") as error:
        method(tmp_path / "x.csv")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_distances_are_not_taken_for_overlap(tmp_path):
    (tmp_path / "hausdorff_distance_raw.csv").write_text("filename,a,mean\nx,0.5,0.5\n")
    with pytest.raises(UsageError, match="by its name of another score"):
        method(tmp_path / "hausdorff_distance_raw.csv")


def scan(path, mask):
    path.parent.mkdir(parents=True, exist_ok=True)
    datasets.write_volume(datasets.Volume(mask.astype(np.uint8), np.diag([1.0, 1.0, 3.0, 1.0])), path)


@pytest.fixture
def masks(tmp_path):
    """Seven patients: references, and the masks of two programs; the second one's as nnU-Net leaves them."""
    for number in range(7):
        truth = np.zeros((3, 12, 12), np.uint8)
        truth[1, 3:9, 3:9] = 1
        for name, columns in (("ref", 0), ("one", 1 + number % 2), ("two", 3 + number % 2)):
            scan(tmp_path / name / f"p{number}.nii.gz", np.roll(truth, columns, axis=2))
    (tmp_path / "two/dataset.json").write_text(
        json.dumps({"channel_names": {"0": "T2"}, "labels": {"background": 0, "prostate": 1}})
    )
    return tmp_path


def test_folders_of_volumes_are_compared_by_patient_with_the_names_of_dataset_json(program, masks):
    said = program("compare", "one", "two", "--ref", "ref", check=0).stdout
    assert "masks: background, prostate, named by two/dataset.json" in said
    assert "one improves prostate DSC over two by" in said
    assert "7 patients, one seed" in said
    # 1 or 2 of 6 columns beside, against 3 or 4: (5 + 4) / 2 of 6, less (3 + 2) / 2 of 6, nearly
    moved = [(6 - (1 + n % 2)) / 6 - (6 - (3 + n % 2)) / 6 for n in range(7)]
    assert f"by {np.mean(moved):.3f}" in said


def test_ours_beside_a_summary_and_options_that_mean_nothing(program, masks):
    program(
        "evaluate", "--pred", "one", "--ref", "ref", "--out", "ours", "labels={background: 0, prostate: 1}", check=0
    )
    summary = []
    for number in range(7):
        found = json.loads((masks / "ours/scores.json").read_text())["cases"][2 * number + 1]
        counts = {"TP": found["tp"] - 6, "FP": found["fp"] + 6, "FN": found["fn"] + 6}
        files = {"prediction_file": f"p{number}.nii.gz", "reference_file": f"p{number}.nii.gz"}
        summary.append({**files, "metrics": {"1": counts}})
    (masks / "two/summary.json").write_text(json.dumps({"metric_per_case": summary}))
    said = program("compare", "ours", "two", check=0).stdout
    assert "two: summary.json: prostate in 7 cases, of nnU-Net, named by dataset.json" in said
    assert "ours improves prostate DSC over two by 0.167" in said  # six pixels of 36
    no_masks = program("compare", "ours", "two", "tolerance=2", check=2).stderr
    assert no_masks == "command line: tolerance: says what masks mean; give their reference with --ref\n"
    idle = program("compare", "ours", "two/summary.json", "--ref", "ref", check=2).stderr
    assert idle.endswith("hold scores already, and no masks are scored; leave it out\n")
