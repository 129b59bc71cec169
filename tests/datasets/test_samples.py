"""The same batches whoever loads them."""

import multiprocessing
import os
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from torch.utils.data import default_collate

import datasets
from datasets import (
    Augmentation,
    BatchAugmentation,
    CachedCase,
    CamVid,
    DataError,
    Samples,
    TrainingBatches,
    end_workers,
    evaluation_loader,
    training_loader,
    unpacked,
)
from segloss_tests import ROOT
from segloss_tests.cases import assert_equal, cache

AUGMENT = [
    {"name": "HorizontalFlip", "p": 0.5},
    {"name": "Affine", "rotate": (-20, 20), "p": 0.8},
    {"name": "RandomBrightnessContrast", "p": 0.5},
]


@pytest.fixture
def samples(camvid, tmp_path):
    adapter = CamVid(str(camvid))
    decoded = list(cache(adapter, tmp_path / "cache").decode(adapter.cases()))
    return Samples(decoded, Augmentation(AUGMENT))


def epoch(samples, workers=0, start_method=None, number=0, start=0, seed=3):
    batches = TrainingBatches(len(samples), 4, seed)
    batches.set_epoch(number, start)
    return list(training_loader(samples, batches, workers, start_method))


@pytest.mark.parametrize(("workers", "start_method"), [(1, None), (3, None), (2, "spawn"), (2, "forkserver")])
def test_workers_change_nothing(samples, workers, start_method):
    assert_equal(epoch(samples), epoch(samples, workers, start_method))


def test_epochs_and_seeds_differ_in_order_and_augmentation(samples):
    first, second = epoch(samples), epoch(samples, number=1)
    assert [b["index"].tolist() for b in first] != [b["index"].tolist() for b in second]

    def images(batches):
        return {int(i): image for b in batches for i, image in zip(b["index"], b["image"], strict=True)}

    one, two = images(first), images(second)
    shared = one.keys() & two.keys()
    assert sum(not torch.equal(one[i], two[i]) for i in shared) > len(shared) / 2
    assert [b["index"].tolist() for b in first] != [b["index"].tolist() for b in epoch(samples, seed=4)]


def test_an_epoch_can_start_in_the_middle(samples):
    assert_equal(epoch(samples)[1:], epoch(samples, start=1))
    assert_equal(epoch(samples)[2:], epoch(samples, workers=2, start=2))


def test_persistent_workers_follow_the_epoch(samples):
    batches = TrainingBatches(len(samples), 4, 3)
    loader = training_loader(samples, batches, 2)
    for number in (0, 1):
        batches.set_epoch(number)
        assert_equal(list(loader), epoch(samples, number=number))


def test_a_loader_is_closed_within_an_epoch_and_opened_again(samples):
    batches = TrainingBatches(len(samples), 4, 3)
    loader = training_loader(samples, batches, 2)
    left = iter(loader)
    next(left)
    workers = multiprocessing.active_children()
    assert len(workers) == 2
    started = time.monotonic()
    end_workers(loader)
    assert not any(worker.is_alive() for worker in workers)
    assert time.monotonic() - started < 3
    assert_equal(list(loader), epoch(samples))
    end_workers(loader)
    end_workers(training_loader(samples, batches, 0))


def test_an_epoch_shows_every_sample_once(samples):
    shown = [int(i) for b in epoch(samples) for i in b["index"]]
    assert sorted(shown) == list(range(11))


@pytest.mark.parametrize(
    ("length", "size", "sizes"), [(9, 4, [4, 4]), (10, 4, [4, 4, 2]), (3, 1, [1, 1, 1]), (8, 4, [4, 4])]
)
def test_a_last_batch_of_one_is_dropped(length, size, sizes):
    if size == 1:
        with_one = TrainingBatches(length, size, 0)
        assert [len(b) for b in with_one] == sizes
    else:
        assert [len(b) for b in TrainingBatches(length, size, 0)] == sizes


def test_too_few_samples():
    with pytest.raises(DataError, match=r"1 training image\(s\) are too few for batches of 4"):
        TrainingBatches(1, 4, 0)


def test_images_are_normalised_and_masks_kept(samples):
    sample = samples[0]
    case = samples.cases[0]
    expected = (case.image(0) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(sample["image"].numpy(), np.moveaxis(expected, -1, 0), atol=1e-5)
    assert sample["image"].dtype == torch.float32
    assert sample["mask"].dtype == torch.int64
    assert np.array_equal(sample["mask"].numpy(), case.mask(0))


def test_image_and_mask_move_together(samples):
    image = np.zeros((20, 20, 1), np.float32)
    image[3:9, 12:18] = 1
    mask = (image[..., 0] > 0).astype(np.uint8)
    moved, followed = Augmentation([{"name": "VerticalFlip", "p": 1.0}, {"name": "Transpose", "p": 1.0}])(
        image, mask, 0
    )
    assert np.array_equal(moved.reshape(20, 20) > 0.5, followed > 0)
    assert not np.array_equal(followed, mask)


def test_pixels_from_outside_are_ignored():
    image, mask = np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), np.uint8)
    turned = Augmentation([{"name": "Rotate", "limit": (45, 45), "p": 1.0}])(image, mask, 0)[1]
    assert set(np.unique(turned)) == {0, 255}


@pytest.mark.parametrize("name", ["CoarseDropout", "GridDropout", "Erasing"])
def test_dropped_regions_keep_their_labels(name):
    image, mask = np.full((32, 32, 3), 9, np.uint8), np.ones((32, 32), np.uint8)
    dropped, kept = Augmentation([{"name": name, "p": 1.0}])(image, mask, 0)
    assert (dropped != 9).any()
    assert (kept == 1).all()


@pytest.mark.parametrize("name", ["RandomRotate90", "MedianBlur", "ToSepia", "CLAHE", "ElasticTransform", "GaussNoise"])
def test_transforms_of_all_kinds_work(name):
    image, mask = np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8), np.ones((32, 32), np.uint8)
    assert Augmentation([{"name": name, "p": 1.0}])(image, mask, 0)[0].shape == (32, 32, 3)


def test_unknown_parameters_are_refused():
    for name in ("Rotate", "RandomRotate90"):
        with pytest.raises((ValueError, TypeError), match="limt"):
            Augmentation([{"name": name, "limt": (1, 2)}])


def test_evaluation_is_in_order_and_not_augmented(samples):
    shown = list(evaluation_loader(samples, 4, 2))
    assert torch.cat([b["index"] for b in shown]).tolist() == list(range(11))
    assert torch.equal(unpacked(shown[0])["image"][1], samples[1]["image"])


def test_loaders_ship_the_bytes_that_are_held(samples):
    """A fifth of the sample; unpacked it is the same, bit for bit."""
    (batch,) = evaluation_loader(samples, 16, 0)
    assert (batch["image"].dtype, batch["mask"].dtype) == (torch.uint8, torch.uint8)
    whole = unpacked(batch)
    for index, (image, mask) in enumerate(zip(whole["image"], whole["mask"], strict=True)):
        one = samples[index]
        assert torch.equal(image, one["image"])
        assert torch.equal(mask, one["mask"])
    shipped, seen = (sum(each[key].nbytes for key in ("image", "mask")) for each in (batch, whole))
    assert seen == 5 * shipped


def test_images_of_two_types_make_one_batch(samples):
    """Some of 8 bits, some scaled to [0, 1]: each keeps its own factor."""
    read = CachedCase.image

    def mixed(self, *given):
        image = read(self, *given)
        return image if self is samples.cases[0] else image.astype(np.float32) / 255

    with pytest.MonkeyPatch.context() as patch:
        expected = [samples[index]["image"] for index in (0, 1)]
        patch.setattr(CachedCase, "image", mixed)
        found = unpacked(default_collate(samples.__getitems__([0, 1])))["image"]
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=1e-5)
    assert torch.equal(found[0], expected[0])


def test_a_loader_process_opens_each_file_once(samples, monkeypatch):
    opened, plain = [], datasets.cached.safe_open
    monkeypatch.setattr(datasets.cached, "safe_open", lambda path, **how: opened.append(path) or plain(path, **how))
    expected = [samples[index] for index in range(len(samples))]
    assert len(opened) == 2 * len(samples)
    opened.clear()
    samples.hold_files()
    for _ in range(2):
        for index, sample in enumerate(expected):
            assert torch.equal(samples[index]["image"], sample["image"])
            assert torch.equal(samples[index]["mask"], sample["mask"])
    assert sorted(opened) == sorted(case.path for case in samples.cases)
    monkeypatch.setattr(datasets.cached, "MOST_OPEN", 1)
    samples.hold_files()
    assert all(torch.equal(samples[index]["image"], sample["image"]) for index, sample in enumerate(expected))
    assert len(samples.files) == 1


def test_a_forgotten_loader_does_not_keep_its_process_alive():
    """SIGTERM to the whole job is not for loaders to answer, yet it is also how Python ends those that are left."""
    script = """
from torch.utils.data import DataLoader
import datasets.loaders
datasets.loaders.GRACE_SECONDS = 0.5
left = iter(DataLoader(range(100), num_workers=1, worker_init_fn=datasets.loaders._start))
next(left)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=120, env=os.environ | {"PYTHONPATH": str(ROOT)})


def discs(seeds):
    """Images of discs with soft edges, and their masks."""
    for seed in seeds:
        rng = np.random.default_rng(seed)
        rows, columns = np.mgrid[:128, :128]
        away = np.hypot(rows - rng.uniform(58, 70), columns - rng.uniform(58, 70))
        image = np.clip(rng.uniform(24, 30) - away + 0.5, 0, 1).astype(np.float32)[..., None]
        yield seed, image, (image[..., 0] > 0.5).astype(np.uint8)


MOVING = [
    {"name": "RandomScale", "scale_limit": [-0.3, 0.5]},
    {"name": "RandomResizedCrop", "size": [96, 96], "scale": [0.7, 1.0]},
    {"name": "RandomSizedCrop", "min_max_height": [100, 125], "size": [100, 100]},
    {"name": "Resize", "height": 97, "width": 83},
    {"name": "LongestMaxSize", "max_size": 101},
    {"name": "SmallestMaxSize", "max_size": 151},
    {"name": "CropAndPad", "percent": 0.1},
    {"name": "Affine", "scale": [0.7, 1.3], "rotate": [-30, 30]},
    {"name": "Rotate", "limit": 30},
    {"name": "ElasticTransform"},
    {"name": "GridDistortion"},
    {"name": "Perspective"},
]


def apart(images, masks):
    """How far the middles of masks lie from those of their images, on average in pixels: rows and columns."""
    pairs = [(image > 0.5, mask == 1) for image, mask in zip(images, masks, strict=True)]
    edges = [[side for one in pair for side in (one[0], one[-1], one[:, 0], one[:, -1])] for pair in pairs]
    whole = [pair for pair, sides in zip(pairs, edges, strict=True) if not any(map(np.any, sides))]
    assert len(whole) > 20
    middles = [[np.argwhere(one).mean(0) for one in pair] for pair in whole]
    return np.mean([mask - image for image, mask in middles], axis=0)


@pytest.mark.parametrize("transform", MOVING, ids=lambda transform: transform["name"])
def test_a_mask_moves_with_its_image(transform):
    """OpenCV's INTER_NEAREST would leave it half a pixel behind wherever it is resized."""
    chain = Augmentation([{**transform, "p": 1.0}])
    found = [chain(image, mask, seed) for seed, image, mask in discs(range(40))]
    assert np.abs(apart([image[..., 0] for image, _ in found], [mask for _, mask in found])).max() < 0.08


@pytest.mark.parametrize("transform", MOVING[:2], ids=lambda transform: transform["name"])
def test_a_mask_moves_with_its_image_on_the_device(transform):
    images, masks = [], []
    for seed, image, mask in discs(range(40)):
        plan = BatchAugmentation([{**transform, "p": 1.0}]).plan(seed, 0, [0], mask.shape, torch.device("cpu"))
        moved, followed = plan.apply(
            slice(0, 1), torch.from_numpy(image).movedim(-1, 0)[None], torch.from_numpy(mask)[None]
        )
        images.append(moved[0, 0].numpy())
        masks.append(followed[0].numpy())
    assert np.abs(apart(images, masks)).max() < 0.08
