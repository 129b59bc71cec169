"""Images and masks written in the layouts of public data sets."""

import numpy as np
from PIL import Image


def make_camvid(root, frames=(("train", "A", 6), ("val", "B", 2), ("test", "C", 3)), size=(24, 32)):
    rng = np.random.default_rng(0)
    for part, sequence, count in frames:
        (root / part).mkdir(parents=True, exist_ok=True)
        (root / f"{part}annot").mkdir(exist_ok=True)
        for index in range(count):
            mask = np.repeat(np.repeat(rng.integers(0, 12, (size[0] // 4, size[1] // 4)), 4, 0), 4, 1)
            image = (mask[..., None] * [20, 10, 5] + rng.integers(0, 20, (*size, 3))).astype(np.uint8)
            name = f"{sequence}_{index:03d}.png"
            Image.fromarray(image).save(root / part / name)
            Image.fromarray(mask.astype(np.uint8)).save(root / f"{part}annot" / name)
    return root


def blocks(rng, values, size, block=4):
    """A mask of square blocks, each of one of the values; the first ones hold each value once."""
    rows, columns = size[0] // block, size[1] // block
    chosen = rng.choice(values, rows * columns)
    chosen[: len(values)] = values[: len(chosen)]
    return np.repeat(np.repeat(rng.permutation(chosen).reshape(rows, columns), block, 0), block, 1)


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)
    return path


def photograph(rng, mask):
    return (mask[..., None] * [7, 3, 5] % 236 + rng.integers(0, 20, (*mask.shape, 3))).astype(np.uint8)


def make_cityscapes(
    root, cities=(("train", "aachen", 2), ("train", "bremen", 2), ("val", "munster", 2)), size=(32, 64)
):
    rng = np.random.default_rng(0)
    for part, city, count in cities:
        for index in range(count):
            name = f"{part}/{city}/{city}_{index:06d}_000019"
            mask = blocks(rng, np.arange(34), size).astype(np.uint8)
            save(root / f"leftImg8bit/{name}_leftImg8bit.png", photograph(rng, mask))
            save(root / f"gtFine/{name}_gtFine_labelIds.png", mask)
            save(root / f"gtFine/{name}_gtFine_color.png", photograph(rng, mask))
    return root
