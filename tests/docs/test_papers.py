"""The papers' tables as ablations: every arm is a valid run, and every number is the one that the paper printed.

The numbers stand twice: typed from the papers into docs/papers.md, and taken from their text by a program into
configs/papers. Here they meet.
"""

import json
import re
from statistics import mean

import pytest
from ruamel.yaml import YAML

import datasets
from engine.configuration import build
from engine.configuration.checking import load_config
from engine.configuration.source import Node, load, merge
from segloss_tests import ROOT

OF_LABELS = r"cb_.*|cefl_.*|mse_ol_table[1-5]_.*"
"""The tables of image classification; see test_papers_labels.py."""
FILES = sorted(path for path in (ROOT / "configs/papers").glob("*.yaml") if not re.fullmatch(OF_LABELS, path.stem))
OWN = {path.stem: YAML(typ="safe", pure=True).load(path) for path in FILES}  # what a file says itself, without extends
VALUES = {name: own["ablation"].get("paper", {}).get("values", {}) for name, own in OWN.items()}
PAGE = (ROOT / "docs/papers.md").read_text()
TRUS = (ROOT / "configs/trus/deeplabv3plus_ce.yaml").is_file() and "trus" in datasets.ADAPTERS
ARMS = {"CE": "ce", "WCE": "wce", "FL": "fl", "FL, α = 1": "fl", "ADFL": "adfl", "DFL": "dfl", "ACW + CE": "acw_ce"}
SETS = {"MRI": "promise12", "TRUS": "trus", "Cityscape": "camvid701"}
THREE_RUNS = {
    2: {"DeepLabV3+": "trus_deeplabv3plus", "VGG19 FCN": "trus_vgg19_fcn", "U-net": "trus_unet2015"},
    3: SETS,
    4: {"ADAM": "trus_adam", "SGDM": "trus_sgdm"},
}

every_file = pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path,
            id=path.stem,
            marks=pytest.mark.skipif("trus" in path.stem and not TRUS, reason="there is no data set trus yet"),
        )
        for path in FILES
    ],
)


def read(path):
    """A file's settings, and its ablation."""
    root = load(path)
    return Node({key: node for key, node in root.value.items() if key != "ablation"}, root.at), root.value["ablation"]


def merged(path):
    """The whole configuration of each arm, as plain data."""
    settings, ablation = read(path)
    return {name: merge(settings, arm).plain() for name, arm in ablation.value["arms"].value.items()}


def table(heading, page=PAGE):
    """The rows of the first table under a heading, without that of its column names."""
    text = re.search(rf"^## {re.escape(heading)}.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)[0]
    lines = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)[0].splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def pair(cell):
    """`81.2 / 70.9` as fractions."""
    dsc, iou = cell.split(" / ")
    return {"mDSC": float(dsc) / 100, "mIoU": float(iou) / 100}


def printed():
    """Every pair of mDSC and mIoU that the ADFL paper printed, by file, arm and run."""
    for number, columns in THREE_RUNS.items():
        for arm, column, *runs, _ in table(f"ADFL, Table {number}"):
            for run, cell in enumerate(runs, 1):
                yield (f"adfl_table{number}_{columns[column]}", ARMS[arm], run), pair(cell)
    for number in (5, 6, 7):
        for arm, *cells in table(f"ADFL, Table {number}"):
            for data, cell in zip(SETS.values(), cells, strict=True):
                yield (f"adfl_table{number}_{data}", ARMS[arm], 1), pair(cell)


@pytest.fixture(scope="module")
def check(tmp_path_factory):
    """Check a configuration; many arms are the same in several tables, and are checked once."""
    path, known = tmp_path_factory.mktemp("arms") / "arm.yaml", {}

    def checked(plain):
        text = json.dumps({**plain, "name": "arm"})
        if text not in known:
            path.write_text(text)
            known[text] = load_config(path)
        return known[text]

    return checked


@every_file
def test_every_arm_is_a_valid_run(path, check):
    for name, plain in merged(path).items():
        config = check(plain)
        assert bool(config.model.acw) == (name in ("acw_ce", "adfl"))


@every_file
def test_an_ablation_says_what_it_compares(path):
    settings, ablation = read(path)
    section = ablation.plain()
    assert settings.plain()["name"] == path.stem.replace("_", "-")
    assert section.keys() <= {"baseline", "arms", "seeds", "paper"}
    assert section["baseline"] in section["arms"]
    assert len(section["arms"]) >= 2
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_]*", arm) for arm in section["arms"])
    assert section["seeds"] == [0, 1, 2]
    if "table" not in path.stem:
        assert "paper" not in section
        return
    paper = section["paper"]
    assert paper.keys() == {"source", "aggregation", "values"}
    assert paper["aggregation"] == ("image" if path.stem.startswith("adfl") else "dataset")
    assert paper["values"].keys() <= section["arms"].keys()
    assert paper["values"] == VALUES[path.stem]  # none comes unseen from the file it extends


@every_file
def test_arms_differ_in_the_remedy_alone(path):
    """Data, network, optimizer and training are those of every other arm."""
    arms = merged(path)
    for plain in arms.values():
        plain.pop("loss")
        plain["model"].pop("acw", None)
    assert all(plain == arms[next(iter(arms))] for plain in arms.values())


@every_file
def test_the_settings_that_the_paper_gives(path, check):
    config = check(next(iter(merged(path).values())))
    optim, data = config.optim, config.data
    if path.stem.startswith("mse_ol"):
        assert (data.size, config.train.batch_size, config.train.epochs) == ((360, 480), 16, 200)
        assert (optim.name, optim.lr, optim.momentum, optim.schedule.power) == ("sgd", 0.01, 0.9, 0.9)
        return
    assert (data.size, config.train.batch_size, config.scores.grid) == ((224, 224), 4, "network")
    assert (optim.lr, optim.schedule.name, optim.schedule.every, optim.schedule.factor) == (5e-4, "step", 5, 0.95)
    assert (optim.name, getattr(optim, "momentum", None)) == (("sgd", 0.9) if "sgdm" in path.stem else ("adam", None))
    assert optim.weight_decay == 0
    assert data.sampler is None
    assert data.name == path.stem.split("_")[1 if "table" not in path.stem else 2]


def test_an_arm_is_the_same_in_every_table_of_the_adfl_paper():
    """But for FL, whose α is 1 in Table 7."""
    found = {}
    for path in FILES:
        if path.stem.startswith("adfl") and (TRUS or "trus" not in path.stem):
            for name, arm in read(path)[1].value["arms"].value.items():
                found.setdefault((name, "table7" in path.stem and name == "fl"), []).append(arm.plain())
    assert len(found) == 7
    assert all(arm == arms[0] for arms in found.values() for arm in arms)
    assert found["fl", True][0] == {"loss": {"name": "focal", "gamma": 2, "alpha": 1}}


def test_the_files_hold_what_the_adfl_paper_printed():
    """Of three runs the mean, to the fifth digit."""
    expected = {}
    for (file, arm, _), scores in printed():
        for score, value in scores.items():
            expected.setdefault((file, arm, score), []).append(value)
    for (file, arm, score), runs in list(expected.items()):
        if file == "adfl_table5_camvid701":
            expected["adfl_table5_camvid", arm, score] = runs
    held = {
        (file, arm, score): value
        for file, arms in VALUES.items()
        if file.startswith("adfl")
        for arm, scores in arms.items()
        for score, value in scores.items()
    }
    assert held.keys() == expected.keys()
    assert held == {key: pytest.approx(mean(runs), abs=5.1e-6) for key, runs in expected.items()}


def test_the_means_on_the_page_are_those_of_the_runs():
    for number in THREE_RUNS:
        for *_, one, two, three, last in table(f"ADFL, Table {number}"):
            for score, value in pair(last).items():
                assert value == pytest.approx(mean(pair(run)[score] for run in (one, two, three)), abs=5.1e-6)


def test_the_files_hold_what_the_mse_ol_paper_printed():
    for number in (6, 7):
        rows = table(f"MSE-OL, Table {number}")
        cells = {row[0].strip("`"): next(cell for cell in row if "±" in cell) for row in rows}
        expected = {arm: {"mIoU": pytest.approx(float(cell.split(" ± ")[0]) / 100)} for arm, cell in cells.items()}
        assert VALUES[f"mse_ol_table{number}_camvid"] == expected


def test_alpha_is_what_the_arm_says():
    arms = merged(ROOT / "configs/papers/mse_ol_table7_camvid.yaml")
    assert {name: plain["loss"] for name, plain in arms.items()} == {
        f"alpha_{alpha}": {"name": "mse_ol", "alpha": alpha} for alpha in range(1, 9)
    }


def test_one_printed_pair_is_impossible():
    """A mean over images has mDSC / (2 − mDSC) ≤ mIoU ≤ mDSC, as x / (2 − x) is convex; half a last digit is spared."""
    half = 5e-5
    outside = {
        key
        for key, scores in printed()
        if not (scores["mDSC"] - half) / (2 - scores["mDSC"] + half) <= scores["mIoU"] + half <= scores["mDSC"]
    }
    assert outside == {("adfl_table2_trus_unet2015", "adfl", 2)}
    assert "**Impossible**: U-net, ADFL, run 2." in PAGE


def test_no_printed_pair_is_of_pooled_pixels():
    prostate = [scores for (file, *_), scores in printed() if "camvid701" not in file]
    assert len(prostate) == 11 * 3 + 8 * 3 + 8 * 3 + 6 + 4 + 4
    assert all(abs(s["mIoU"] - s["mDSC"] / (2 - s["mDSC"])) > 0.003 for s in prostate)


def test_the_gains_that_the_mse_ol_paper_states():
    losses, alphas = VALUES["mse_ol_table6_camvid"], VALUES["mse_ol_table7_camvid"]
    best = losses["mse_ol"]["mIoU"]
    assert best == alphas["alpha_6"]["mIoU"] == max(scores["mIoU"] for scores in alphas.values())
    assert best - losses["wce"]["mIoU"] == pytest.approx(0.0520)
    assert best - losses["dice"]["mIoU"] == pytest.approx(0.0294)
    assert alphas["alpha_1"]["mIoU"] - losses["wce"]["mIoU"] == pytest.approx(0.0200)


def test_where_adfl_is_not_the_best_arm_of_a_run():
    """The paper has it the best everywhere; docs/papers.md names the one exception."""
    runs = {}
    for (file, arm, run), scores in printed():
        for score, value in scores.items():
            runs.setdefault((file, run, score), {})[arm] = value
    lost = {key for key, arms in runs.items() if "adfl" in arms and max(arms, key=arms.get) != "adfl"}
    assert lost == {("adfl_table3_camvid701", 1, "mIoU")}


def test_equal_arms_of_several_tables():
    known = {(file, arm): scores.get("mDSC") for file, arms in VALUES.items() for arm, scores in arms.items()}
    for arm, data, *cells in table("ADFL: equal arms in several tables"):
        names = [f"table2_{SETS[data]}_deeplabv3plus", f"table3_{SETS[data]}", f"table4_{SETS[data]}_adam"]
        names += [f"table{number}_{SETS[data]}" for number in (5, 6, 7)]
        held = [known.get((f"adfl_{name}", ARMS[arm])) for name in names]
        shown = [float(cell.split(" (")[0]) / 100 if cell else None for cell in cells]
        assert shown == [value if value is None else pytest.approx(value, abs=1e-5) for value in held]
        assert ("α" in cells[5]) == (arm == "FL")


def test_every_file_is_on_the_page_with_its_cells(check):
    listed = {}
    for names, _, cells in table("The papers' tables", "#" + PAGE):
        listed |= dict(zip(re.findall(r"\w+", names), map(int, cells.split(", ")), strict=True))
    assert sorted(listed) == sorted(path.stem for path in (ROOT / "configs/papers").glob("*.yaml"))
    for path in FILES:
        if TRUS or "trus" not in path.stem:
            arms = merged(path)
            folds = build.build_splitter(check(next(iter(arms.values()))).data).divisions()
            assert listed[path.stem] == len(arms) * folds * len(read(path)[1].plain()["seeds"]), path.stem


def test_links_and_commands_lead_to_files():
    assert all((ROOT / "docs" / target).is_file() for target in re.findall(r"\]\(([\w./]+\.md)", PAGE))
    files = {path.stem for path in (ROOT / "configs/papers").glob("*.yaml")}
    assert set(re.findall(r"configs/papers/(\w+)\.yaml", PAGE)) <= files
