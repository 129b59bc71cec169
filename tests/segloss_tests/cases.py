"""Cases without files, caches of decoded ones, and the comparison of batches."""

from pathlib import Path

import torch

import datasets
from datasets import Cache, Case
from datasets.labels import LabelMap

MARKED = LabelMap({"background": [0], "gland": [1], "tumour": [2]})


def cache(adapter, folder, size=(24, 32), normalisation=None, spacing=None):
    normalisation = normalisation or datasets.NORMALISATIONS[adapter.normalise]()
    return Cache(Path(folder), adapter, size, spacing, normalisation, "")


def people(groups=12, per=2):
    return [Case(f"p{g:02d}s{s}", f"p{g:02d}", Path("i"), Path("m")) for g in range(groups) for s in range(per)]


SHARES = {case.id: int(case.group[1:]) / 100 for case in people()}


def assert_equal(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        for key in ("image", "mask", "index"):
            assert torch.equal(a[key], b[key]), key
