"""Data and augmentation on the device: what albumentations gives at the same parameters, whatever the batch."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

import datasets
from datasets import (
    BatchAugmentation,
    CamVid,
    DataError,
    Phantom,
    ResidentLoader,
    ResidentSamples,
    Samples,
    TrainingBatches,
    device_form,
    evaluation_batches,
    evaluation_loader,
    training_loader,
)
from datasets.augment import RESIZES, build_transform
from datasets.resident.augment import FORMS, sampled, sampled_nearest
from datasets.resident.philox import normals, numbers, philox
from datasets.resident.photometric import convolved
from segloss_tests.cases import cache
from segloss_tests.devices import META, no_wait

CPU = torch.device("cpu")
PIXEL = 0.6 / 255


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, (0, 0), [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, (0xFFFFFFFF, 0xFFFFFFFF), [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            (0xA4093822, 0x299F31D0),
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_gives_the_published_numbers(counter, key, expected):
    """Those of `kat_vectors` of Random123, the authors' own library."""
    assert [int(one) for one in philox(key, [torch.tensor([word]) for word in counter])] == expected


def test_numbers_are_even_and_those_of_a_position_do_not_depend_on_the_others():
    found = numbers(3, 1, torch.arange(5000), 9)
    assert torch.equal(numbers(3, 1, torch.tensor([17, 4]), 9), found[[17, 4]])
    assert float(found.min()) >= 0
    assert float(found.max()) < 1
    assert torch.histc(found, 10, 0, 1).div(found.numel()).sub(0.1).abs().max() < 0.01
    assert np.abs(np.corrcoef(found.T.numpy()) - np.eye(9)).max() < 0.06
    for other in (numbers(4, 1, torch.arange(5000), 9), numbers(3, 2, torch.arange(5000), 9)):
        assert not (other == found).all(1).any()
    drawn = normals(3, 1, torch.arange(4), 30_000, 1).double()
    assert torch.equal(normals(3, 1, torch.tensor([2]), 30_000, 1).double(), drawn[2:3])
    assert drawn.mean().abs() < 0.01
    assert drawn.std().sub(1).abs() < 0.01
    assert drawn.pow(4).mean().sub(3).abs() < 0.1


class Numbered:
    """What albumentations draws from: numbers that are given, in the order in which it asks for them."""

    def __init__(self, drawn, starts=()):
        self.drawn, self.starts = list(drawn), list(starts)

    def random(self):
        return (self.starts or self.drawn).pop(0)

    def uniform(self, low, high):
        return low + self.drawn.pop(0) * (high - low)

    def randint(self, low, high):
        return low + int(self.drawn.pop(0) * (high - low + 1))


def picture(seed=0, size=(60, 84)):
    """A smooth float32 RGB image in [0, 1] and a mask of blobs."""
    rng = np.random.default_rng(seed)
    image = cv2.GaussianBlur(rng.random((*size, 3), dtype=np.float32), (0, 0), 5)
    image = (image - image.min()) / (image.max() - image.min())
    blobs = cv2.GaussianBlur(rng.random(size, dtype=np.float32), (0, 0), 7)
    return image, np.digitize(blobs, np.quantile(blobs, [0.3, 0.6, 0.8])).astype(np.uint8)


def ours(section, positions, image, mask):
    """Images, masks and own numbers of positions; the plan that made them."""
    augmentation = BatchAugmentation([section])
    plan = augmentation.plan(0, 0, positions, mask.shape, CPU)
    count = len(positions)
    images = torch.from_numpy(image).movedim(-1, 0)[None].repeat(count, 1, 1, 1)
    masks = torch.from_numpy(mask)[None].repeat(count, 1, 1)
    images, masks = plan.apply(slice(0, count), images, masks)
    form = augmentation.forms[0]
    drawn = numbers(0, 0, torch.tensor(positions), 1 + form.draws).double().numpy()[:, 1:]
    return images.movedim(1, -1).numpy(), masks.numpy(), drawn, plan


def theirs(section, drawn, image, mask):
    """Image and mask of albumentations at these numbers, both None where it refuses."""
    transform = build_transform(**section)
    transform.py_random = drawn
    params = {"shape": image.shape, **transform.get_params()}
    params |= transform.get_params_dependent_on_data(params, {"image": image, "mask": mask})
    warped = transform.apply_to_mask(mask, **params) if hasattr(transform, "apply_to_mask") else mask
    return transform.apply(image, **params), warped


GEOMETRIC = [
    {"name": "HorizontalFlip"},
    {"name": "VerticalFlip"},
    {"name": "Affine", "scale": [0.7, 1.4], "rotate": [-40, 40], "shear": [-10, 10], "translate_percent": [-0.2, 0.2]},
    {"name": "Affine", "scale": [0.7, 1.4], "keep_ratio": True, "translate_px": [-9, 9]},
    {"name": "Rotate", "limit": 90},
    {"name": "ShiftScaleRotate"},
    {"name": "RandomScale", "scale_limit": [-0.4, -0.4]},
    {"name": "RandomScale", "scale_limit": [0.3, 0.3]},
    {"name": "PadIfNeeded", "min_height": 71, "min_width": 90},
    {"name": "PadIfNeeded", "min_height": 71, "min_width": 80, "position": "bottom_right"},
    {"name": "PadIfNeeded", "min_height": 71, "min_width": 90, "position": "random"},
    {"name": "PadIfNeeded", "min_height": None, "min_width": None, "pad_height_divisor": 32, "pad_width_divisor": 32},
    {"name": "RandomCrop", "height": 31, "width": 44},
    {"name": "RandomCrop", "height": 71, "width": 44, "pad_if_needed": True, "pad_position": "random"},
    {"name": "RandomResizedCrop", "size": [40, 40], "scale": [0.3, 1.0]},
    {"name": "RandomResizedCrop", "size": [90, 70], "scale": [0.5, 1.0], "ratio": [3.0, 4.0]},
]


@pytest.mark.filterwarnings("ignore:ShiftScaleRotate")
@pytest.mark.parametrize("section", GEOMETRIC, ids=lambda section: section["name"])
def test_a_geometric_form_is_albumentations_at_the_same_numbers(section):
    image, mask = picture()
    section = {**section, "p": 1.0}
    images, masks, drawn, _ = ours(section, range(8), image, mask)
    for number in range(8):
        starts = drawn[number, -2:] if "Resized" in section["name"] else ()
        if section["name"] == "RandomCrop" and "pad_if_needed" not in section:
            given = Numbered(drawn[number, 2:])
        else:
            given = Numbered(drawn[number], starts)
        expected, labels = theirs(section, given, image, mask)
        assert masks[number].shape == labels.shape
        least = 0.98 if section["name"] in RESIZES else 0.997  # OpenCV rounds places half-way between pixels up or down
        assert (masks[number] == labels).mean() > least
        valid = cv2.erode((labels != 255).astype(np.uint8), np.ones((3, 3)), borderValue=0) > 0
        assert np.quantile(np.abs(images[number] - expected)[valid], 0.999) < PIXEL


def test_quarter_turns_are_those_of_albumentations():
    image, mask = picture(size=(60, 60))
    section = {"name": "RandomRotate90", "p": 1.0}
    images, masks, drawn, _ = ours(section, range(12), image, mask)
    assert {int(4 * one) for one in drawn[:, 0]} == {0, 1, 2, 3}
    for number in range(12):
        expected, labels = theirs(section, Numbered(drawn[number]), image, mask)
        assert np.array_equal(masks[number], labels)
        np.testing.assert_allclose(images[number], expected, atol=1e-4)
    with pytest.raises(DataError, match="different sizes"):
        ours(section, range(12), *picture())


PHOTOMETRIC = [
    {"name": "RandomBrightnessContrast", "brightness_limit": [-0.4, 0.4]},
    {"name": "RandomGamma"},
    {"name": "GaussianBlur"},
    {"name": "GaussianBlur", "blur_limit": [3, 8]},
]


@pytest.mark.parametrize("section", PHOTOMETRIC, ids=lambda section: section["name"])
def test_a_photometric_form_is_albumentations_at_the_same_numbers(section):
    image, mask = picture()
    section = {**section, "p": 1.0}
    images, masks, drawn, _ = ours(section, range(8), image, mask)
    assert (masks == mask).all()
    for number in range(8):
        expected, _ = theirs(section, Numbered(drawn[number]), image, mask)
        assert np.abs(images[number] - expected).max() < PIXEL


@pytest.mark.parametrize("channels", [1, 3])
def test_colours_change_as_in_albumentations(channels):
    image, mask = picture()
    image = np.ascontiguousarray(image[..., :channels])
    section = {"name": "ColorJitter", "p": 1.0}
    images, _, drawn, plan = ours(section, range(12), image, mask)
    transform = build_transform(**section)
    transform.py_random = Numbered(drawn[:, :4].ravel())
    transform.random_generator = SimpleNamespace(shuffle=lambda order: None)
    orders = set()
    for number in range(12):
        order = drawn[number, 4:].argsort().tolist()
        expected = transform.apply(image, **{**transform.get_params(), "order": order})
        orders.add(tuple(order))
        assert np.abs(images[number] - expected.reshape(image.shape)).max() < PIXEL
    assert len(orders) > 6
    assert len(plan.photometric) == 1


def test_noise_has_the_deviation_and_mean_that_are_drawn():
    image, mask = np.full((60, 84, 3), 0.5, np.float32), picture()[1]
    images, _, drawn, _ = ours({"name": "GaussNoise", "std_range": [0.02, 0.06], "p": 1.0}, range(4), image, mask)
    for number in range(4):
        noise = images[number] - image
        assert noise.std() == pytest.approx(0.02 + 0.04 * drawn[number, 0], rel=0.03)
        assert abs(noise.mean()) < 0.003
        assert not np.array_equal(noise[..., 0], noise[..., 1])
    shared, *_ = ours({"name": "GaussNoise", "per_channel": False, "p": 1.0}, [0], image, mask)
    assert np.array_equal(shared[..., 0], shared[..., 1])


@pytest.mark.parametrize("options", [{}, {"same_dxdy": True}, {"noise_distribution": "uniform"}])
def test_an_elastic_form_is_albumentations_with_the_same_field(options):
    image, mask = picture()
    section = {"name": "ElasticTransform", "alpha": 60.0, "sigma": 4.0, "p": 1.0, **options}
    images, masks, _, plan = ours(section, range(3), image, mask)
    form, stream, size, _ = plan.elastic[0]
    fields = form.field(0, 0, plan.positions, stream, size).numpy()
    assert np.abs(fields).max() > 1
    assert np.array_equal(fields[:, 0], fields[:, 1]) == bool(options.get("same_dxdy"))
    x, y = np.meshgrid(np.arange(84, dtype=np.float32), np.arange(60, dtype=np.float32))
    for number, (dx, dy) in enumerate(fields):
        given = {"map_x": x + dx, "map_y": y + dy}
        labels = form.transform.apply_to_mask(mask, **given)
        assert (masks[number] == labels).mean() > 0.995  # OpenCV places pixels on a grid of 1/32
        off = np.abs(images[number] - form.transform.apply(image, **given))
        assert np.quantile(off[labels != 255], 0.99) < PIXEL


def test_smoothing_is_that_of_opencv():
    noise = np.random.default_rng(0).standard_normal((40, 50)).astype(np.float32)
    form = device_form("ElasticTransform", alpha=2.0, sigma=6.0)
    expected = 2 * cv2.GaussianBlur(noise, (0, 0), 6.0, borderType=cv2.BORDER_REPLICATE)
    found = form.smoothed(torch.from_numpy(noise)[None, None])[0, 0]
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    kernels = torch.tensor([[0.0, 1.0, 0.0], [0.25, 0.5, 0.25]])
    images = torch.rand(2, 3, 8, 9)
    assert torch.equal(convolved(images, kernels, "reflect")[0], images[0])


def test_composed_transforms_sample_once():
    """Two rotations that undo each other leave the image as it is, where one by one would blur it twice."""
    image, mask = picture()
    chain = [{"name": "Rotate", "limit": [angle, angle], "p": 1.0} for angle in (30, -30)]
    plan = BatchAugmentation(chain).plan(0, 0, [0], mask.shape, CPU)
    images, masks = plan.apply(slice(0, 1), torch.from_numpy(image).movedim(-1, 0)[None], torch.from_numpy(mask)[None])
    np.testing.assert_allclose(images[0].movedim(0, -1).numpy(), image, atol=1e-4)
    assert np.array_equal(masks[0].numpy(), mask)


def test_sampling_by_hand():
    images = torch.tensor([[[[1.0, 3.0]]]])
    places = torch.tensor([[[[0.25, 0.0], [-0.25, 0.0], [1.5, 0.0], [1.75, 0.0], [0.0, -0.75]]]])
    assert sampled(images, places, torch.tensor([False])).flatten().tolist() == pytest.approx([1.5, 1, 3, 0, 0])
    assert sampled(images, places, torch.tensor([True])).flatten().tolist() == pytest.approx(
        [1.5, 0.75, 1.5, 0.75, 0.25]
    )
    masks = torch.tensor([[[4, 7]]], dtype=torch.uint8)
    assert sampled_nearest(masks, places).flatten().tolist() == [4, 4, 255, 255, 255]


AUGMENT = [
    {"name": "HorizontalFlip", "p": 0.5},
    {"name": "ElasticTransform", "alpha": 20.0, "sigma": 3.0, "p": 0.5},
    {"name": "Affine", "rotate": (-20, 20), "p": 0.8},
    {"name": "RandomBrightnessContrast", "p": 0.5},
    {"name": "GaussNoise", "p": 0.5},
]


@pytest.fixture
def samples(camvid, tmp_path):
    adapter = CamVid(str(camvid))
    return Samples(list(cache(adapter, tmp_path / "cache").decode(adapter.cases())))


def epoch(samples, size=4, number=1, start=0, share=(0, 1), augment=AUGMENT):
    batches = TrainingBatches(len(samples), size, 3, share=share)
    batches.set_epoch(number, start)
    augmentation = BatchAugmentation(augment) if augment else None
    return list(ResidentLoader(ResidentSamples(samples, CPU), batches, augmentation))


def by_sample(batches):
    return {
        int(index): (image, mask)
        for batch in batches
        for index, image, mask in zip(batch["index"], batch["image"], batch["mask"], strict=True)
    }


def test_batches_do_not_depend_on_their_size_their_share_or_where_the_epoch_starts(samples):
    whole = by_sample(epoch(samples))
    others = [
        by_sample(epoch(samples, size=3)),
        by_sample(epoch(samples, start=1)),
        by_sample([*epoch(samples, share=(0, 2)), *epoch(samples, share=(1, 2))]),
    ]
    for other in others:
        assert len(other) > 6
        for index, (image, mask) in other.items():
            if index != datasets.PADDING:
                assert torch.equal(image, whole[index][0])
                assert torch.equal(mask, whole[index][1])
    following = by_sample(epoch(samples, number=2))
    assert any(not torch.equal(following[index][0], whole[index][0]) for index in following.keys() & whole.keys())


def test_padding_counts_no_pixel(samples):
    *_, last = epoch(samples, size=3, share=(2, 3))  # 11 samples: the last batch has two of them
    assert last["index"].tolist() == [datasets.PADDING]
    assert (last["mask"] == datasets.IGNORE).all()


def test_without_augmentation_the_batches_are_those_of_a_loader(samples):
    batches = TrainingBatches(len(samples), 4, 3)
    for mine, other in zip(epoch(samples, number=0, augment=None), training_loader(samples, batches, 0), strict=True):
        for key, value in other.items():
            assert torch.equal(mine[key], value), key


def test_volumes_bring_their_neighbours(tmp_path):
    adapter = Phantom(str(tmp_path / "phantom"), patients=3)
    decoded = list(cache(adapter, tmp_path / "cache", size=(16, 16)).decode(adapter.cases()[:2]))
    samples = Samples(decoded, context=1, keep=lambda case: range(0, case.shape[0], 2))
    batches = evaluation_batches(samples, 5)
    resident = ResidentLoader(ResidentSamples(samples, CPU), batches)
    for mine, other in zip(resident, evaluation_loader(samples, 5, 0), strict=True):
        for key, value in other.items():
            assert torch.equal(mine[key], value), key
    assert datasets.resident_bytes(decoded) == sum(
        case.image(0).nbytes * case.shape[0] + 256 * case.shape[0] for case in decoded
    )


def test_batches_are_made_without_waiting(samples):
    names = [
        name for name in FORMS if "Crop" not in name and name not in ("RandomScale", "PadIfNeeded", "RandomRotate90")
    ]
    augmentation = BatchAugmentation([{"name": name} for name in names])
    batches = iter(ResidentLoader(ResidentSamples(samples, META), TrainingBatches(len(samples), 2, 3), augmentation))
    next(batches)
    with no_wait():
        assert next(batches)["image"].is_meta


def test_a_crop_that_does_not_fit_and_images_of_several_sizes_are_refused(samples):
    with pytest.raises(DataError, match=r"data.augment: RandomCrop: 99x9 is larger than an image of 24x32; make it"):
        epoch(samples, augment=[{"name": "RandomCrop", "height": 99, "width": 9}])
    with pytest.raises(DataError, match=r"gives images of different sizes .* end with a RandomCrop"):
        epoch(samples, augment=[{"name": "RandomScale", "scale_limit": 0.5, "p": 0.5}])


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"name": "CLAHE"}, r"^CLAHE has no device form; those that have: HorizontalFlip, .*, GaussianBlur$"),
        ({"name": "Affine", "interpolation": 2}, r"^interpolation: 2 has no device form, 1 has$"),
        ({"name": "Rotate", "crop_border": True}, r"^crop_border: True has no device form, False has$"),
        ({"name": "Rotate", "fill": 0.5}, r"^fill: 0.5 has no device form, 0 has$"),
    ],
)
def test_what_has_no_device_form_says_so(section, message):
    with pytest.raises(ValueError, match=message):
        device_form(**section)


def test_every_transform_of_the_list_has_a_form():
    tested = {section["name"] for section in [*GEOMETRIC, *PHOTOMETRIC]}
    assert FORMS.keys() == tested | {"RandomRotate90", "ColorJitter", "GaussNoise", "ElasticTransform"}
    assert len(FORMS) == 16
