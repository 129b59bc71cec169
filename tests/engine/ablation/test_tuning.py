"""Tuning: what trials try, which of them validation chooses, and grids that are extended, killed and go on."""

import json
from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from datasets.cached import CachedCase
from engine.ablation import trials as waves
from engine.ablation.arms import Ablation
from engine.ablation.comparison import Measure, compared
from engine.ablation.documents import arms_of, method, scores_files
from engine.ablation.executors import local_executor
from engine.ablation.grid import jobs_of
from engine.ablation.record import Arm, Record
from engine.ablation.search import points
from engine.ablation.trials import refuse_few_groups, trial_cells, tuned_cells, tuners_of
from engine.ablation.tuning import Tuning
from engine.ablation.tuning_report import trials_picture, tuned_beside_untuned, tuning_sections
from engine.configuration.config import TuneSection
from engine.console.display import Display
from engine.errors import ConfigError, UsageError
from engine.experiment.run import TRAINED, Run
from engine.training.probe import Probe
from engine.verbs import ablate
from segloss.networks import networks
from segloss_tests.grids import grid_yaml
from segloss_tests.reports import Case, make_run, shifted
from segloss_tests.runs import log

RATE = "{optim.lr: {low: 1e-4, high: 1e-2, log: true}}"
FOCAL = "ablation.arms.fl={loss: {name: focal}, tune: {loss.gamma: [1, 2, 3]}}"
SPLIT = "data.split={kind: kfold, folds: 2, fold: all, val: 3}"
ONE_FOLD = "data.split={kind: kfold, folds: 2, fold: 0, val: 3}"


def tune(trials=8, keys=RATE, **more):
    given = "".join(f", {key}: {value}" for key, value in more.items())
    return f"ablation.tune={{keys: {keys}, trials: {trials}{given}}}"


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return grid_yaml(tmp_path_factory.mktemp("tuned"))


def load(shared, *overrides, output="runs"):
    return Ablation.load(shared, [SPLIT, FOCAL, f"output={output}", *overrides])


def test_points_are_a_sobol_sequence_that_more_trials_go_on_with():
    """Of the first 8 points one lies in every eighth of every axis, as in a (t, m, s)-net in base 2."""
    found = points(8, seed=3)
    assert (np.sort((8 * found).astype(int), axis=0) == np.arange(8)[:, None]).all()
    assert (points(20, seed=3)[:8] == found).all()
    assert not np.isclose(points(8, seed=4), found).any()


def test_all_arms_try_the_same_points_and_have_the_same_budget(shared):
    ablation = load(shared, tune(trials=9, epochs=0.5), "train.epochs=6", "optim.lr=0.002")
    values = {arm: search.values for arm, search in ablation.searches.items()}
    rates = {arm: [one["optim.lr"] for one in of_arm.values()] for arm, of_arm in values.items()}
    assert rates["ce"] == rates["adfl"] == rates["fl"]
    assert len(set(rates["ce"])) == 9
    assert rates["ce"][0] == 0.002
    eighths = 4 * (np.log10(rates["ce"][1:]) + 4)  # of two decades
    assert sorted(eighths.astype(int)) == [*range(8)]
    assert [float(f"{rate:.3g}") for rate in rates["fl"]] == rates["fl"]
    assert values["fl"][0]["loss.gamma"] == 2
    assert {one["loss.gamma"] for one in values["fl"].values()} == {1, 2, 3}
    cells = trial_cells(tuners_of(ablation))
    assert len(cells) == 3 * 9 * 2
    assert {(cell.trial, cell.config.train.epochs) for cell in cells} == {(3, 3)}
    for cell in cells:
        trial = int(cell.run.path.parent.name.removeprefix("trial-"))
        assert str(cell.run.path) == f"runs/grid/{cell.arm}/trials/trial-{trial}/fold-{cell.fold}"
        assert cell.config.optim.lr == rates[cell.arm][trial]
    assert ablation.searches["fl"].whole(4).train.epochs == 6
    job = jobs_of(cells[:1], local_executor(ablation.config, 1, 1))[0]
    assert job.options == ("--trial", "3")


def test_an_arm_may_search_a_range_of_its_own(shared):
    arm = "ablation.arms.sgd={optim: {name: sgd, lr: 0.1}, tune: {optim.lr: {low: 0.01, high: 1, log: true}}}"
    ablation = load(shared, tune(trials=5), arm)
    ce, sgd = ([one["optim.lr"] for one in ablation.searches[arm].values.values()] for arm in ("ce", "sgd"))
    assert sgd[0] == 0.1
    assert sgd[1:] == pytest.approx([100 * rate for rate in ce[1:]])


def test_values_that_come_again_are_not_tried_again(shared):
    ablation = load(shared, tune(trials=8, keys="{optim.lr: [0.001, 0.01, 0.1]}"))
    assert sorted(one["optim.lr"] for one in ablation.searches["ce"].values.values()) == [0.001, 0.01, 0.1]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (tune(keys="{optim.lrr: [1, 2]}"), "optim: unknown key 'lrr'; did you mean 'lr'?"),
        (tune(keys="{optim.lr: [0.1, -1]}"), "optim.lr"),
        (tune(keys="{optim.lr: {lo: 1, high: 2}}"), "ablation.tune.keys: optim.lr must be {low: …, high: …}, with log"),
        (tune(keys="{optim.lr: [1]}"), "ablation.tune.keys: optim.lr must be {low: …, high: …}, with log"),
        (tune(keys="{optim.lr: {low: 1, high: 0.1}}"), "optim.lr: low must be less than high, got 1 and 0.1"),
        (tune(keys="{optim.lr: {low: 0, high: 1, log: true}}"), "optim.lr: low must be above 0 on a logarithmic scale"),
        (tune(keys="{optim.lr: [1, 1]}"), "optim.lr: a value is given twice, got [1, 1]"),
        (tune(keys="{train.epochs: [1, 2]}"), "train.epochs: is the same in every trial"),
        (tune(keys="{data.split.val: [3, 4]}"), "data.split.val: is the same in every trial"),
        (tune(keys="{train.validate_every: [1, 2]}"), "train.validate_every: is the same in every trial"),
        (tune(keys="{model.acw: [true, false], model.acw.init: [1, 2]}"), "model.acw.init: lies in model.acw, which"),
        (tune(keys="{}"), "nothing of the arm ce to tune"),
        (tune(trials=1), "ablation.tune.trials: must be greater than or equal to 2, got 1"),
        ("ablation.arms.x={tune: {optim.lr: [1, 2]}}", "ablation.arms.x.tune: needs ablation.tune, which sets the"),
        ("tune={keys: {optim.lr: [1, 2]}}", "tune: is for a single run; arms are tuned by ablation.tune"),
    ],
)
def test_mistakes_are_refused(shared, override, message):
    with pytest.raises(ConfigError) as error:
        Ablation.load(shared, [SPLIT, "ablation.arms.adfl=null", override])
    assert message in str(error.value)
    assert len(error.value.problems) == 1


@pytest.mark.parametrize("val", [0, 1, 2])
def test_a_split_with_few_validation_groups_is_refused(shared, val):
    with pytest.raises(ConfigError) as error:
        Ablation.load(shared, [f"data.split.val={val}", tune()])
    assert error.value.problems == [
        f"command line: data.split.val: {val}, but values are chosen by the scores of validation groups, of which "
        "tuning needs 3 or more"
    ]


def test_few_validation_groups_are_refused_where_the_data_says_so(shared, tmp_path):
    split = "data.split={kind: kfold, folds: 2, fold: all, val: 0.3}"
    ablation = Ablation.load(shared, [split, tune(trials=2), f"output={tmp_path}"])
    cells = trial_cells(tuners_of(ablation))
    with pytest.raises(UsageError, match=r"^data\.split: 2 groups validate in fold 0, but values are chosen .* 3 or"):
        refuse_few_groups(cells, Display())


def made(folder, scores, epochs=2, values=None, **section):
    """Trials with the validation scores of their epochs, by fold; a text in place of scores is how one has ended."""
    values = values or {trial: {"optim.lr": 10.0**-trial} for trial in scores}
    folds = sorted({fold for of_trial in scores.values() for fold in of_trial})
    tuning = Tuning(folder / "trials", values, folds, epochs, TuneSection(**section))
    for trial, of_trial in scores.items():
        for fold, found in of_trial.items():
            run = tuning.run(trial, fold)
            run.path.mkdir(parents=True)
            for epoch, score in enumerate(found if isinstance(found, list) else [0.99], start=1):
                run.log({"epoch": epoch, "loss": 1.0, "score": score, "seconds": 1800.0})
            if isinstance(found, str):
                run.write_json(TRAINED, {"epochs": 1, "not_finite": found})
    return tuning


def test_the_best_validation_score_is_chosen_in_each_fold(tmp_path):
    """By hand: fold 0 trial 2 (0.7 in its first epoch), fold 1 trial 0 of two equal ones, fold 2 is not finished."""
    tuning = made(
        tmp_path,
        {
            0: {0: [0.1, 0.6], 1: [0.5, 0.8], 2: [0.1, 0.2]},
            1: {0: [0.1, 0.5], 1: [0.8, 0.1], 2: [0.9]},
            2: {0: [0.7, 0.6], 1: [None, 0.3], 2: [0.1, 0.1]},
            3: {0: "loss became NaN", 1: [None, None], 2: [0.1, 0.1]},
        },
    )
    found = tuning.choices
    assert {fold: (one.trial, one.score) for fold, one in found.items()} == {0: (2, 0.7), 1: (0, 0.8)}
    assert found[0].values == {"optim.lr": 0.01}
    assert tuning.score(3, 0) is None
    nothing = made(tmp_path / "none", {0: {0: "NaN"}, 1: {0: [None, None]}})
    assert nothing.choices == {}


def test_one_choice_for_the_grid_is_that_of_the_mean(tmp_path):
    scores = {0: {0: [0.9, 0.0], 1: [0.1, 0.0]}, 1: {0: [0.6, 0.0], 1: [0.6, 0.0]}, 2: {0: "NaN", 1: [1.0, 0.0]}}
    tuning = made(tmp_path, scores, per="grid")
    assert {fold: (one.trial, one.score) for fold, one in tuning.choices.items()} == {0: (1, 0.6), 1: (1, 0.6)}
    assert any(
        "may be too high" in line for section in tuning_sections({"ce": tuning}, "mDSC") for line in section.lines
    )


def test_halving_trains_on_only_the_better_half(tmp_path):
    """By hand: 4 trials of 8 epochs are compared after 2, those two left after 4; what would come later counts not."""
    scores = {0: {0: [0.1, 0.2]}, 1: {0: [0.3, 0.1]}, 2: {0: [0.0, 0.5]}, 3: {0: [0.2, 0.1]}}
    tuning = made(tmp_path, scores, epochs=8, halving=True)
    assert tuning.rungs == [2, 4, 8]
    assert tuning.left(0, 1) == [1, 2]
    assert (tuning.left(0, 2), tuning.choice(0)) == (None, None)
    for trial, later in ((1, [0.4, 0.4]), (2, [0.4, 0.4])):
        for epoch, score in enumerate(later, start=3):
            tuning.run(trial, 0).log({"epoch": epoch, "loss": 1.0, "score": score})
    assert tuning.left(0, 2) == [2]  # 0.5, in its second epoch
    assert tuning.choice(0) is None
    for epoch in range(5, 9):
        tuning.run(2, 0).log({"epoch": epoch, "loss": 1.0, "score": 0.05 * epoch + 0.2})
    assert (tuning.choice(0).trial, tuning.choice(0).score) == (2, pytest.approx(0.6))


def test_halving_compares_trials_after_a_validation(tmp_path, shared):
    """By hand: of 10 epochs, validated every fourth and at the end; after a quarter no trial has a score."""
    scores = {trial: {0: [None, None, None, score]} for trial, score in enumerate((0.2, 0.5, 0.1, 0.4))}
    tuning = replace(made(tmp_path, scores, epochs=10, halving=True), validate_every=4)
    assert tuning.rungs == [4, 8, 10]
    assert tuning.left(0, 1) == [1, 3]
    ablation = load(shared, tune(epochs=1.0, halving="true"), "train.epochs=10", "train.validate_every=4")
    for known in (tuners_of(ablation)[0].tuning, Record.of(ablation).tunings(tmp_path)["ce"]):
        assert known.rungs == [4, 8, 10]


def test_a_trial_that_diverges_later_keeps_its_place_before(tmp_path):
    """By hand: 1 and 2 are trained on, 2 diverges after its third epoch, and nobody takes its place."""
    scores = {0: {0: [0.1, 0.2]}, 1: {0: [0.3, 0.1]}, 2: {0: [0.0, 0.5]}, 3: {0: [0.2, 0.1]}}
    tuning = made(tmp_path, scores, epochs=8, halving=True)
    tuning.run(2, 0).log({"epoch": 3, "loss": 1.0, "score": 0.6})
    tuning.run(2, 0).write_json(TRAINED, {"epochs": 3, "not_finite": "loss became NaN"})
    for epoch in range(3, 9):
        tuning.run(1, 0).log({"epoch": epoch, "loss": 1.0, "score": 0.4})
    assert (tuning.left(0, 1), tuning.left(0, 2)) == ([1, 2], [1])
    assert (tuning.choice(0).trial, tuning.choice(0).score) == (1, 0.4)


def test_a_trial_has_all_of_its_values_whatever_their_order(shared):
    """A section whose name changes is replaced whole, but not by one of its own values after the other."""
    keys = "{optim.lr: {low: 0.1, high: 0.9}, optim.name: [sgd, adamw], optim.weight_decay: [0.1, 0.2]}"
    search = load(shared, tune(trials=9, keys=keys)).searches["ce"]
    found = [
        {"optim.lr": one.optim.lr, "optim.name": one.optim.name, "optim.weight_decay": one.optim.weight_decay}
        for one in search.configs.values()
    ]
    assert found == [*search.values.values()]
    assert {one["optim.name"] for one in found} == {"adam", "sgd", "adamw"}


def test_what_a_trial_is_too_short_for_is_told(shared):
    late = "ablation.arms.ldam={loss: {name: ldam, drw_epoch: 5}}"
    with pytest.raises(ConfigError) as error:
        load(shared, tune(epochs=0.5), "train.epochs=6", late)
    assert error.value.problems == [
        "command line: loss.drw_epoch: 5 is never reached, train.epochs is 3 (epochs count from 0); of a trial, by "
        "ablation.tune.epochs: 0.5"
    ]


def test_the_report_names_choices_edges_and_budget(tmp_path):
    values = {trial: {"optim.lr": rate, "loss.name": name} for trial, (rate, name) in enumerate(
        [(0.01, "ce"), (0.001, "dfl"), (0.1, "ce")]
    )}  # fmt: skip
    scores = {0: {0: [0.5, 0.5], 1: [0.6, 0.5]}, 1: {0: [0.7, 0.1], 1: [0.1, 0.1]}, 2: {0: [0.2, 0.3], 1: "NaN"}}
    tuning = made(tmp_path, scores, values=values)
    chosen, budget = tuning_sections({"ce": tuning}, "case mDSC")
    assert chosen.columns == ["arm", "fold", "trial", "optim.lr", "loss.name", "validation case mDSC", "as configured"]
    assert chosen.rows == [
        ["ce", "0", "1", "0.001", '"dfl"', "0.7000", "0.5000"],
        ["ce", "1", "0", "0.01", '"ce"', "0.6000", "0.6000"],
    ]
    assert "ce: optim.lr 0.001 is the smallest of the 3 values that were tried, in fold 0" in chosen.lines[1]
    assert chosen.lines[2].startswith("1 trials of ce ended since loss or gradient was not finite: trial 2 fold 1.")
    assert len(chosen.lines) == 3
    assert budget.rows == [["ce", "6", "11", "5.50"]]
    figure = trials_picture({"ce": tuning}, "case mDSC")
    assert [axis.get_title() for axis in figure.axes[:2]] == ["best so far, mean over folds", "optim.lr"]
    figure.draw_without_rendering()
    assert "0.002" in (ticks := [label.get_text() for label in figure.axes[1].get_xticklabels(which="both")])
    assert not any("$" in tick for tick in ticks)
    best = figure.axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(best, [0.55, 0.65, 0.65])


def test_tuned_runs_stand_beside_those_that_are_not(tmp_path):
    """The numbers are worked out from the masks."""
    cases = [Case("a", seed=1), Case("b", seed=2)]
    expected = []
    for folder, by in (("seed-0", 6), ("tuned/seed-0", 2)):
        predictions = [shifted(case, by) for case in cases]
        make_run(tmp_path / "ce" / folder / "fold-0", cases, predictions)
        both = zip(predictions, (case.mask() for case in cases), strict=True)
        expected.append(np.mean([2 * (one * other).sum() / (one + other).sum() for one, other in both]))
    known = {"name": "x", "baseline": "ce", "smallest": 0.01, "seeds": [0], "folds": [0], "tune": TuneSection()}
    record = Record(**known, arms={arm: Arm(seeds=[0], changed=[]) for arm in ("ce", "dfl")})
    (section,) = tuned_beside_untuned(record, tmp_path, "case mDSC")
    untuned, tuned = expected
    assert section.rows == [["ce", "1", f"{untuned:.4f}", f"{tuned:.4f}", f"{tuned - untuned:+.4f}"]]
    assert tuned > untuned


class KilledError(Exception):
    """A kill."""


class Fake:
    """Trains cells without training: a validation score is a function of the values, so it peaks within the range.

    Args:
        most: epochs and scorings until it is killed.
    """

    def __init__(self, most=10**9):
        self.most = most

    def __call__(self, cells, *_):
        for cell in cells:
            run = Run.of(cell.config)
            self.spend()
            run.create(cell.config)
            far = abs(np.log10(cell.config.optim.lr) + 2.7 + cell.fold / 2) + abs(cell.config.loss[0].weight - 1)
            while run.last_epoch < (cell.trial or 0):
                self.spend()
                epoch = run.last_epoch + 1
                run.log({"epoch": epoch, "loss": 1.0, "score": 1 / (1 + far + 1 / epoch), "seconds": 1})
            if cell.trial == cell.config.train.epochs:
                run.write_json(TRAINED, {"epochs": cell.trial})
                run.checkpoints.rmdir()
            if cell.trial is None:
                self.spend()
                run.write_json("scores.json", {"lr": cell.config.optim.lr})
        return []

    def spend(self):
        self.most -= 1
        if self.most < 0:
            raise KilledError


@pytest.fixture
def fake(monkeypatch):
    """Call `ablate` with `Fake` training, which is killed after so many steps."""
    monkeypatch.setattr("engine.experiment.run.environment", lambda _: {})
    monkeypatch.setattr(ablate, "probe", lambda *_: Probe(1.0, 60.0))
    monkeypatch.setattr(ablate, "_conclude", lambda *_: None)
    monkeypatch.setattr(waves, "refuse_few_groups", lambda *_: None)

    def run(ablation, most=10**9):
        training = Fake(most)
        monkeypatch.setattr(waves, "train_cells", training)
        monkeypatch.setattr(ablate, "train_cells", training)
        try:
            ablate.ablate(ablation, False, None, Display())
        except KilledError:
            return False
        return True

    return run


def tree(folder):
    """What lies in a folder: configurations without their place, logs, scores, choices."""
    return {
        str(path.relative_to(folder)): path.read_text().replace(str(folder), "")
        for path in sorted(folder.rglob("*"))
        if path.name in ("config.yaml", "log.jsonl", "scores.json", "chosen.json", "ablation.json")
    }


def best_of(folder, arm, fold):
    """The learning rate of the trial with the best score, read without this program's help."""
    found = {}
    for path in folder.glob(f"grid/{arm}/trials/trial-*/fold-{fold}/log.jsonl"):
        scores = [json.loads(line)["score"] for line in path.read_text().splitlines()]
        found[max(scores)] = Run(path.parent).config().optim.lr
    return found[max(found)]


@pytest.mark.parametrize("halving", ["false", "true"])
def test_a_grid_that_is_killed_anywhere_ends_as_one_that_is_not(shared, tmp_path, fake, halving):
    given = [tune(trials=4, epochs=0.5, halving=halving), "train.epochs=8", "ablation.seeds=[0, 1]"]
    given.append("ablation.arms.adfl=null")
    whole = load(shared, *given, output=tmp_path / "whole")
    assert fake(whole)
    killed = load(shared, *given, output=tmp_path / "killed")
    rng = np.random.default_rng(0)
    times = 0
    while not fake(killed, int(rng.integers(10, 20))):
        times += 1
    assert times >= 5
    assert tree(tmp_path / "killed") == tree(tmp_path / "whole")
    for arm in whole.arms:
        for fold in (0, 1):
            for seed in (0, 1):
                run = Run(tmp_path / f"whole/grid/{arm}/tuned/seed-{seed}/fold-{fold}")
                assert run.config().train.epochs == 8
                assert run.config().seed == seed
                if halving == "false":
                    assert run.config().optim.lr == best_of(tmp_path / "whole", arm, fold)
    trials = [*(tmp_path / "whole").rglob("trials/*/fold-*/config.yaml")]
    assert len(trials) == 2 * 4 * 2
    assert not [*(tmp_path / "whole").rglob("trials/*/fold-*/scores.json")]


def test_more_trials_train_only_what_is_new(shared, tmp_path, fake, capsys):
    """Where a new trial is better, the run of the earlier choice is kept, and comes back when it is chosen again."""
    few, many = (load(shared, tune(trials=count, epochs=0.1), output=tmp_path) for count in (2, 8))
    assert fake(few)
    first = tree(tmp_path)
    assert fake(many)
    said = capsys.readouterr().out
    assert "is chosen in place of trial" in said
    second = tree(tmp_path)
    lost = [text for path, text in first.items() if path.endswith("scores.json") and text not in second.values()]
    assert not lost
    chosen = json.loads((tmp_path / "grid/ce/chosen.json").read_text())
    for one in chosen:
        assert one["values"]["optim.lr"] == best_of(tmp_path, "ce", one["fold"])
        run = Run(tmp_path / f"grid/ce/tuned/seed-0/fold-{one['fold']}")
        assert run.config().optim.lr == one["values"]["optim.lr"]
    assert fake(few, most=0)  # all of it is there
    assert {path: text for path, text in tree(tmp_path).items() if path in first} == first


def test_other_values_under_the_same_name_are_refused(shared, tmp_path, fake):
    given = [SPLIT, f"output={tmp_path}"]
    assert fake(Ablation.load(shared, [*given, tune(trials=2)]))
    for changed in (tune(trials=2, seed=1), tune(trials=2, epochs=1.0)):
        with pytest.raises(UsageError, match="holds another run"):
            fake(Ablation.load(shared, [*given, changed]))
    kept = tree(tmp_path)
    assert fake(Ablation.load(shared, given))  # as configured, beside the tuned ones
    assert kept.items() <= {**tree(tmp_path), "grid/ablation.json": kept["grid/ablation.json"]}.items()


def test_arms_that_are_scored_otherwise_share_trials_and_runs(shared, tmp_path, fake):
    ablation = load(shared, tune(trials=2), "ablation.arms.flip={scores: {flip: true}}", output=tmp_path)
    assert fake(ablation)
    tuners = tuners_of(ablation)
    cells = [*trial_cells(tuners), *tuned_cells(ablation, tuners)]
    assert {cell.arm for cell in cells if cell.training_of is not None} == {"flip"}
    assert all("/ce/" in str(cell.training_of.path) for cell in cells if cell.arm == "flip")
    assert not [*(tmp_path / "grid/flip").rglob("trials/*/*/log.jsonl")]
    rates = [json.loads((tmp_path / f"grid/{arm}/chosen.json").read_text()) for arm in ("ce", "flip")]
    assert rates[0] == rates[1]


def test_what_is_tuned_is_reported_as_the_arm(shared, tmp_path, fake):
    ablation = load(shared, tune(trials=2), output=tmp_path)
    assert fake(ablation)
    assert arms_of(ablation.path) == ["adfl", "ce", "fl"]
    assert [str(path.relative_to(ablation.path)) for path in scores_files(ablation.path / "ce")] == [
        f"ce/tuned/seed-0/fold-{fold}/scores.json" for fold in (0, 1)
    ]
    record = Record.read(ablation.path)
    assert record.tune == ablation.section.tune
    assert all(run.finished for *_, run in record.every(ablation.path))
    assert record.tunings(ablation.path)["fl"].choices.keys() == {0, 1}
    assert [*tuned_beside_untuned(record, ablation.path, "mIoU")] == []  # nothing was trained untuned


class TestTrial:
    """`train --trial`, as a worker starts it."""

    @pytest.fixture
    def trained(self, shared, tmp_path, program):
        def run(name, *trials, rate=0.001):
            given = [f"output={tmp_path}", f"name={name}", "ablation=null", f"optim.lr={rate}"]
            for epochs in trials:
                program("train", shared, ONE_FOLD, *given, "--trial", epochs, check=0)
            return tmp_path / name

        return run

    def test_a_trial_sees_no_test_case_and_leaves_no_scores(self, trained, monkeypatch):
        read = set()
        reads = CachedCase._read
        monkeypatch.setattr(
            CachedCase, "_read", lambda cached, *given: read.add(cached.case.id) or reads(cached, *given)
        )
        path = trained("whole", 2)
        split = json.loads((path / "split.json").read_text())
        assert read == {*split["train"], *split["val"]}
        assert len(split["test"]) >= 5
        assert {one.name for one in path.iterdir() if one.name[0] != "."} == {
            *("config.yaml", "environment.json", "split.json", "data.json", "log.jsonl", TRAINED)
        }
        steps = trained("steps", 1, 2)  # bit for bit, though it has been stopped between
        assert log(steps) == log(path)
        assert Run(path).tried(2)

    @pytest.mark.parametrize("at", ["engine.experiment.run.write_json", "shutil.rmtree"])
    def test_a_trial_that_is_killed_at_its_end_ends_as_one_that_is_not(self, trained, monkeypatch, at):
        """When all epochs are logged, before it has said so; or before its weights are gone."""
        module, _, name = at.rpartition(".")
        function = getattr(import_module(module), name)

        def killed(path, *given):
            if name == "rmtree" or path.name == TRAINED:
                raise KilledError
            return function(path, *given)

        whole = trained("whole", 2)
        with monkeypatch.context() as patch:
            patch.setattr(at, killed)
            with pytest.raises(KilledError):
                trained("cut", 2)
        cut = trained("cut", 2)
        assert log(cut) == log(whole)
        assert {path.name for path in cut.iterdir()} == {path.name for path in whole.iterdir()}

    def test_a_trial_that_diverges_has_ended_without_a_score(self, trained):
        path = trained("far", 2, 2, rate=1e30)
        assert "NaN or infinite" in json.loads((path / TRAINED).read_text())["not_finite"]
        assert Run(path).tried(2)


def test_one_command_tunes_a_run(shared, tmp_path, program, cells_here):
    """The run that is trained at the end is the one that `train` makes with the chosen values."""
    given = ["ablation=null", ONE_FOLD, "name=run", "train.epochs=1"]
    tuned = [*given, f"output={tmp_path}", "tune={keys: {optim.lr: [0.001, 0.01]}, trials: 2}", "--tune"]
    said = program("train", shared, *tuned, check=0).stdout
    assert "tuning: what validation chose" in said
    assert "holds the key tune" in program("train", shared, *tuned[:-1], check=2).stderr
    assert (tmp_path / "run-tuning/report.html").is_file()
    chosen = json.loads((tmp_path / "run-tuning/chosen.json").read_text())[0]
    config = Run(tmp_path / "run").config()
    assert (config.optim.lr, config.tune) == (chosen["values"]["optim.lr"], None)
    assert "finished already" in program("train", shared, *tuned, check=0).stdout
    plain = tmp_path / "plain"
    program("train", shared, *given, f"optim.lr={config.optim.lr}", f"output={plain}", check=0)
    assert (plain / "run/scores.json").read_text() == (tmp_path / "run/scores.json").read_text()
    others = [*given, f"output={plain}", "tune={keys: {optim.lr: [0.02, 0.03]}, trials: 2}", "optim.lr=0.04", "--tune"]
    assert "holds another run: optim.lr" in program("train", shared, *others, check=2).stderr
    assert not (plain / "run-tuning").exists()  # no trial is trained in vain


@pytest.mark.parametrize("folder", ["dfl/tuned/seed-0/fold-{}", "dfl/fold-{}"])
def test_the_comparison_of_tuned_runs_knows_that_each_fold_chose(folder, tmp_path):
    """Ten patients, five a fold; every one is better, in fold 0 by about 0.1, in fold 1 by 0.03."""
    rng = np.random.default_rng(0)
    counts = {name: rng.integers(700, 720, (2, 5)) for name in ("dfl", "ce")}
    counts["dfl"] += np.array([[100], [30]])
    for name, place in (("dfl", folder), ("ce", "ce/fold-{}")):
        for fold, of_fold in enumerate(counts[name]):
            rows = [
                {"case": f"p{fold}{index}", "class": "gland", "tp": int(tp), "fp": 1000 - int(tp), "fn": 1000 - int(tp)}
                for index, tp in enumerate(of_fold)
            ]
            path = tmp_path / place.format(fold) / "scores.json"
            path.parent.mkdir(parents=True)
            header = {"classes": ["gland"], "seed": 0, "fold": fold, "kind": "volume"}
            path.write_text(json.dumps({"header": header, "cases": rows}))
    if "tuned" not in folder:
        (tmp_path / "dfl-tuning").mkdir()
    first, second = method(tmp_path / "dfl"), method(tmp_path / "ce")
    assert (first.tuned, second.tuned) == (True, False)
    found = compared(first, second, Measure("case", "DSC", "gland"))
    values = ((counts["dfl"] - counts["ce"]) / 1000).reshape(-1, 1)
    assert found.networks == pytest.approx(networks(values, np.arange(10) // 5, tuned=True))
    assert found.networks.variance > 0
    assert found.low < 0 < compared(replace(first, tuned=False), second, Measure("case", "DSC", "gland")).low
    chosen = tmp_path / ("dfl" if "tuned" in folder else "dfl-tuning") / "chosen.json"
    for scores, tuned in (((0.5, 0.6), True), ((0.55, 0.55), False)):  # each fold its own; per: grid, by their mean
        chosen.write_text(json.dumps([{"fold": f, "trial": 2, "score": score} for f, score in enumerate(scores)]))
        assert method(tmp_path / "dfl").tuned is tuned


def test_a_folder_above_that_is_called_tuned_tells_nothing(tmp_path):
    content = {"header": {"classes": ["gland"]}, "cases": [{"case": "p", "class": "gland", "tp": 1, "fp": 0, "fn": 0}]}
    for place in ("tuned/runs/ce/seed-0/fold-0", "grid/tuned/seed-0/fold-0"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "scores.json").write_text(json.dumps(content))
    (tmp_path / "grid/ablation.json").write_text("{}")  # whose arm is called so
    assert not method(tmp_path / "tuned/runs/ce").tuned
    assert not method(tmp_path / "grid/tuned").tuned


def test_an_arm_may_be_called_as_the_folder_of_tuned_runs_is(tmp_path):
    for name in ("ce/seed-0", "tuned/seed-0", "adfl/tuned/seed-0"):
        (tmp_path / name).mkdir(parents=True)
    assert arms_of(tmp_path) == ["adfl", "ce", "tuned"]
    assert arms_of(tmp_path / "adfl") == []
