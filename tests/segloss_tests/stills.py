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


# The table of the official scripts: labelId -> trainId, 255 where ignored.
TRAIN_IDS = np.full(256, 254, np.uint8)
TRAIN_IDS[:34] = [255, 255, 255, 255, 255, 255, 255, 0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7, 8, 9, 10,
                  11, 12, 13, 14, 15, 255, 255, 16, 17, 18]  # fmt: skip

# 32 classes in the order of label_colors.txt with SegNet's class of each, written down a second time.
LABEL_COLORS = """\
64 128 64\tAnimal\t9
192 0 128\tArchway\t1
0 128 192\tBicyclist\t10
0 128 64\tBridge\t1
128 0 0\tBuilding\t1
64 0 128\tCar\t8
64 0 192\tCartLuggagePram\t9
192 128 64\tChild\t9
192 192 128\tColumn_Pole\t2
64 64 128\tFence\t7
128 0 192\tLaneMkgsDriv\t3
192 0 64\tLaneMkgsNonDriv\t3
128 128 64\tMisc_Text\t6
192 0 192\tMotorcycleScooter\t10
128 64 64\tOtherMoving\t8
64 192 128\tParkingBlock\t4
64 64 0\tPedestrian\t9
128 64 128\tRoad\t3
128 128 192\tRoadShoulder\t4
0 0 192\tSidewalk\t4
192 128 128\tSignSymbol\t6
128 128 128\tSky\t0
64 128 192\tSUVPickupTruck\t8
0 0 64\tTrafficCone\t2
0 64 64\tTrafficLight\t6
192 64 128\tTrain\t8
128 128 0\tTree\t5
192 128 192\tTruck_Bus\t8
64 0 64\tTunnel\t1
192 192 0\tVegetationMisc\t5
0 0 0\tVoid\t255
64 192 0\tWall\t1
"""
ORIGINAL = [line.split("\t") for line in LABEL_COLORS.splitlines()]
PALETTE = np.array([list(map(int, colour.split())) for colour, _, _ in ORIGINAL], np.uint8)
GROUPED = np.array([int(index) for _, _, index in ORIGINAL], np.uint8)


def make_camvid701(root, sequences=(("0001TP", 2), ("0006R0", 2), ("0016E5", 2), ("Seq05VD", 2)), size=(24, 48)):
    rng = np.random.default_rng(0)
    for sequence, count in sequences:
        for index in range(count):
            mask = blocks(rng, np.arange(32), size)
            save(root / f"701_StillsRaw_full/{sequence}_f{index:05d}.png", photograph(rng, mask))
            save(root / f"LabeledApproved_full/{sequence}_f{index:05d}_L.png", PALETTE[mask])
    lines = ["\t".join(line[:2]) for line in ORIGINAL]
    (root / "label_colors.txt").write_text("\n".join(lines) + "\n")
    return root


def make_folder(root, values=(0, 1, 2), count=6, size=(24, 32), images="images/{}.png", masks="masks/{}.png"):
    rng = np.random.default_rng(0)
    for index in range(count):
        mask = blocks(rng, np.arange(len(values)), size)
        save(root / images.format(f"case{index}"), photograph(rng, mask * 40))
        save(root / masks.format(f"case{index}"), np.asarray(values, np.uint8)[mask])
    return root
