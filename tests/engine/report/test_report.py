"""Reports as text: what a page says of a run or an ablation, that it gives nothing away, and that it stays small."""

import json
import re
import shutil
from dataclasses import replace
from html import unescape
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engine.ablation.conclusion import Conclusion
from engine.errors import UsageError
from engine.experiment.run import Run
from engine.pictures.chart import inlined, save
from engine.report.ablation_report import ablation_subject
from engine.report.settings import configuration
from engine.report.viewer import LEVELS, viewer
from engine.report.worst import Scored, case_entries, reason, scored
from engine.scoring import results
from engine.scoring import snapshots as material
from engine.scoring.evaluation import Prediction
from engine.scoring.floors import floor_section
from engine.scoring.mistakes import Mistakes, span
from engine.scoring.snapshots import CaseSnapshots, tiled, untiled
from engine.scoring.tables import by_fold
from segloss import compare
from segloss.document import Primary
from segloss_tests.pages import cases_of, decoded, text_of
from segloss_tests.reports import GLAND, NAMES, Case, make_ablation, make_run, shifted

pytestmark = pytest.mark.usefixtures("rendered_figures")


@pytest.fixture(scope="module")
def ablation(tmp_path_factory, module_program):
    folder = make_ablation(tmp_path_factory.mktemp("report") / "arms")
    module_program("report", folder, check=0, cwd=folder)
    return folder


def page_of(folder):
    return (folder / "report.html").read_text(encoding="utf-8")


def test_arms_below_the_floor_are_named_with_the_verdict(ablation, monkeypatch):
    floors = floor_section({"mean_mask": 0.9}, {"ce": 0.5, "adfl": 0.6}, Primary("case", "mDSC"))
    monkeypatch.setattr(Conclusion, "floors", lambda _: floors)
    headline, below, *_ = ablation_subject(Conclusion.of(ablation)).sections[0].lines
    assert headline.startswith("Use adfl: better than ce by")
    assert below == "warning: the mean training mask reaches case mDSC 0.9000; none is above it"


def test_an_ablation_opens_with_its_verdict_and_its_worst_case(ablation):
    text = text_of(page_of(ablation))
    verdict = text[text.index("verdict") :]
    assert verdict.index("Use adfl: better than ce by") < 40
    assert "adfl improves gland DSC over ce by" in verdict
    # the worst case is shifted by 10 of 48 columns in slices 3 to 5 of six: as much missed as invented
    worst = verdict[verdict.index("Worst case of ce: ") :][:260]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;, mDSC" in worst
    assert "50 % missed, 50 % invented" in worst
    assert "in slices 3 to 5 (of 0 to 5)" in worst
    for heading in (
        "the worst case of each arm",
        "curves",
        "cases",
        "configuration",
        "environment",
        "how this is worked out",
    ):
        assert heading in text, heading


def test_tables_hold_the_numbers_of_the_scores(ablation):
    values = []
    for fold in (0, 1):
        rows = json.loads((ablation / f"ce/seed-0/fold-{fold}/scores.json").read_text())["cases"]
        values += [row["DSC"] for row in rows if row["class"] == "gland"]
    assert f"{np.mean(values):.4f}" in page_of(ablation)


def test_names_stay_text(ablation):
    page = page_of(ablation)
    assert "<script>" not in page
    assert len(re.findall("<script", page)) == 2  # the page's own, and its data
    assert {case["id"] for case in cases_of(page)["cases"]} == set(NAMES)


def test_a_page_asks_for_nothing_and_tells_of_nobody(ablation):
    page = page_of(ablation)
    assert "default-src 'none'" in unescape(page)
    bare = re.sub(r"data:[a-z/]+;base64,[A-Za-z0-9+/=]+", "data:,", page)
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)[^\"]*\"", bare)
    assert not re.findall(r"url\((?!#)", bare)
    assert "/home/" not in bare
    assert "secret" not in bare
    assert "alice" not in bare
    assert str(ablation.parent) not in bare


def test_settings_say_what_but_not_where(tmp_path):
    (tmp_path / "config.yaml").write_text(
        "name: x\noutput: /home/alice/runs\ndata: {name: nifti, root: /home/alice, images: 'im/*.nii', size: [8, 8]}\n"
        "model: {init_from: /home/alice/first, pretrained: 'C:\\Users\\alice\\w.safetensors', acw: true, depth: null}\n"
        "seed: 0\nloss: {gamma: 1}\nlist: [../alice/a, b]\n"
    )
    assert configuration(Run(tmp_path)) == {
        "data.name": "nifti",
        "data.images": "im/*.nii",
        "data.size": "[8, 8]",
        "model.init_from": "…/first",
        "model.pretrained": "…/w.safetensors",
        "model.acw": "true",
        "model.depth": "null",
        "seed": "0",
        "loss.gamma": "1",
        "list": "[…/a, b]",
    }


def test_labels_come_back_exactly(ablation):
    """The sprites of the page, decoded by Pillow, hold the very labels that were predicted."""
    data = cases_of(page_of(ablation))
    case = next(one for one in data["cases"] if one["id"] == NAMES[3])
    original = Case(NAMES[3])

    assert case["slices"] == list(range(6))
    assert np.array_equal(decoded(case["reference"], case), original.mask())
    arm = data["arms"].index("ce")
    number = 1  # the second case of fold 1
    assert np.array_equal(decoded(case["predictions"][arm], case), shifted(original, 4 + number % 3))
    image = decoded(case["image"], case)
    assert np.corrcoef(image.ravel(), original.masks.ravel())[0, 1] > 0.7


def test_the_order_of_cases_is_the_baselines(ablation):
    runs = {arm: [Run(ablation / arm / "seed-0" / f"fold-{fold}") for fold in (0, 1)] for arm in ("ce", "adfl")}
    order = case_entries({arm: scored(folds) for arm, folds in runs.items()}, "ce")
    assert order[0].case == NAMES[0]
    assert [entry.note for entry in order if entry.note] == ["worst", "median", "best"]
    values = [one.score for one in scored(runs["ce"])]
    assert values == sorted(values)
    assert order[0].scores["ce"] == f"{values[0]:.3f}"


def test_a_run_and_its_folds_have_pages(ablation, module_program, tmp_path):
    folder = ablation / "ce/seed-0"
    said = module_program("report", folder, "--out", tmp_path / "folds.html", check=0, cwd=tmp_path).stdout
    assert re.search(r"page: .*folds\.html \(\d\.\d MB\)", said)
    text = text_of((tmp_path / "folds.html").read_text())
    assert "(aggregation: case) on 12 held-out cases of 12 patients." in text
    assert "by fold, aggregation: case" in text
    module_program("report", folder / "fold-1", "--out", tmp_path / "one.html", check=0, cwd=tmp_path)
    text = text_of((tmp_path / "one.html").read_text())
    assert "(aggregation: case) on 6 held-out cases of 6 patients." in text
    assert "Worst case: p" in text


def test_folds_keep_their_numbers_where_the_first_is_not_finished(tmp_path):
    cases = [Case(name) for name in ("p1", "p3")]
    document = results.read(make_run(tmp_path / "fold-1", cases, [shifted(case, 2) for case in cases], fold=1).path)
    other = replace(document, header=replace(document.header, fold=3))
    assert [row[0] for row in by_fold([document, other], "case").rows] == ["1", "3", "mean", "sd"]


def test_what_is_missing_is_said(ablation, module_program, tmp_path):
    folder = tmp_path / "half"
    shutil.copytree(ablation, folder)
    drawn = {path.name for path in (folder / "figures").iterdir()}
    assert {"forest.svg", "forest.png", "classes.svg", "classes.png"} <= drawn
    (folder / "adfl/seed-0/fold-1/scores.json").unlink()
    module_program("report", folder, check=0, cwd=tmp_path)
    assert "differences from the baseline, with 95 % intervals" not in page_of(folder)
    assert {path.name for path in (folder / "figures").iterdir()} == drawn - {"forest.svg", "forest.png"}
    shutil.rmtree(folder / "ce/seed-0/fold-0")
    module_program("report", folder, check=0, cwd=tmp_path)
    assert not [*(folder / "figures").iterdir()]  # no arm is whole any more
    text = text_of(page_of(folder))
    assert "2 of 4 trainings are not finished" in text
    assert "ce seed 0 fold 0 (not begun), adfl seed 0 fold 1 (3 epochs)" in text
    assert "Nothing can be compared yet." in text
    module_program("report", folder / "ce/seed-0", check=0, cwd=tmp_path)
    text = text_of(page_of(folder / "ce/seed-0"))
    assert "Not finished: fold-0 (not begun); run the same `train` command to resume" in text
    assert "on 6 held-out cases of 6 patients." in text
    module_program("report", folder / "adfl/seed-0/fold-1", check=0, cwd=tmp_path)
    page = page_of(folder / "adfl/seed-0/fold-1")
    assert "Not finished: fold-1 (3 epochs)" in text_of(page)
    assert 'aria-label="loss and primary metric by epoch"' in page


def test_an_ablation_that_has_not_begun_has_a_page(ablation, module_program, tmp_path):
    folder = tmp_path / "fresh"
    folder.mkdir()
    shutil.copy(ablation / "ablation.json", folder)
    module_program("report", folder, check=0, cwd=tmp_path)
    text = text_of(page_of(folder))
    assert "Nothing can be compared yet." in text
    assert "4 of 4 trainings are not finished" in text


def test_where_no_case_has_a_class_that_counts_there_is_a_page(ablation, module_program, tmp_path):
    """As of a test part without the only foreground class, after all has been trained."""
    folder = tmp_path / "absent"
    shutil.copytree(ablation, folder)
    for path in folder.rglob("scores.json"):
        scores = json.loads(path.read_text())
        for row in scores["cases"]:
            row.update({"tp": 0, "fp": 0, "fn": 0} if row["class"] == "gland" else {})
        path.write_text(json.dumps(scores))
    module_program("report", folder, check=0, cwd=tmp_path)
    text = text_of(page_of(folder))
    assert "nothing is compared: adfl and ce: gland DSC is not defined: none of the patients that both have" in text


def test_ablations_are_joined_by_ranks_and_random_effects(ablation, module_program, tmp_path):
    other = make_ablation(tmp_path / "other", arms=(("ce", 1), ("adfl", 3)), names=NAMES[3:7], folds=1)
    module_program("report", ablation, other, "--out", "both.html", check=0, cwd=tmp_path)
    text = text_of((tmp_path / "both.html").read_text())
    assert "mean ranks over 2 data sets" in text
    assert re.search(r"(ce|adfl) 1\.50 0\.\d+ 0\.\d+ (ce|adfl) 1\.50", text)  # each is better once
    assert len(re.findall('class="cases">', (tmp_path / "both.html").read_text())) == 2
    every = [Conclusion.of(folder).verdicts[0].found["adfl"] for folder in (ablation, other)]
    expected = compare.random_effects([one.difference for one in every], [one.error for one in every])
    assert "DSC against ce over 2 data sets Undecided: no arm is better than ce by 0.01 DSC beyond chance." in text
    assert f"adfl {expected.mean:+.4f} {expected.low:+.4f} to {expected.high:+.4f} {expected.p_value:.3f}" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "nowhere: no such folder; give a run, or an ablation: output/name"),
        (["."], ".: neither a run nor an ablation; give the folder that train or ablate made, output/name"),
        (["arms", "arms"], "arms: given twice"),
        (["arms", "--out", "no/x.html"], "no: no such folder; make it, or choose another --out"),
        (["arms", "--out", "arms"], "arms: a folder; --out is a file, such as arms/report.html"),
    ],
)
def test_mistakes_are_one_line(ablation, module_program, arguments, message):
    said = module_program("report", *arguments, check=2, cwd=ablation.parent)
    assert said.stderr == f"{message}\n"
    assert said.stdout == ""


@pytest.mark.parametrize("inner", ["", "tuned/"])
def test_of_an_arm_it_is_said_what_to_report(ablation, module_program, tmp_path, inner):
    """Of a tuned one the folder with its tuned runs is no arm of its own."""
    arm = tmp_path / "arms/adfl"
    shutil.copytree(ablation / "adfl", arm / inner)
    error = module_program("report", "arms/adfl", check=2, cwd=tmp_path).stderr
    assert error == f"arms/adfl: an arm of an ablation; give the folds of one seed, arms/adfl/{inner}seed-0\n"
    shutil.copy(ablation / "ablation.json", tmp_path / "arms")
    for path in (arm, arm / inner):
        error = module_program("report", ".", check=2, cwd=path).stderr
        seed = "seed-0" if path == arm / inner else f"{inner}seed-0"
        assert error == f".: an arm of an ablation; give the ablation, {arm.parent}, or the folds of one seed, {seed}\n"
    module_program("report", f"{inner}seed-0", check=0, cwd=arm)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ablation.json", '{"name": 1}', "ablation.json: "),
        ("ce/seed-0/fold-0/cases/cases.json", '[{"case": "x"}]', "cases.json: Field required; restore it, or remove"),
        ("ce/seed-0/fold-0/baseline.json", '{"floors": [1]}', "baseline.json: floors: Input should be a valid dict"),
    ],
)
def test_damaged_files_are_named(ablation, module_program, tmp_path, name, content, message):
    folder = tmp_path / "damaged"
    shutil.copytree(ablation, folder)
    (folder / name).write_text(content)
    said = module_program("report", folder, check=2, cwd=tmp_path).stderr
    assert message in said
    assert said.count("\n") == 1


def test_a_damaged_picture_is_named(ablation, module_program, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(ablation / "ce/seed-0/fold-0", folder)
    sprite = next((folder / "cases").glob("*.prediction.png"))
    sprite.write_bytes(sprite.read_bytes()[:60])
    assert f"{sprite}: cannot be read" in module_program("report", folder, check=2, cwd=tmp_path).stderr


def test_names_of_files_are_safe_and_unique(tmp_path):
    names = ["../../etc/passwd", "a b", "a/b", "ünï", "..", "<b>", "x" * 300]
    cases = [Case(name, shape=(1, 8, 8)) for name in names]
    make_run(tmp_path / "run", cases, [case.mask() for case in cases])
    kept = material.read(tmp_path / "run")
    assert [one.case for one in kept] == names
    stems = [one.stem for one in kept]
    assert len(set(stems)) == len(names)
    assert all(re.fullmatch(r"\d{4}-[A-Za-z0-9-]{0,40}", stem) for stem in stems)
    assert len(list((tmp_path / "run/cases").iterdir())) == 3 * len(names) + 1


def test_every_arm_keeps_the_same_of_many_cases(tmp_path, monkeypatch):
    """Beyond the budget a hash of the ids chooses, not the scores; of each arm its worst, median and best come too."""
    monkeypatch.setattr(material, "PIXELS", 10 * 8 * 8)
    cases = [Case(f"c{number}", shape=(1, 8, 8)) for number in range(40)]
    chosen = []
    for arm, worst in (("a", ["c1", "c2", "c3"]), ("b", ["c30", "c31", "c32"])):
        kept = CaseSnapshots(type("Samples", (), {"cases": cases}), 2, 0)
        found = [
            Prediction(n, torch.from_numpy(case.mask()), torch.from_numpy(case.mask())) for n, case in enumerate(cases)
        ]
        list(kept.watch(found))
        (tmp_path / arm).mkdir()
        kept.write(tmp_path / arm, worst, "original")
        of_arm = {one.case for one in material.read(tmp_path / arm) if one.stem}
        assert set(worst) <= of_arm
        chosen.append(of_arm)
    assert 10 <= len(chosen[0] & chosen[1]) <= 12
    assert len(chosen[0]) <= 13


def test_tiles_come_back():
    tiles = np.random.default_rng(0).integers(0, 255, (7, 5, 4, 3), dtype=np.uint8)
    assert np.array_equal(untiled(tiled(tiles), 7, (5, 4)), tiles)
    with pytest.raises(ValueError, match="7 slices of 5x5 pixels expected"):
        untiled(tiled(tiles), 7, (5, 5))


def test_tiles_lie_in_proportion_to_millimetres():
    assert material.shown((3, 40, 40), [80.0, 40.0]) == ([0, 1, 2], (40, 20))
    slices, size = material.shown((200, 512, 256), [512.0, 256.0])
    assert (len(slices), slices[0], slices[-1], size) == (64, 0, 199, (256, 128))


def test_mistakes_are_counted_and_described():
    reference = np.zeros((4, 4, 5), dtype=np.uint8)
    reference[1, 0, :4] = 1
    reference[2, 0, :2] = 2
    reference[3] = 255
    labels = np.zeros_like(reference)
    labels[1, 0, :1] = 2  # one of the wrong class, three missed
    labels[2, 0, :2] = 2
    labels[0, 0, 0] = 1  # one invented
    found = Mistakes.of(reference, labels, 3, 0)
    assert (found.missed, found.invented, found.confused) == ([0, 3, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0])
    assert found.pairs[0] == (1, 0, 3)
    assert found.describe(["background", "zone", "tumour"], 0) == (
        "of the wrong pixels, 60 % missed, 20 % invented, 20 % of the wrong class; most often zone taken for "
        "background (60 %); 100 % of those missed in slice 1 (of 0 to 3)"
    )
    stills = Mistakes.of(reference[1:2], labels[1:2], 3, None)
    assert stills.describe(["road", "pole", "car"], None) == (
        "of the wrong pixels, 75 % pole taken for road, 25 % pole taken for car"
    )
    assert Mistakes.of(labels, labels, 3, 0).describe(["a", "b", "c"], 0) == "no pixel is wrong"


@pytest.mark.parametrize(
    ("counts", "expected"),
    [([0, 0, 9, 1, 0], (2, 2)), ([5, 5, 5, 5], (0, 3)), ([1, 0, 4, 4, 0, 1], (2, 3)), ([3], (0, 0))],
)
def test_most_mistakes_are_in_the_fewest_slices(counts, expected):
    assert span(counts) == expected


def test_a_page_is_made_smaller_until_it_fits(tmp_path):
    cases = [Case(f"c{number}", shape=(40, 96, 96), seed=number) for number in range(3)]
    run = make_run(tmp_path / "run", cases, [shifted(case, 3) for case in cases], fold=1)
    order = case_entries({"ce": scored([run])}, "ce")
    whole = viewer({"ce": [run.path]}, order, GLAND, 0, [])
    small = viewer({"ce": [run.path]}, order, GLAND, 0, [], most_bytes=320_000)

    def size(found):
        pictures = [[case["image"], case["reference"], *case["predictions"]] for case in found.data["cases"]]
        return sum(len(picture) for of_case in pictures for picture in of_case)

    assert whole.lines == []
    assert {len(case["slices"]) for case in whole.data["cases"]} == {40}
    assert size(whole) > 320_000 >= size(small)
    assert small.lines == ["At most 24 slices of a case are shown, evenly spaced."]
    for case in small.data["cases"]:
        assert (len(case["slices"]), case["slices"][0], case["slices"][-1]) == (24, 0, 39)
    assert sorted(LEVELS, reverse=True) == LEVELS


@pytest.mark.slow
def test_twenty_volumes_of_three_arms_fit_into_ten_megabytes(tmp_path, module_program):
    """Fifty slices of 256 x 256 of noise that JPEG cannot make small, as hard as an image can be."""
    names = [f"Case{number:02d}" for number in range(20)]
    cases = [Case(name, shape=(50, 256, 256), seed=number) for number, name in enumerate(names)]
    for arm, by in (("ce", 9), ("dfl", 6), ("adfl", 3)):
        make_run(tmp_path / "arms" / arm / "seed-0/fold-0", cases, [shifted(case, by) for case in cases], loss=arm)
    make_ablation(tmp_path / "few", arms=(("ce", 1), ("dfl", 1), ("adfl", 1)), names=NAMES[:2], folds=1)
    record = json.loads((tmp_path / "few/ablation.json").read_text()) | {"name": "arms"}
    (tmp_path / "arms/ablation.json").write_text(json.dumps(record))
    module_program("report", tmp_path / "arms", check=0, cwd=tmp_path)
    page = page_of(tmp_path / "arms")
    assert len(page.encode()) <= 10e6
    assert len(cases_of(page)["cases"]) == 20
    assert "Pictures are reduced to" in page


def test_charts_take_the_colours_of_the_page(tmp_path):
    from matplotlib.figure import Figure

    figure = Figure(layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0.123456789, 1], "o-", color="#000000", label="<b>&")
    axis.legend()
    save(figure, tmp_path / "chart")
    svg = inlined(tmp_path / "chart.svg", "s1", "a <chart>")
    assert "#000000" not in svg
    assert "currentColor" in svg
    assert "fill: #ffffff" not in svg
    assert "&lt;b&gt;&amp;" in svg
    assert not re.findall(r"\bd=\"[^\"]*\d\.\d{3}", svg)
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert ids
    assert all(name.startswith("s1-") for name in ids)
    assert set(re.findall(r'(?:url\(|href=")#([^)"]*)', svg)) <= set(ids)
    assert "<style" not in svg
    assert "<metadata" not in svg


def test_nothing_but_drawing_gets_out_of_an_svg_file(tmp_path):
    (tmp_path / "evil.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><script>alert(1)</script>'
        '<path d="M0 0" onclick="x()"/>'
        '<image href="http://example.org/x.png"/><foreignObject/><a href="javascript:x()"><path d="M1 1"/></a></svg>'
    )
    svg = inlined(tmp_path / "evil.svg", "p", "evil")
    assert "script" not in svg
    assert "example.org" not in svg
    assert "foreignObject" not in svg
    assert "onclick" not in svg


def test_kept_mistakes_of_classes_that_the_scores_do_not_hold_are_one_line(tmp_path):
    (tmp_path / "cases").mkdir()
    mistakes = {"missed": [0], "invented": [0], "confused": [1], "pairs": [[0, 2, 1]]}
    kept = [{"case": "a", "mistakes": mistakes, "stem": None, "slices": [0], "size": [1, 1]}]
    (tmp_path / "cases/cases.json").write_text(json.dumps(kept))
    with pytest.raises(UsageError, match=r"cases\.json: holds mistakes of more classes than scores\.json, 2; restore"):
        reason(Scored("a", 0, 0.5), [Run(tmp_path)], SimpleNamespace(pictured=["road", "car"]))
