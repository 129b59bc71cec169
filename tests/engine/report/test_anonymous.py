"""Anonymous pages: nothing that was planted is on them, a case has one name, and all else is as on the usual page."""

import base64
import gzip
import html
import json
import re
import shutil
import socket
import zlib
from io import BytesIO

import pytest
from PIL import Image, PngImagePlugin

from engine.ablation.documents import method
from engine.configuration.checking import load_config, load_saved
from engine.report.anonymous import Pseudonyms, anonymous_copies, closed
from segloss.document import ScoresDocument
from segloss_tests import ROOT
from segloss_tests.pages import cases_of, text_of
from segloss_tests.planted import held
from segloss_tests.reports import make_ablation

pytestmark = pytest.mark.usefixtures("rendered_figures")

CASES = [f"Zebra-{number:02d} Quokka" for number in range(8)] + ["1.2.840.99999.4711.8.15", "wombat"]
GROUPS = {case: f"Clan{number % 2}{number // 4}Okapi" for number, case in enumerate(CASES)}
ELSEWHERE = ["tapirstudy", "axolotl-station", "narwhaluser", "/vault/pangolin", "lemur reason", "c0ffeec0ffee"]
PLANTED = [*CASES, *GROUPS.values(), *ELSEWHERE, "pangolin"]


@pytest.fixture(scope="module")
def ablation(tmp_path_factory):
    """An ablation with planted names wherever its files can hold any."""
    folder = make_ablation(tmp_path_factory.mktemp("tapirstudy") / "tapirstudy", names=CASES)
    record = json.loads((folder / "ablation.json").read_text())
    record["arms"]["adfl"]["differs"] = ["model.init_from /vault/pangolin/first, not null"]
    record["paper"] = {"source": "lemur reason", "aggregation": "case", "values": {"adfl": {"mDSC": 0.5}}}
    (folder / "ablation.json").write_text(json.dumps(record))
    for run in folder.glob("*/seed-0/fold-?"):
        scores = json.loads((run / "scores.json").read_text())
        for row in scores["cases"]:
            row["group"] = GROUPS[row["case"]]
            row["tp"] += 5 * CASES.index(row["case"])  # no two have the same scores
        (run / "scores.json").write_text(json.dumps(scores))
        config = (run / "config.yaml").read_text().replace("/home/alice/secret", "/home/narwhaluser/vault/pangolin")
        config = config.replace("exclude: []", f"exclude: [{{case: {CASES[0]}, reason: lemur reason}}]")
        config = config.replace("init_from: null", "init_from: /vault/pangolin/first.safetensors")
        assert config.count("pangolin") == 2
        assert "lemur" in config
        (run / "config.yaml").write_text(config)
        environment = json.loads((run / "environment.json").read_text())
        environment |= {"host": "axolotl-station", "git": {"commit": "c0ffeec0ffee", "changed": True}}
        (run / "environment.json").write_text(json.dumps(environment))
        entry = json.loads((run / "log.jsonl").read_text().splitlines()[0]) | {
            "note": "by narwhaluser on axolotl-station"
        }
        (run / "log.jsonl").write_text(json.dumps(entry) + "\n")
        dsc = [
            {"case": row["case"], "class": "gland", "DSC": 0.25} for row in scores["cases"] if row["class"] == "gland"
        ]
        floors = {"mean_mask": {way: {"mDSC": 0.25, "mIoU": 0.2} for way in ("dataset", "case", "image")}}
        (run / "baseline.json").write_text(json.dumps({"floors": floors, "mean_mask": dsc, "by": "narwhaluser"}))
    return folder


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setenv("LOGNAME", "narwhaluser")
    monkeypatch.setattr(socket, "gethostname", lambda: "axolotl-station")


def written(module_program, folder, *arguments):
    """The usual and the anonymous page of a command, and the names that are in what the latter has written."""
    usual, other = folder / "usual.html", folder / "out/page.html"
    other.parent.mkdir()
    option = "--html" if arguments[0] == "compare" else "--out"
    module_program(*arguments, option, usual, check=0, cwd=folder)
    module_program(*arguments, option, other, "--anonymous", check=0, cwd=folder)
    every = [path for path in other.parent.iterdir() if path.is_file()]
    names = {name for path in every for name in held(path.read_bytes(), PLANTED)}
    return usual.read_text(), other.read_text(), names


@pytest.mark.parametrize("inner", ["", "ce/seed-0", "ce/seed-0/fold-1"])
def test_nothing_planted_is_in_what_is_written(ablation, machine, module_program, tmp_path, inner):
    usual, page, names = written(module_program, tmp_path, "report", ablation / inner)
    assert {*CASES[1::2], *GROUPS.values()} & held(usual.encode(), PLANTED)  # the scan finds what is there
    assert names == set()
    assert "Anonymous: cases and groups are numbered" in text_of(page)
    assert "case_001" in page


def pseudonyms(usual, page):
    """By case its name on an anonymous page, from the viewer of it and of the usual one: the same order."""
    mine, theirs = ([case["id"] for case in cases_of(one)["cases"]] for one in (usual, page))
    return dict(zip(mine, theirs, strict=True))


def in_order(cases):
    """The ids of the cases of a dot, sorted."""
    return " ".join(sorted(json.loads(html.unescape(cases[0]))))


@pytest.mark.parametrize("inner", ["", "ce/seed-0"])
def test_a_case_has_one_name_and_all_else_is_as_on_the_usual_page(ablation, machine, module_program, tmp_path, inner):
    """Every line of the page with the pseudonyms put back is one of the usual page: tables, dots, cases, sentences."""
    usual, page, _ = written(module_program, tmp_path, "report", ablation / inner)
    called = pseudonyms(usual, page)
    assert sorted(called.values()) == [f"case_{number:03d}" for number in range(1, 11)]
    titles = (re.findall(r"<title>([^:<]*): ce", text) for text in (usual, page))
    groups = dict(zip(*titles, strict=True))
    assert sorted(groups.values()) == ([f"group_{number:03d}" for number in range(1, 7)] if not inner else [])
    back = page
    for name, pseudonym in (called | groups).items():
        back = back.replace(pseudonym, name)
    for end in ("configuration", "what the arms differ in"):
        usual, back = (text.split(f">{end}<")[0] for text in (usual, back))
    for text in ("run", "ablation", "tapirstudy, seed-0", "tapirstudy", "ce, seed-0"):
        usual, back = (re.sub(rf"(<title>|<h1>){text}(?=</)", r"\1", one) for one in (usual, back))
    back = re.sub(r"<p>Anonymous:.*?</p>\n", "", back)
    usual, back = (re.sub(r"\bs1-\d+", "s", text) for text in (usual, back))  # the paper's table is left out
    usual, back = (re.sub(r'(?<=data-cases=")[^"]*', in_order, text) for text in (usual, back))
    rows = [(row, {*usual.splitlines()}) for row in back.splitlines() if "differs in" not in row]
    assert [row for row, known in rows if row not in known] == []


def test_configuration_and_environment_are_numbers_and_words_of_the_program(
    ablation, machine, module_program, tmp_path
):
    _, page, _ = written(module_program, tmp_path, "report", ablation / "ce/seed-0/fold-0")
    text = text_of(page[page.index(">configuration<") :])
    assert "data.name phantom" in text
    assert "model.encoder resnet18" in text
    assert "optim.lr 0.001" in text
    assert "model.init_from …" in text
    assert "data.exclude.0.case …" in text
    assert re.search(r"torch \d", text)
    assert "commit" not in text


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_configuration_without_text_can_be_read(path, tmp_path):
    config = load_config(path).document()
    labels = [name for key in ("labels", "regions") for name in config["data"].get(key) or ()]
    (tmp_path / "config.yaml").write_text(json.dumps(closed(config, labels) | {"name": "run"}))
    again = load_saved(tmp_path / "config.yaml").document()
    assert {key: again[key] for key in ("train", "scores", "optim", "loss")} == {
        key: config[key] for key in ("train", "scores", "optim", "loss")
    }


def test_two_arms_are_compared_as_a_and_b(ablation, machine, module_program, tmp_path):
    usual, page, names = written(module_program, tmp_path, "compare", ablation / "adfl", ablation / "ce")
    assert names == set()
    assert "Use A: better than B by" in text_of(page)
    numbers = [re.findall(r"<td>([^<]*)", text) for text in (usual, page)]
    called = {"adfl": "A", "ce": "B"}
    assert [called.get(one, one) for one in numbers[0]] == numbers[1]
    assert len(numbers[0]) > 15
    assert {*pseudonyms(usual, page)} == set(CASES)


@pytest.mark.parametrize(("scores", "tuned"), [((0.5, 0.6), True), ((0.55, 0.55), False)])
def test_copies_of_tuned_runs_tell_whether_each_fold_chose(ablation, machine, tmp_path, scores, tuned):
    """By what was chosen, in an arm's folder or that beside a run: values and all else of it stay where they are."""
    choices = [
        {"fold": fold, "trial": 1, "values": {"data.root": "/vault/pangolin"}, "score": score}
        for fold, score in enumerate(scores)
    ]
    arm, run = tmp_path / "adfl", tmp_path / "run"
    shutil.copytree(ablation / "adfl/seed-0", arm / "tuned/seed-0")
    shutil.copytree(ablation / "adfl/seed-0", run)
    for folder in (arm, tmp_path / "run-tuning"):
        folder.mkdir(exist_ok=True)
        (folder / "chosen.json").write_text(json.dumps(choices))
    with anonymous_copies({"A": arm, "B": run}) as copy:
        assert [method(path).tuned for path in (arm, run, *copy.paths)] == [tuned] * 4
        written = [path / "chosen.json" for path in (copy.paths[0], copy.paths[1].with_name("B-tuning"))]
        assert not held(b"".join(path.read_bytes() for path in written), PLANTED)


def test_several_ablations_have_the_same_pseudonyms(ablation, machine, module_program, tmp_path):
    shutil.copytree(ablation, tmp_path / "tapirstudy-2")
    _, page, names = written(module_program, tmp_path, "report", ablation, "tapirstudy-2")
    assert names == set()
    first, second = (json.loads(found)["cases"] for found in re.findall(r'class="cases">(.*?)</script>', page))
    assert [case["id"] for case in first] == [case["id"] for case in second]
    assert "<title>ablation-1, ablation-2</title>" in page


def test_a_case_is_numbered_by_its_score_alone(ablation, machine, module_program, tmp_path):
    """Files that come in another order of names, as under other names, give the same page of the same scores."""
    module_program("report", ablation, "--anonymous", "--out", "one.html", check=0, cwd=tmp_path)
    shutil.copytree(ablation, tmp_path / "other")
    for path in (tmp_path / "other").rglob("*"):
        if path.name in ("scores.json", "cases.json", "baseline.json"):
            text = path.read_text()
            for number, case in enumerate(CASES):
                text = text.replace(json.dumps(case), f'"q{9 - number}x{number:02d}"')
            path.write_text(text)
    module_program("report", "other", "--anonymous", "--out", "two.html", check=0, cwd=tmp_path)
    shown = [[(case["id"], case["scores"]) for case in cases_of((tmp_path / name).read_text())["cases"]]
             for name in ("one.html", "two.html")]  # fmt: skip
    assert shown[0] == shown[1]


def test_equal_scores_are_numbered_by_chance():
    rows = [{"case": f"{number:02d}", "class": "a", "DSC": 0.5} for number in range(20)]
    found = ScoresDocument.from_json({"header": {"classes": ["a"], "kind": "still"}, "cases": rows})
    once, again = (Pseudonyms.of([found]).cases for _ in range(2))
    assert once.keys() == again.keys() == {row["case"] for row in rows}
    assert once != again


def renamed(ablation, folder, arm):
    """A copy of the ablation whose arm adfl is called otherwise."""
    shutil.copytree(ablation, folder)
    (folder / "adfl").rename(folder / arm)
    record = json.loads((folder / "ablation.json").read_text())
    record["arms"][arm] = record["arms"].pop("adfl")
    record["paper"] = None
    (folder / "ablation.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("arm", "named"),
    [("adfl-narwhaluser", "narwhaluser"), ("axolotl-station_2", "axolotl-station"), ("like wombat", "wombat")],
)
def test_an_arm_that_names_somebody_is_refused(ablation, machine, module_program, tmp_path, arm, named):
    renamed(ablation, tmp_path / "runs", arm)
    said = module_program("report", "runs", "--anonymous", check=2, cwd=tmp_path)
    assert said.stderr.startswith(
        f"runs: cannot be made anonymous: the arm {arm!r} holds the name {named!r} of a case,"
    )
    assert said.stderr.count("\n") == 1
    assert not (tmp_path / "runs/report-anonymous.html").exists()


@pytest.mark.parametrize("where", ["exclude", "labelled", "split.json"])
def test_an_arm_that_names_a_case_that_is_not_scored_is_refused(ablation, machine, module_program, tmp_path, where):
    """A case of the training part alone, or one that is left out: what arms are often about."""
    renamed(ablation, tmp_path / "runs", "without Kudu-17")
    run = tmp_path / "runs/ce/seed-0/fold-0"
    if where == "split.json":
        (run / where).write_text(json.dumps({"train": ["Kudu-17"], "val": [], "test": CASES}))
    else:
        old, new = ("exclude: [{", "exclude: [{case: Kudu-17, reason: x}, {")
        old, new = (old, new) if where == "exclude" else ("labelled: {}", "labelled: {Kudu-17: [gland]}")
        config = (run / "config.yaml").read_text()
        assert config.count(old) == 1
        (run / "config.yaml").write_text(config.replace(old, new))
    said = module_program("report", "runs", "--anonymous", check=2, cwd=tmp_path).stderr
    assert "the arm 'without Kudu-17' holds the name 'Kudu-17' of a case," in said


def test_words_of_the_program_are_no_names(module_program, tmp_path, monkeypatch):
    """A case called `a`, a class called as the user of a container."""
    monkeypatch.setenv("LOGNAME", "root")
    folder = make_ablation(tmp_path / "runs", names=list("abcdef"))
    run = folder / "ce/seed-0/fold-0"
    scores = json.loads((run / "scores.json").read_text().replace('"gland"', '"root"'))
    (run / "scores.json").write_text(json.dumps(scores))
    module_program("report", run, "--anonymous", check=0, cwd=tmp_path)
    monkeypatch.setenv("LOGNAME", "gland")
    assert "holds the name 'gland'" in module_program("report", folder, "--anonymous", check=2, cwd=tmp_path).stderr


def test_the_folder_that_the_command_is_typed_in(ablation, machine, module_program, tmp_path):
    shutil.copytree(ablation, tmp_path / "runs")
    run = tmp_path / "runs/ce/seed-0/fold-0"
    module_program("report", ".", "--anonymous", check=0, cwd=run)
    assert "case_001" in (run / "report-anonymous.html").read_text()
    other = "../../../adfl/seed-0/fold-0"
    module_program("compare", ".", other, "--html", tmp_path / "c.html", "--anonymous", check=0, cwd=run)
    assert "case_001" in (tmp_path / "c.html").read_text()


def test_an_ablation_and_a_run_in_it_are_both_copied_whole(ablation, machine, module_program, tmp_path):
    paths = (ablation, ablation / "ce/seed-0")
    usual, page, names = written(module_program, tmp_path, "report", *paths)
    assert names == set()
    assert "not finished" not in text_of(page)
    both = (re.findall(r'class="cases">(.*?)</script>', text) for text in (usual, page))
    assert [[len(json.loads(found)["cases"]) for found in of_page] for of_page in both] == [[10, 10]] * 2


def test_an_arm_of_ablations_without_a_record_is_refused_too(ablation, machine, module_program, tmp_path):
    """`compare` needs no ablation.json."""
    for name in ("one", "two"):
        renamed(ablation, tmp_path / name, "like wombat")
        (tmp_path / name / "ablation.json").unlink()
    command = ("compare", "one", "two", "--html", "page.html")
    module_program(*command, check=0, cwd=tmp_path)
    said = module_program(*command[:3], "--html", "other.html", "--anonymous", check=2, cwd=tmp_path).stderr
    assert said.startswith("one: cannot be made anonymous: the arm 'like wombat' holds the name 'wombat' of a case,")


def test_what_has_no_runs_is_refused(ablation, machine, module_program, tmp_path):
    shutil.copy(ablation / "ce/seed-0/fold-0/scores.json", tmp_path / "theirs.json")
    said = module_program(
        "compare", ablation / "ce", "theirs.json", "--html", "x.html", "--anonymous", check=2, cwd=tmp_path
    )
    assert said.stderr == (
        "theirs.json: cannot be made anonymous: neither a run nor an evaluation of one lies in it; of other programs "
        "rename the files themselves\n"
    )
    said = module_program("compare", ablation / "ce", ablation / "adfl", "--anonymous", check=2, cwd=tmp_path)
    assert said.stderr.startswith("--anonymous: is for the page (--html)")


def test_evaluations_are_made_anonymous_too(ablation, machine, module_program, tmp_path):
    shutil.copytree(ablation, tmp_path / "runs")
    evaluations = []
    for arm in ("ce", "adfl"):
        run = tmp_path / "runs" / arm / "seed-0/fold-0"
        evaluations.append(run / "evaluation-val-best")
        evaluations[-1].mkdir()
        shutil.copy(run / "scores.json", evaluations[-1])
    usual, page, names = written(module_program, tmp_path, "compare", *evaluations)
    assert {*CASES, *GROUPS.values()} & held(usual.encode(), PLANTED)
    assert names == set()
    assert "against B" in text_of(page)


IMAGES = "case,group,slice,class,tp,fp,fn\n{},{},0,gland,1,2,3\n"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "baseline.json",
            '{"mean_mask": [{"case": "zz", "class": "gland", "DSC": 1}]}',
            ": holds the case 'zz', which",
        ),
        ("baseline.json", '{"mean_mask": [{"class": "gland", "DSC": 1}]}', ": mean_mask.0.case: Field required, got {"),
        ("baseline.json", '{"floors": {"colours": 3}}', ": floors.colours: Input should be a valid dictionary, got 3;"),
        ("baseline.json", "[]", ": all of it: Input should be a valid dictionary"),
        ("images.csv", IMAGES.format("zz", "zz"), ": holds the case 'zz' of the group 'zz', which no scores.json does"),
        ("images.csv", IMAGES.format(CASES[0], "zz"), "of the group 'zz', which no scores.json does; restore it or"),
        ("images.csv", IMAGES.replace("slice", "at"), ":2: no column 'slice'; restore it or score the run again"),
        ("images.csv", IMAGES.replace("1,2", "1,x"), ":2: invalid literal for int() with base 10: 'x'; restore it"),
        ("images.csv", IMAGES.replace(",3\n", "\n"), ":2: "),
        ("images.csv", IMAGES.replace("gland", "glnd"), ":2: the class 'glnd' is none of background, gland; restore"),
        ("images.csv", "\0\xff", ":0: "),
        ("cases/cases.json", CASES[0], ": holds the case 'zz', which no scores.json does; restore it or score"),
        ("scores.json", CASES[0], "cases.json: holds the case '" + CASES[0] + "', which no scores.json does"),
    ],
)
def test_damaged_files_are_one_line(ablation, machine, module_program, tmp_path, name, content, said):
    shutil.copytree(ablation / "ce/seed-0/fold-0", tmp_path / "run")
    path = tmp_path / "run" / name
    changed = path.read_text().replace(json.dumps(CASES[0]), '"zz"') if content == CASES[0] else content
    path.write_bytes(changed.encode("latin-1") if changed[0] == "\0" else changed.encode())
    if name == "scores.json":
        (tmp_path / "run/baseline.json").unlink()
    error = module_program("report", "run", "--anonymous", check=2, cwd=tmp_path).stderr
    assert error.startswith("run/")
    assert said in error
    assert error.count("\n") == 1


def test_errors_name_the_files_that_were_given(ablation, machine, module_program, tmp_path):
    shutil.copytree(ablation / "ce/seed-0/fold-0", tmp_path / "run")
    for sprite in (tmp_path / "run/cases").glob("*.prediction.png"):
        sprite.write_bytes(sprite.read_bytes()[:60])
    said = module_program("report", "run", "--anonymous", check=2, cwd=tmp_path).stderr
    assert said.startswith("run/cases/")
    assert "cannot be read" in said


def test_the_scan_finds_what_is_hidden():
    picture, notes = BytesIO(), PngImagePlugin.PngInfo()
    notes.add_text("by", "Zebra-00", zip=True)
    Image.new("L", (2, 2)).save(picture, "PNG", pnginfo=notes)
    for content in (
        picture.getvalue(),
        base64.b64encode(b"the case Zebra-00 lies"),
        base64.b64encode(picture.getvalue()),
        gzip.compress(b"ZEBRA-00"),
        b"x" + zlib.compress("Zebra-00".encode("utf-16-le")),
    ):
        assert held(content, ["Zebra-00", "Zebra-01"]) == {"Zebra-00"}
