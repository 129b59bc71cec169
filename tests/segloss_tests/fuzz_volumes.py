"""Volumes with mutated headers and bodies: read, or refused with a DataError of one line, soon and in little memory.

    python tests/segloss_tests/fuzz_volumes.py --count 5000

reads so many files of each kind, in a process that may allocate 512 MiB, each within 5 seconds.
"""

import argparse
import gzip
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np

ARRAY = np.arange(480, dtype=np.int16).reshape(6, 8, 10)
NUMBERS = (
    0, 1, -1, 2, 3, 4, 7, 255, 352, 32767, -32768, 65536, 2**31 - 1, -(2**31), 1e9, 1e38, 1e-38,
    float("nan"), float("inf"),
)  # fmt: skip
WORDS = (
    b"0", b"1", b"-1", b"3", b"4", b"99999999999", b"1e400", b"nan", b"", b" ", b"\n", b"\0", b"=", b":",
    b"%", b"%d", b"%s", b"%99d", b"True", b"False", b"LOCAL", b"LIST", b"LIST 2", b"/etc/passwd", b"..",
    b"a.raw", b"MET_DOUBLE", b"MET_UCHAR", b"um", b"HeaderSize = -1\n", b"CompressedData = True\n",
    b"ElementNumberOfChannels = 3\n", b"DimSize = 9 9 9\n", b"ElementDataFile = a.raw 1 6\n",
    b"ElementToIntensityFunctionSlope = 2\n", b"\xff" * 300,
)  # fmt: skip


def metaimage(data, **fields):
    lines = {
        "ObjectType": "Image", "NDims": 3, "BinaryData": "True", "BinaryDataByteOrderMSB": "False", "HeaderSize": 0,
        "TransformMatrix": "1 0 0 0 0 1 0 1 0", "Offset": "1 2 3", "ElementSpacing": "0.5 0.7 3", "DimSize": "10 8 6",
        "ElementType": "MET_SHORT", **fields, "ElementDataFile": data,
    }  # fmt: skip
    return "".join(f"{key} = {value}\n" for key, value in lines.items()).encode()


def nifti(kind, array=ARRAY.T, order="<"):
    header = kind.header_class(endianness=order)
    header.set_data_dtype(array.dtype)
    image = kind(array, np.diag([0.5, 0.7, 3, 1]), header)
    image.header.set_xyzt_units("mm")
    return image.to_bytes()


def bases():
    """Each kind: the file to read, the files beside it, and how many bytes of it are a header."""
    raw = ARRAY.tobytes()
    packed = zlib.compress(raw)
    pair = nibabel.Nifti1Pair(ARRAY.T, np.diag([0.5, 0.7, 3, 1]))
    files = nibabel.Nifti1Pair.make_file_map({"header": (head := BytesIO()), "image": (body := BytesIO())})
    pair.to_file_map(files)
    deflated = {"CompressedData": "True", "CompressedDataSize": len(packed)}
    listed = {f"s{index}.raw": plane.tobytes() for index, plane in enumerate(ARRAY)}
    return {
        "mhd": ("a.mhd", {"a.mhd": metaimage("a.raw"), "a.raw": raw}),
        "mhd zraw": ("a.mhd", {"a.mhd": metaimage("a.zraw", **deflated), "a.zraw": packed}),
        "mhd list": ("a.mhd", {"a.mhd": metaimage("LIST\n" + "\n".join(listed)), **listed}),
        "mhd pattern": ("a.mhd", {"a.mhd": metaimage("s%d.raw 0 5 1"), **listed}),
        "mha": ("a.mha", {"a.mha": metaimage("LOCAL", CompressedData="True") + packed}),
        "nii": ("a.nii", {"a.nii": nifti(nibabel.Nifti1Image)}),
        "nii big endian": ("a.nii", {"a.nii": nifti(nibabel.Nifti1Image, order=">")}),
        "nii 4D": ("a.nii", {"a.nii": nifti(nibabel.Nifti1Image, np.stack([ARRAY.T, ARRAY.T], -1))}),
        "nii.gz": ("a.nii.gz", {"a.nii.gz": nifti(nibabel.Nifti1Image)}),
        "nifti-2": ("a.nii", {"a.nii": nifti(nibabel.Nifti2Image)}),
        "pair": ("a.hdr", {"a.hdr": head.getvalue(), "a.img": body.getvalue()}),
    }  # fmt: skip


def mutated(content, rng, text):
    """One to four changes, most of them in the header."""
    content = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        size = max(1, len(content))
        at = rng.randrange(size if rng.random() < 0.2 else min(size, 352))
        how = rng.random()
        if how < 0.25:
            content[at : at + 1] = bytes([rng.randrange(256)])
        elif how < 0.35:
            del content[at : at + rng.choice((1, 2, 8, 100, size))]
        elif how < 0.45:
            content[at:at] = rng.randbytes(rng.choice((1, 4, 60)))
        elif text:
            words = rng.choice((1, 1, 6))
            end = at if rng.random() < 0.3 else at + rng.randint(1, 12)
            content[at:end] = b" ".join(rng.choice(WORDS) for _ in range(words))
        else:
            form = rng.choice("bhifqd")
            at -= at % struct.calcsize(form)
            number = rng.choice(NUMBERS)
            if form in "bhiq":
                top = 2 ** (8 * struct.calcsize(form) - 1)
                number = int(max(-top, min(top - 1, number))) if abs(number) < 1e30 else top - 1
            form = rng.choice("<>") + form
            if at + struct.calcsize(form) <= len(content):
                struct.pack_into(form, content, at, number)
    return bytes(content)


def attempt(folder, kind, base, seed):
    """Read one mutant: "read" or "refused"; anything else is raised."""
    from datasets import DataError, read_volume

    rng = random.Random(f"{kind} {seed}")
    name, files = base
    for path in folder.iterdir():
        path.unlink()
    victim = rng.choice([name, name, name, *files])
    for each, content in files.items():
        if each == victim:
            content = mutated(content, rng, each.startswith("a.mh"))
        if each.endswith(".gz"):
            content = gzip.compress(content, 1)
            if rng.random() < 0.3:
                content = mutated(content, rng, False)
        (folder / each).write_bytes(content)
    try:
        volume = read_volume(folder / name)
    except DataError as error:
        message = str(error)
    else:
        message = None
    if message is not None:
        assert "\n" not in message
        assert str(folder) in message
        return "refused"
    held = sum(path.stat().st_size for path in folder.iterdir())
    assert volume.array.nbytes <= 8 * 1032 * held  # at most deflated, and then scaled from bytes to doubles
    assert np.isfinite(volume.affine).all()
    assert len(set(volume.axes)) == 3
    return "read"


def run(count, first=0):
    found, slowest = Counter(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for kind, base in bases().items():
            for seed in range(first, first + count):
                start = time.perf_counter()
                signal.alarm(5)
                try:
                    found[kind, attempt(Path(folder), kind, base, seed)] += 1
                except BaseException:
                    sys.stderr.write(f"{kind}, seed {seed}:\n")
                    raise
                finally:
                    signal.alarm(0)
                slowest = max(slowest, time.perf_counter() - start)
    return found, slowest


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=5000, help="mutants of each kind")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    options = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    import datasets  # noqa: F401  its own memory does not count

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 512 * 2**20,) * 2)
    found, slowest = run(options.count, options.first)
    for (kind, outcome), times in sorted(found.items()):
        sys.stdout.write(f"{kind:15} {outcome:8} {times}\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    sys.stdout.write(f"slowest {1000 * slowest:.0f} ms, peak memory {peak:.0f} MiB\n")
