"""Damaged and hostile files for every reader: each is read, or refused by one of our own errors.

    python tests/segloss_tests/fuzz.py                       every target for some seconds
    python tests/segloss_tests/fuzz.py --seconds 600 --seed 7 --target mhd

What comes out depends on the seed alone. A traceback that is not ours, a signal, a read of more than 10 seconds, or one
that takes more than 400 MB is a finding: its file is kept under `fuzz-findings`, and when it is mended, in
`tests/fuzzed/TARGET`, which the tests read again.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from functools import partial
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import nibabel
import numpy as np
import pydicom
import SimpleITK
import torch
from PIL import Image
from scipy.io import savemat

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import datasets
from datasets import metaimage, packs, still, table
from datasets.cache import Cache
from datasets.case import Case
from datasets.itk import to_image
from datasets.normalise import NORMALISATIONS
from engine.ablation.documents import method
from engine.configuration.checking import load_config
from engine.errors import UsageError
from engine.experiment.run import Run
from engine.store.checkpoint import Checkpoint
from models import WeightsError
from models.weights import read_weights
from segloss_tests.dicoms import fuzzed, save
from segloss_tests.tiffs import write_tiff as write_tiff_bands

KEPT = ROOT / "tests" / "fuzzed"
OURS = (datasets.DataError, UsageError, WeightsError)
SAVED = "x.safetensors"
DICOM_KINDS = ("native", "big", "implicit", "deflated", "rle", "jls", "j2k", "jpeg", "lut", "seg", "mosaic", "contours")
HANG = 10.0
MOST_MEMORY = 400 * 2**20
NUMBERS = [0, 1, 2, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]
WORDS = [b"0", b"-1", b"1e308", b"nan", b"inf", b"99999999999999999999", b"", b"null", b"[]", b"{}", b"\x00"]
WORDS += [b"\xff\xfe", b"../../etc/passwd", b"%d", b"!!python/object:os.system", b"&a [*a, *a]", b"<<: *x", b"LIST"]
WORDS += [b"[" * 3000, b"{a: " * 500, b"9" * 5000, "\u2028é".encode(), b"LOCAL"]


GREYS = datasets.LabelMap({"background": [0], "object": [255]})


class Target(NamedTuple):
    """A reader and the files it is given.

    Attributes:
        write: writes valid files into a folder.
        read: reads them there.
        files: the names of those that are damaged.
    """

    write: Callable[[Path], None]
    read: Callable[[Path], object]
    files: tuple[str, ...]


def scan() -> datasets.Volume:
    array = (np.arange(3 * 5 * 4).reshape(3, 5, 4) * 7).astype(np.int16)
    return datasets.Volume(array, np.diag([-1.0, -1.0, 2.0, 1.0]))


def write_mhd(folder: Path) -> None:
    datasets.write_volume(scan(), folder / "scan.mhd")


def write_mha(folder: Path) -> None:
    datasets.write_volume(scan(), folder / "scan.mha")


def write_raw(folder: Path) -> None:
    """Not compressed."""
    write_mhd(folder)
    text = (folder / "scan.mhd").read_text()
    text = re.sub(r"CompressedData.*\n", "", text).replace("scan.zraw", "scan.raw").replace("= True", "= False")
    (folder / "scan.mhd").write_text(text)
    (folder / "scan.raw").write_bytes(scan().array.tobytes())


def write_nrrd(packed: bool, suffix: str) -> Callable[[Path], None]:
    return lambda folder: SimpleITK.WriteImage(to_image(scan().array, scan().affine), str(folder / suffix), packed)


def write_nifti(folder: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(scan().array, scan().affine), folder / "scan.nii")


def write_nifti_gz(folder: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(scan().array, scan().affine), folder / "scan.nii.gz")


def write_dicom(folder: Path) -> None:
    """A series of three slices."""
    (folder / "series").mkdir()
    for index, plane in enumerate(scan().array):
        data = pydicom.Dataset()
        data.SOPClassUID, data.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", f"1.2.3.{index}"
        data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = "1.2.3", "1.2", "MR"
        data.Rows, data.Columns, data.InstanceNumber = *plane.shape, index
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, 2.0 * index], [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = [1, 1], 2
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 1
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.PixelData = plane.tobytes()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.save_as(folder / f"series/{index}.dcm", enforce_file_format=True)


def dicom_target(kind: str) -> Target:
    """A file of one kind: the encodings, tables and groups that the reader of DICOM knows."""

    def read(folder: Path) -> None:
        path = folder / f"{kind}.dcm"
        try:
            datasets.read_volume(path, spacing=(1.0, 1.0, 1.0), colour="rgb")
        finally:
            datasets.read_mask_volume(path, onto=datasets.Geometry((4, 40, 40), np.diag([-0.5, -0.7, 3.0, 1.0])))

    return Target(lambda folder: save(fuzzed(kind), folder / f"{kind}.dcm"), read, (f"{kind}.dcm",))


def write_png(folder: Path) -> None:
    Image.fromarray((np.arange(12 * 16 * 3) % 251).astype(np.uint8).reshape(12, 16, 3)).save(folder / "x.png")


def write_png16(folder: Path) -> None:
    Image.fromarray((np.arange(12 * 16) * 300).astype(np.uint16).reshape(12, 16)).save(folder / "x.png")


def write_palette(folder: Path) -> None:
    image = Image.fromarray((np.arange(12 * 16) % 4).astype(np.uint8).reshape(12, 16), "P")
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 9, 9, 9])
    image.save(folder / "x.png")


def write_tiff(folder: Path) -> None:
    Image.fromarray((np.arange(12 * 16) * 300).astype(np.uint16).reshape(12, 16)).save(folder / "x.tif")


def write_jpeg(folder: Path) -> None:
    Image.fromarray((np.arange(12 * 16 * 3) % 251).astype(np.uint8).reshape(12, 16, 3)).save(folder / "x.jpg")


def write_still(name: str, **options: object) -> Callable[[Path], None]:
    """A picture in another format."""
    colours = (np.arange(12 * 16 * 3) % 251).astype(np.uint8).reshape(12, 16, 3)
    return lambda folder: Image.fromarray(colours).save(folder / name, **options)


def write_gif(folder: Path) -> None:
    Image.fromarray((np.arange(12 * 16) % 5 * 50).astype(np.uint8).reshape(12, 16)).save(folder / "x.gif")


def write_bands(folder: Path) -> None:
    write_tiff_bands(folder / "x.tif", [(np.arange(12 * 16 * 5) % 251).astype(np.uint16).reshape(12, 16, 5)])


def read_bands(folder: Path) -> None:
    still.read_image(folder / "x.tif", 5)


def write_two_bands(folder: Path) -> None:
    write_tiff_bands(folder / "x.tif", [(np.arange(12 * 16 * 2) % 251).astype(np.uint16).reshape(12, 16, 2)])


def write_pages(folder: Path) -> None:
    """A volume of three pages."""
    write_tiff_bands(folder / "x.tif", list(scan().array))


def write_array_volume(folder: Path) -> None:
    np.save(folder / "x.npy", scan().array)


def read_as_volume(folder: Path) -> None:
    """As scan and as mask."""
    (path,) = folder.glob("x.*")
    for read in (datasets.read_volume, datasets.read_mask_volume):
        with suppress(datasets.DataError):
            read(path, spacing=(2.0, 1.0, 1.0))


def write_npy(folder: Path) -> None:
    np.save(folder / "x.npy", np.arange(12 * 16.0).reshape(12, 16) // 50)


def write_npz(folder: Path) -> None:
    np.savez_compressed(folder / "x.npz", gt=np.arange(12 * 16).reshape(12, 16) % 3)


def write_mat(compressed: bool) -> Callable[[Path], None]:
    truth = {"gt": {"mask": (np.arange(12 * 16) % 3).astype(np.uint8).reshape(12, 16), "edges": np.eye(3) > 0}}
    return lambda folder: savemat(folder / "x.mat", truth, do_compression=compressed)


def write_mat4(folder: Path) -> None:
    savemat(folder / "x.mat", {"gt": np.arange(12 * 16.0).reshape(12, 16) // 50}, format="4")


def read_arrays(folder: Path) -> None:
    """As image and as mask, with a key and without."""
    (path,) = folder.glob("x.*")
    labels = datasets.LabelMap({"background": [0], "object": [1, 2, 3]})
    for key in ("gt.mask" if path.suffix == ".mat" else "gt", None):
        for read in (partial(still.read_image, path, 1, key=key), partial(still.mask_values, path, labels, key=key)):
            with suppress(datasets.DataError):
                read()


def read_pictures(folder: Path) -> None:
    (path,) = folder.glob("x.*")
    reads = [partial(still.read_image, path, channels) for channels in (1, 3)]
    reads += [partial(still.read_mask, path, coloured) for coloured in (False, True)]
    reads += [partial(still.read_image, path, 4), partial(still.mask_values, path, GREYS)]
    for read in reads:
        try:
            read()
        except datasets.DataError:
            continue


def write_yaml(folder: Path) -> None:
    text = (
        ROOT / "configs/demo.yaml"
    ).read_text() + "scores: {primary: {aggregation: case, metric: mDSC}}\nseed: &s 3\n"
    (folder / "x.yaml").write_text(re.sub("model: .*", "model: {name: unet2015, width: 4, depth: 2}", text))


def write_checkpoint(folder: Path) -> None:
    Checkpoint({"model.a": torch.arange(6.0), "random.torch": torch.zeros(4)}, {"progress": {"epoch": 1}}).save(
        folder / SAVED
    )


def write_cases(folder: Path) -> list[Case]:
    from segloss_tests.stills import make_camvid

    if not (folder / "camvid").exists():
        make_camvid(folder / "camvid")
    return camvid(folder).cases()


def camvid(folder: Path) -> datasets.Adapter:
    return datasets.ADAPTERS["camvid"](root=str(folder / "camvid"))


def cache(folder: Path) -> Cache:
    return Cache(folder / "cache", camvid(folder), (24, 32), None, NORMALISATIONS["imagenet"](), "")


def write_cache(folder: Path) -> None:
    write_cases(folder)
    list(cache(folder).decode(camvid(folder).cases()[:1]))
    (path,) = (folder / "cache").iterdir()
    path.rename(folder / SAVED)


def read_cache(folder: Path) -> None:
    """The damaged file lies where the whole one was."""
    cases = camvid(folder).cases()[:1]
    name = cache(folder)._path(cases[0]).name
    shutil.copy(folder / SAVED, folder / "cache" / name)
    for cached in cache(folder).decode(cases):
        cached.image(0), cached.mask(0), cached.masks()


def write_records(folder: Path) -> None:
    """Files of CIFAR-10 of two pictures each."""
    for name in (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"):
        records = np.arange(2 * 3073, dtype=np.int64).reshape(2, 3073) % 10
        (folder / f"{name}.bin").write_bytes(records.astype(np.uint8).tobytes())


def read_records(folder: Path) -> None:
    adapter = datasets.ADAPTERS["cifar10"](root=str(folder))
    for case in adapter.cases():
        adapter.read(case)


PACKED = [Case(f"{number}", f"{number}", Path("x"), Path("x"), label=number) for number in range(3)]


def write_packed(folder: Path) -> None:
    image = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(1, 4, 5, 3)
    packs.write_pack(folder / SAVED, [packs.Packed(image + n, (n,) * 3, (1.0,) * 3, "ab" * 32) for n in range(3)])


def read_packed(folder: Path) -> None:
    for cached in packs.open_pack(PACKED, folder / SAVED, 3) or ():
        cached.image(0), cached.mask(0)


def write_table(folder: Path) -> None:
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"")
    (folder / "x.csv").write_text("file,label,part\na.png,cat,train\nb.png,dog,test\n")


def read_table(folder: Path) -> None:
    table.read_table(folder, "x.csv", {})


CASES = [{"case": f"p{n}", "class": "gland", "tp": 5 + n, "fp": n, "fn": 1} for n in range(3)]


def write_scores(folder: Path) -> None:
    primary = {"aggregation": "case", "metric": "mDSC"}
    header = {"classes": ["background", "gland"], "background": "background", "kind": "volume", "primary": primary}
    (folder / "x.json").write_text(json.dumps({"header": header, "cases": CASES}))


def write_score_csv(folder: Path) -> None:
    (folder / "x.csv").write_text("case,class,DSC,HD95\np0,gland,0.5,3\np1,gland,,\np2,lesion,1,0.5\n")


def write_summary(folder: Path) -> None:
    """Of nnU-Net."""
    cases = [
        {"reference_file": f"/r/p{n}.nii.gz", "prediction_file": f"/p/p{n}.nii.gz",
         "metrics": {"1": {"TP": 5 + n, "FP": n, "FN": 1, "TN": 9, "Dice": 0.9, "IoU": 0.8, "n_pred": 5, "n_ref": 6}}}
        for n in range(3)
    ]  # fmt: skip
    (folder / "summary.json").write_text(json.dumps({"metric_per_case": cases, "mean": {}, "foreground_mean": {}}))


def write_split(folder: Path) -> None:
    names: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for case in write_cases(folder):
        names[case.part or "train"].append(case.id)
    (folder / "split.json").write_text(json.dumps([names]))


def read_split(folder: Path) -> None:
    datasets.SPLITS["file"](str(folder / "split.json"))(camvid(folder).cases(), {})  # type: ignore[call-arg]


def write_run(folder: Path) -> None:
    write_yaml(folder)
    run = Run(folder / "run")
    run.create(load_config(folder / "x.yaml"))
    run.log({"epoch": 1, "loss": 0.5})
    run.log({"epoch": 2, "loss": 0.25, "validation": {"case": [1, 2, None]}})


def read_run(folder: Path) -> None:
    run = Run.open(folder / "run")
    run.history(), run.threads(), run.fingerprint(), run.cut_log(1)


TARGETS: dict[str, Target] = {
    "yaml": Target(write_yaml, lambda folder: load_config(folder / "x.yaml"), ("x.yaml",)),
    "png": Target(write_png, read_pictures, ("x.png",)),
    "png16": Target(write_png16, read_pictures, ("x.png",)),
    "palette": Target(write_palette, read_pictures, ("x.png",)),
    "tiff": Target(write_tiff, read_pictures, ("x.tif",)),
    "jpeg": Target(write_jpeg, read_pictures, ("x.jpg",)),
    "gif": Target(write_gif, read_pictures, ("x.gif",)),
    "webp": Target(write_still("x.webp"), read_pictures, ("x.webp",)),
    "webp-lossless": Target(write_still("x.webp", lossless=True), read_pictures, ("x.webp",)),
    "jp2": Target(write_still("x.jp2"), read_pictures, ("x.jp2",)),
    "ppm": Target(write_still("x.ppm"), read_pictures, ("x.ppm",)),
    "bands": Target(write_bands, read_bands, ("x.tif",)),
    "two-bands": Target(write_two_bands, read_pictures, ("x.tif",)),
    "pages": Target(write_pages, read_as_volume, ("x.tif",)),
    "npy-volume": Target(write_array_volume, read_as_volume, ("x.npy",)),
    "npy": Target(write_npy, read_arrays, ("x.npy",)),
    "npz": Target(write_npz, read_arrays, ("x.npz",)),
    "mat": Target(write_mat(False), read_arrays, ("x.mat",)),
    "mat-v4": Target(write_mat4, read_arrays, ("x.mat",)),
    "mat-packed": Target(write_mat(True), read_arrays, ("x.mat",)),
    "mhd": Target(write_mhd, lambda folder: datasets.read_volume(folder / "scan.mhd"), ("scan.mhd", "scan.zraw")),
    "raw": Target(write_raw, lambda folder: datasets.read_volume(folder / "scan.mhd"), ("scan.mhd", "scan.raw")),
    "mha": Target(write_mha, lambda folder: datasets.read_volume(folder / "scan.mha"), ("scan.mha",)),
    "mhd-files": Target(write_mhd, lambda folder: metaimage.files(folder / "scan.mhd"), ("scan.mhd",)),
    "nrrd": Target(
        write_nrrd(False, "scan.nrrd"), lambda folder: datasets.read_volume(folder / "scan.nrrd"), ("scan.nrrd",)
    ),
    "nrrd-packed": Target(
        write_nrrd(True, "scan.nhdr"),
        lambda folder: datasets.read_volume(folder / "scan.nhdr"),
        ("scan.nhdr", "scan.raw.gz"),
    ),
    "nifti": Target(write_nifti, lambda folder: datasets.read_volume(folder / "scan.nii"), ("scan.nii",)),
    "nifti-gz": Target(write_nifti_gz, lambda folder: datasets.read_volume(folder / "scan.nii.gz"), ("scan.nii.gz",)),
    "dicom": Target(write_dicom, lambda folder: datasets.read_volume(folder / "series"), ("series/1.dcm",)),
    **{f"dicom-{kind}": dicom_target(kind) for kind in DICOM_KINDS},
    "checkpoint": Target(write_checkpoint, lambda folder: Checkpoint.load(folder / SAVED), (SAVED,)),
    "weights": Target(write_checkpoint, lambda folder: read_weights(folder / SAVED), (SAVED,)),
    "cache": Target(write_cache, read_cache, (SAVED,)),
    "pack": Target(write_packed, read_packed, (SAVED,)),
    "cifar": Target(write_records, read_records, ("data_batch_1.bin",)),
    "table": Target(write_table, read_table, ("x.csv",)),
    "scores": Target(write_scores, lambda folder: method(folder / "x.json"), ("x.json",)),
    "score-csv": Target(write_score_csv, lambda folder: method(folder / "x.csv"), ("x.csv",)),
    "summary": Target(write_summary, lambda folder: method(folder / "summary.json"), ("summary.json",)),
    "split": Target(write_split, read_split, ("split.json",)),
    "run": Target(write_run, read_run, ("run/log.jsonl", "run/environment.json", "run/config.yaml")),
}


def damaged(content: bytes, rng: random.Random) -> bytes:
    """One to four changes of a file; what is packed or summed is packed and summed again half of the time."""
    if content[:2] == b"\x1f\x8b" and rng.random() < 0.5:
        return gzip.compress(damaged(gzip.decompress(content), rng))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = _changed(content, rng)
    return summed(content) if content[:4] == b"\x89PNG" and rng.random() < 0.7 else content


def _changed(content: bytes, rng: random.Random) -> bytes:
    at = rng.randrange(len(content) + 1)
    end = min(len(content), at + rng.choice((1, 1, 2, 4, 8, 32, 256)))
    kind = rng.randrange(9)
    if kind == 0:  # bits
        return content[:at] + bytes(byte ^ (1 << rng.randrange(8)) for byte in content[at:end]) + content[end:]
    if kind == 1:  # noise
        return content[:at] + rng.randbytes(end - at) + content[end:]
    if kind == 2:  # cut short
        return content[:at]
    if kind == 3:  # left out
        return content[:at] + content[end:]
    if kind == 4:  # twice
        return content[:end] + content[at:end] * rng.choice((1, 1, 50)) + content[end:]
    if kind == 5:  # a number where the program may look for one
        packed = struct.pack(rng.choice("<>") + "Q", rng.choice(NUMBERS))
        size = rng.choice((1, 2, 4, 8))
        return content[:at] + (packed[:size] if rng.random() < 0.5 else packed[-size:]) + content[at + size :]
    if kind == 6:  # a word
        return content[:at] + rng.choice(WORDS) + content[rng.choice((at, end)) :]
    numbers = list(re.finditer(rb"-?\d+(\.\d+)?", content))
    if kind == 7 and numbers:  # another number in a text
        found = rng.choice(numbers)
        text = rng.choice([*WORDS, *(str(number).encode() for number in NUMBERS)])
        return content[: found.start()] + text + content[found.end() :]
    lines = content.split(b"\n")  # lines in another order
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def summed(content: bytes) -> bytes:
    """A PNG whose chunks have the right checksums, so that its decoder looks further."""
    found, at = [content[:8]], 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        if at + 12 + size > len(content):
            break
        chunk = content[at + 4 : at + 8 + size]
        found.append(content[at : at + 4] + chunk + zlib.crc32(chunk).to_bytes(4, "big"))
        at += 12 + size
    return b"".join(found) + content[at:]


def one(target: Target, folder: Path, whole: dict[str, bytes], rng: random.Random) -> None:
    """Write the files, one of them damaged, and read them; our own errors are what is expected."""
    chosen = rng.choice(target.files)
    for name, content in whole.items():
        (folder / name).write_bytes(damaged(content, rng) if name == chosen else content)
    attempt(target, folder)


def attempt(target: Target, folder: Path) -> None:
    """Read the files of a folder; raises what is not one of our own errors."""
    with warnings.catch_warnings(), redirect_stderr(StringIO()), suppress(*OURS):
        warnings.simplefilter("ignore")
        target.read(folder)


def _work(
    name: str, folder: Path, seed: int, first: int, last: int, pipe: multiprocessing.connection.Connection
) -> None:
    """In a process of its own: read inputs `first` to `last`, telling of each before and after."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what C libraries print
    target = TARGETS[name]
    whole = {file: (folder / file).read_bytes() for file in target.files}
    for index in range(first, last):
        pipe.send(("begins", index))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            one(target, folder, whole, random.Random(f"{name}-{seed}-{index}"))
        except BaseException:  # noqa: BLE001  # whatever it is, it is not ours
            pipe.send(("finding", traceback.format_exc(limit=-6)))
            continue
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
        if grown > MOST_MEMORY:
            pipe.send(("finding", f"{grown / 2**20:.0f} MiB"))
    pipe.send(("done", last))


class Found(NamedTuple):
    """An input that was not answered as it should, and how."""

    target: str
    index: int
    what: str
    file: Path

    @property
    def kind(self) -> tuple[str, str]:
        """The target and the lines of our own code that led there."""
        places = re.findall(r'File ".*/((?:engine|datasets|models)/\w+\.py)", line (\d+)', self.what)
        error = self.what.strip().splitlines()[-1].split(":")[0]
        return self.target, f"{error} {' '.join(':'.join(place) for place in places[-2:])}"


def fuzz(name: str, seed: int, inputs: int, seconds: float, keep: Path) -> tuple[int, list[Found]]:
    """Give a target its inputs from 0, up to a number of inputs or a time; how many, and what was found."""
    found: list[Found] = []
    began, index = time.monotonic(), 0
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        TARGETS[name].write(folder)
        while index < inputs and time.monotonic() - began < seconds:
            here, there = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(name, folder, seed, index, inputs, there))
            process.start()
            there.close()
            what = None
            while what is None and time.monotonic() - began < seconds:
                try:
                    kind, said = here.recv() if _answers(process, here) else ("finding", f"more than {HANG} s")
                except EOFError:
                    process.join()
                    kind, said = "finding", f"ended with exit code {process.exitcode}"
                if kind == "begins":
                    index = said
                elif kind == "done":
                    index = said
                    break
                else:
                    what = said
            process.kill()
            process.join()
            if what is not None:
                found.append(Found(name, index, what, _kept(TARGETS[name], folder, keep / name / f"{seed}-{index}")))
                index += 1
    return index, found


def _answers(process: multiprocessing.process.BaseProcess, pipe: multiprocessing.connection.Connection) -> bool:
    """Wait for word, by the time that the process computes: a busy machine is no finding."""
    used = _computed(process)
    for _ in range(100):
        if pipe.poll(HANG / 10):
            return True
        if _computed(process) - used > HANG:
            return False
    return False


def _computed(process: multiprocessing.process.BaseProcess) -> float:
    """Seconds that a process has computed, where the system tells; else the clock."""
    stat = Path(f"/proc/{process.pid}/stat")
    if not stat.exists():
        return time.monotonic()
    user, system = stat.read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _kept(target: Target, folder: Path, where: Path) -> Path:
    """Copy the files of a finding away, and put whole ones in their place."""
    where.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as fresh:
        target.write(Path(fresh))
        for name in target.files:
            shutil.copy(folder / name, where / Path(name).name)
            shutil.copy(Path(fresh) / name, folder / name)
    return where


def main() -> int:
    """Fuzz; 0 where nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="in all; default: 60")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--inputs", type=int, default=10**9, help="at most, of each target")
    parser.add_argument("--target", choices=[*TARGETS], action="append")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="where findings go")
    options = parser.parse_args()
    torch.set_num_threads(1)
    targets = options.target or [*TARGETS]
    total, kinds = 0, set()
    for name in targets:
        inputs, found = fuzz(name, options.seed, options.inputs, options.seconds / len(targets), options.keep)
        total += inputs
        print(f"{name}: {inputs} inputs, {len(found)} findings", flush=True)
        for each in found:
            if (kind := each.kind) not in kinds:
                print(f"  {each.file}: {each.what.strip().splitlines()[-1][:160]}\n    at {kind[1]}")
            kinds.add(kind)
    print(f"{total} inputs, {len(kinds)} kinds of findings")
    return 1 if kinds else 0


if __name__ == "__main__":
    sys.exit(main())
