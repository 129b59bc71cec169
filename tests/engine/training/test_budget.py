"""Trainings by the clock, on a clock that the test moves: the schedule by hand, the end, resumption, refusals."""

import math

import pytest
import torch

from engine.ablation.arms import Ablation
from engine.ablation.search import Search
from engine.configuration.checking import load_config
from engine.configuration.config import TuneSection
from engine.configuration.optim import SCHEDULES, scheduled
from engine.configuration.source import Node, load
from engine.errors import ConfigError, UsageError
from engine.store.state import State
from engine.training.budget import TimeBudget
from engine.verbs.reproduce import reproduce
from segloss_tests.runs import small_yaml, trainer


class Clock:
    seconds = 1000.0

    def __call__(self):
        return self.seconds


class Training:
    """Epochs of 10 steps by the rules of the trainer; what each step and each validation takes is given."""

    def __init__(self, minutes, schedule="cosine", state=None):
        self.clock, self.state = Clock(), state or State()
        self.budget = TimeBudget(minutes, 10, self.state, self.clock)
        self.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        self.schedule = scheduled(self.optimizer, SCHEDULES[schedule](), self.budget.progress, warmup=0)
        self.rates, self.validated = [], []

    def run(self, step=1.0, validation=0.0):
        while not self.budget.is_spent:
            while self.state.batch < 10 and self.budget.has_time:
                self.rates.append(self.optimizer.param_groups[0]["lr"])
                self.optimizer.step()
                self.schedule.step()
                self.clock.seconds += step(len(self.rates)) if callable(step) else step
                self.state.batch += 1
                self.budget.after_step(1)
            self.budget.before_validation()
            if self.budget.is_last or self.budget.affords_validation:
                self.clock.seconds += validation
                self.budget.after_validation()
                self.validated.append(self.state.elapsed)
            self.state.epoch, self.state.batch = self.state.epoch + 1, 0
        return self


def test_the_schedule_is_that_of_the_steps_that_fit():
    """60 steps of a second: each at the cosine of the seconds that were over when the one before began."""
    made = Training(minutes=1).run()
    expected = [0.5 * (1 + math.cos(math.pi * second / 60)) for second in [0, *range(59)]]
    assert made.rates == pytest.approx(expected, abs=1e-12)
    assert made.state.elapsed == 60
    assert made.validated[-1] == 60


def test_the_time_of_the_last_validation_is_kept_free():
    """Steps of 1 s, validations of 8 s: the training ends at 60 s, and its last step is at the end of the schedule."""
    made = Training(minutes=1, schedule="poly").run(validation=8.0)
    assert made.validated == [18, 36, 60]  # a validation at 46 s would have left no time to train
    assert len(made.rates) == 60 - 3 * 8
    assert made.state.validation_seconds == 8
    assert made.rates[-1] < 0.06


@pytest.mark.parametrize("name", ["cosine", "poly", "one_cycle"])
def test_a_machine_that_slows_down_changes_the_steps_and_not_the_end(name):
    slow = Training(1, name).run(step=lambda taken: 0.5 if taken <= 40 else 2.0)
    assert len(slow.rates) == 40 + 20
    assert slow.rates[-1] < 0.1 * max(slow.rates)
    falling = slow.rates[slow.rates.index(max(slow.rates)) :]
    assert falling == sorted(falling, reverse=True)
    assert 60 <= slow.state.elapsed < 62


def test_a_resumed_training_has_what_is_left():
    """What passes between two starts does not count, nor what the checkpoint does not hold."""
    first = Training(1)
    first.budget.is_spent  # noqa: B018
    for _ in range(7):
        first.clock.seconds += 5
        first.budget.after_step(1)
    state = State()
    state.load({"elapsed": first.state.elapsed, "epoch": 3})
    second = Training(1, state=state)
    second.clock.seconds += 500
    second.budget.start(lambda line: None)
    second.run(step=5.0)
    assert len(second.rates) == 5
    assert state.elapsed == 60


def test_what_is_done_in_a_pause_does_not_count():
    made = Training(minutes=1)
    made.clock.seconds += 10
    with made.budget.paused():
        made.clock.seconds += 500
    made.clock.seconds += 7
    made.budget.after_step(1)
    assert made.state.elapsed == 17


def test_a_validation_longer_than_the_training_ends_it():
    made = Training(minutes=0.1).run(validation=50.0)
    assert (len(made.rates), len(made.validated)) == (6, 1)


def test_state_of_another_program_is_refused():
    with pytest.raises(TypeError):
        State().load({"elapsed": 1.0, "lapsed": 2.0})


@pytest.fixture(scope="module")
def yaml(tmp_path_factory):
    return small_yaml(tmp_path_factory.mktemp("by_the_clock"))


def by_the_clock(yaml, name, clock, lines):
    made = trainer(yaml, f"name={name}", "train.epochs=null", "train.minutes=1", "optim.schedule={name: poly}")
    made.budget.now, made.display.line = clock, lines.append
    take = made.stepper.take

    def slow(group):
        clock.seconds += 7
        return take(group)

    made.stepper.take = slow
    return made


def test_a_run_by_the_clock_stopped_and_resumed(yaml):
    """9 steps of 7 s make a minute, in two starts; the log and the checkpoint say so."""
    clock, lines = Clock(), []
    first = by_the_clock(yaml, "clock", clock, lines)
    first.fit(1)
    steps = first.state.step
    clock.seconds += 1e4
    second = by_the_clock(yaml, "clock", clock, lines)
    second.fit()
    assert second.complete
    assert (steps < second.state.step, second.state.step) == (True, 9)
    history = second.run.history()
    assert history[-1]["minutes"] == pytest.approx(63 / 60, abs=1e-3)
    assert history[-1]["validation"] is not None
    assert history[0]["lr"] > history[-1]["lr"]
    assert history[-1]["lr"] == pytest.approx(0, abs=1e-12)
    assert second.run.load("last").state["progress"]["elapsed"] == 63
    assert any(line.startswith("trains for 1 minutes; the learning rate follows the clock") for line in lines)
    assert any(", of which 0.3 have passed" in line for line in lines)
    assert any(line.startswith("epoch 1 (0.3 of 1 min)  loss") for line in lines)
    assert (second.run.config().train.epochs, second.run.config().train.minutes) == (None, 1)
    second.run.write_json("scores.json", {})
    second.run.write_json("split.json", {})
    with pytest.raises(UsageError, match="trained for 1 minutes by the clock"):
        reproduce(second.run.path, [], second.display, second.stop)


def test_one_of_epochs_and_minutes_rules(yaml):
    assert load_config(yaml, ["train.epochs=null", "train.minutes=3"]).train.epochs is None
    assert load_config(yaml, ["train={minutes: null}"]).train.epochs == 2
    assert load_config(yaml, ["train.epochs=null"]).train.epochs == 30
    for overrides, says in [
        (["train.minutes=3"], "train.minutes: 3, but epochs is 2; one of them rules, so set the other to null"),
        (["train.epochs=null", "train.minutes=0"], "train.minutes: must be greater than 0, got 0"),
        (
            ["train.epochs=null", "train.minutes=3", "loss.weight={from: 0, to: 1}"],
            "loss.weight: from and to are of the first and the last epoch, whose number train.minutes leaves open",
        ),
    ]:
        with pytest.raises(ConfigError) as raised:
            load_config(yaml, overrides)
        assert [problem.split(": ", 1)[1] for problem in raised.value.problems] == [says]


def test_arms_and_trials_need_epochs(yaml):
    minutes = ["train.epochs=null", "train.minutes=3"]
    arms = "ablation={baseline: ce, arms: {ce: {}, fl: {loss: {name: focal}}}}"
    with pytest.raises(ConfigError) as raised:
        Ablation.load(yaml, [*minutes, arms])
    assert raised.value.problems == [
        "command line: train.minutes: arms are compared after equal epochs, not after what the machine came to do in "
        "equal times; set train.epochs"
    ]
    root, node = load(yaml, minutes), Node({}, "run.yaml:1:1")
    with pytest.raises(ConfigError, match=r"a trial trains a share of train\.epochs, so it needs them"):
        Search.of(root, load_config(yaml, minutes), TuneSection(), node)
