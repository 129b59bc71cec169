"""Which images an epoch shows."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import sparse

from datasets import SAMPLERS, DataError, Folder, Samples, TrainingBatches, training_loader
from datasets.samplers import Foreground, Rare, Uniform
from engine.configuration.checking import load_config
from engine.errors import ConfigError
from segloss_tests.cases import assert_equal, cache
from segloss_tests.runs import assert_same_run, trainer
from segloss_tests.stills import blocks, photograph, save

# Ten samples, three classes: all hold class 0, four class 1, one class 2.
PIXELS = sparse.csr_array([[9, 0, 0]] * 6 + [[6, 3, 0]] * 3 + [[5, 3, 1]])


def epochs(sampler, count=400, batch_size=4, pixels=PIXELS):
    return np.array([sampler(np.random.default_rng([0, n]), pixels, 0, batch_size) for n in range(count)])


def test_uniform_is_the_permutation_of_the_epoch():
    batches = TrainingBatches(10, 4, 3)
    by_sampler = TrainingBatches(10, 4, 3, lambda rng: Uniform()(rng, PIXELS, None, 4))
    assert list(batches) == list(by_sampler)
    assert [draw.sample for batch in batches for draw in batch] == np.random.default_rng([3, 0]).permutation(
        10
    ).tolist()


def test_weights_by_hand():
    """10/10, 10/4 and 10/1 for the rarest class of each; a sample without any class weighs 1."""
    assert Rare().weights(PIXELS).tolist() == [1] * 6 + [2.5] * 3 + [10]
    assert Rare(0.5).weights(PIXELS)[-1] == pytest.approx(10**0.5)
    assert Rare().weights(sparse.csr_array([[0, 0], [1, 0]])).tolist() == [1, 2]


def test_rare_images_come_as_often_as_they_weigh():
    """Σw = 6·1 + 3·2.5 + 10 = 23.5: of ten draws .43, 1.06 and 4.26 in the mean, each rounded up or down."""
    shown = np.array([np.bincount(order, minlength=10) for order in epochs(Rare())])
    expected = 10 * np.array([1] * 6 + [2.5] * 3 + [10]) / 23.5
    assert (shown.sum(1) == 10).all()
    assert ((shown == np.floor(expected)) | (shown == np.ceil(expected))).all()
    np.testing.assert_allclose(shown.mean(0), expected, atol=0.08)


def test_rare_without_power_is_uniform():
    assert (np.sort(epochs(Rare(0)), axis=1) == np.arange(10)).all()


@pytest.mark.parametrize(
    ("share", "batch_size", "forced"), [(0.5, 4, 2), (1 / 3, 3, 1), (0.26, 4, 2), (1, 5, 5), (0.1, 1, 1)]
)
def test_every_batch_holds_its_share_of_foreground(share, batch_size, forced):
    for order in epochs(Foreground(share), 50, batch_size):
        batches = [order[start : start + batch_size] for start in range(0, 10, batch_size)]
        assert len(order) == 10
        assert all((batch >= 6).sum() >= min(forced, len(batch)) for batch in batches if len(batch) == batch_size)


def test_foreground_by_hand():
    """Batches of 4, 4 and 2 draw 2 + 2 + 1 from four images with foreground, and 5 of all ten without repeating."""
    for order in epochs(Foreground(), 50):
        forced = order[[0, 1, 4, 5, 8]]
        assert sorted(forced[:4].tolist()) == [6, 7, 8, 9]
        assert forced[4] >= 6
        rest = np.delete(order, [0, 1, 4, 5, 8])
        assert len(set(rest.tolist())) == 5
    common = np.bincount(epochs(Foreground()).ravel(), minlength=10) / 400
    np.testing.assert_allclose(common, [0.5] * 6 + [0.5 + 5 / 4] * 4, atol=0.1)


@settings(deadline=None, max_examples=60)
@given(
    holds=arrays(bool, st.tuples(st.integers(2, 40), st.integers(2, 5))),
    batch_size=st.integers(1, 9),
    share=st.floats(0.01, 1),
    power=st.floats(0, 3),
    seed=st.integers(0, 99),
)
def test_any_data_set(holds, batch_size, share, power, seed):
    pixels = sparse.csr_array(holds.astype(np.int64))
    length = len(holds)
    foreground = holds[:, 1:].any(1)
    orders = {"rare": Rare(power), "uniform": Uniform()} | (
        {"foreground": Foreground(share)} if foreground.any() else {}
    )
    for name, sampler in orders.items():
        order, again = (sampler(np.random.default_rng(seed), pixels, 0, batch_size) for _ in range(2))
        assert order.tolist() == again.tolist()
        assert order.shape == (length,)
        assert ((order >= 0) & (order < length)).all()
        if name == "foreground":
            for start in range(0, length, batch_size):
                batch = order[start : start + batch_size]
                assert foreground[batch].sum() >= share * len(batch) - 1e-6
    weights = Rare(power).weights(pixels)
    expected = length * weights / weights.sum()
    shown = np.bincount(Rare(power)(np.random.default_rng(seed), pixels, None, batch_size), minlength=length)
    assert (np.abs(shown - expected) < 1 + 1e-6).all()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Foreground(0), r"share must be in \(0, 1\], got 0"),
        (lambda: Foreground(1.1), "share must be in"),
        (lambda: Rare(-1), "power must be ≥ 0, got -1"),
        (lambda: Rare(float("nan")), "power must be ≥ 0, got nan"),
        (lambda: Rare(float("inf")), "power must be ≥ 0, got inf"),
    ],
)
def test_ranges(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_no_foreground_at_all():
    with pytest.raises(DataError, match="no training image holds any"):
        Foreground()(np.random.default_rng(0), PIXELS[:6], 0, 2)


@pytest.fixture
def lesions(tmp_path):
    """Twelve images, a lesion in every fourth."""
    rng = np.random.default_rng(0)
    for index in range(12):
        mask = blocks(rng, np.arange(2 if index % 4 == 0 else 1), (24, 32)).astype(np.uint8)
        save(tmp_path / f"data/images/{index:02d}.png", photograph(rng, mask))
        save(tmp_path / f"data/masks/{index:02d}.png", mask)
    (tmp_path / "lesions.yaml").write_text(
        f"""\
name: small
data:
  name: folder
  root: {json.dumps(str(tmp_path / "data"))}
  labels: {{background: 0, lesion: 1}}
  sampler: {{name: foreground, share: 0.5}}
  augment: [{{name: HorizontalFlip}}]
  workers: 0
  split: {{kind: holdout, test: 3, val: 1}}
model: {{name: unet, encoder: resnet18, depth: 3, decoder_channels: [16, 16, 8]}}
loss: {{name: ce, class_weights: {{name: inverse_frequency}}}}
optim: {{name: adam, lr: 1e-3}}
train: {{epochs: 2, batch_size: 2, device: cpu, checkpoint_steps: 1}}
"""
    )
    return tmp_path / "lesions.yaml"


def test_what_samples_hold_is_counted(lesions, tmp_path):
    adapter = Folder(str(tmp_path / "data"), {"background": 0, "lesion": 1})
    decoded = list(cache(adapter, tmp_path / "cache").decode(adapter.cases()))
    pixels = Samples(decoded).counts()[0].toarray()
    assert pixels.shape == (12, 2)
    assert (pixels.sum(1) == 24 * 32).all()
    assert np.flatnonzero(pixels[:, 1]).tolist() == [0, 4, 8]


@pytest.mark.parametrize("name", SAMPLERS)
def test_workers_and_a_start_in_the_middle_change_nothing(lesions, tmp_path, name):
    adapter = Folder(str(tmp_path / "data"), {"background": 0, "lesion": 1})
    decoded = list(cache(adapter, tmp_path / "cache").decode(adapter.cases()))
    samples, pixels = Samples(decoded), Samples(decoded).counts()[0]

    def epoch(workers=0, start=0, number=1):
        batches = TrainingBatches(12, 4, 7, lambda rng: SAMPLERS[name]()(rng, pixels, 0, 4))
        batches.set_epoch(number, start)
        return list(training_loader(samples, batches, workers))

    whole = epoch()
    assert_equal(whole, epoch(workers=1))
    assert_equal(whole[1:], epoch(workers=2, start=1))
    assert not torch.equal(whole[0]["index"], epoch(number=2)[0]["index"])


@pytest.mark.parametrize("sampler", ["{name: foreground, share: 0.5}", "rare"])
def test_a_run_continues_in_the_middle_of_an_epoch(lesions, tmp_path, sampler):
    whole = trainer(lesions, "name=whole", f"data.sampler={sampler}")
    whole.fit()
    cut = trainer(lesions, "name=cut", f"data.sampler={sampler}")

    def stop(*_):
        if cut.state.step == 3 and cut.state.batch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut.epoch(stop)
    trainer(lesions, "name=cut", f"data.sampler={sampler}").fit()
    assert_same_run(tmp_path / "runs/whole", tmp_path / "runs/cut")


def test_class_counts_are_those_before_the_sampler(lesions):
    plain = trainer(lesions, "name=a", "data.sampler=null")
    sampled = trainer(lesions, "name=b", "data.sampler=rare")
    counts = [made.experiment.class_counts(made.experiment.training_samples()) for made in (plain, sampled)]
    assert counts[0] == counts[1]
    orders = [[draw.sample for batch in made.batches for draw in batch] for made in (plain, sampled)]
    assert sorted(orders[0]) == list(range(8))
    assert sorted(orders[1]) != list(range(8))


def test_samplers_in_yaml(lesions, camvid_yaml):
    assert load_config(lesions, ["data.sampler=rare"]).data.sampler.power == 1
    assert load_config(lesions).data.sampler.share == 0.5
    for override, says in [
        ("data.sampler=rrae", "data.sampler.name: unknown sampler 'rrae'; did you mean 'rare'?"),
        ("data.sampler.share=2", "data.sampler.share: must be in (0, 1], got 2"),
        ("data.sampler.shrae=1", "unknown key 'shrae'; did you mean 'share'?"),
    ]:
        with pytest.raises(ConfigError) as error:
            load_config(lesions, [override])
        assert says in str(error.value)
    assert load_config(camvid_yaml, ["data.sampler=rare"]).data.sampler.power == 1  # which has no background
    with pytest.raises(ConfigError, match="foreground needs a class named background, which"):
        load_config(camvid_yaml, ["data.sampler=foreground"])
