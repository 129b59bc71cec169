"""A data set as nnU-Net's raw data, which every contestant reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import datasets

Fold = dict[str, list[str]]
"""The cases to learn from, `train`, and those held out, `val`."""


def write_raw(folder: Path, adapter: datasets.Adapter, folds: Sequence[Fold]) -> None:
    """Write `imagesTr/CASE_0000.nii.gz`, `labelsTr/CASE.nii.gz`, `dataset.json` and `splits.json`; once.

    Args:
        folder: its name says what it is to nnU-Net, as Dataset001_prostate.
        adapter: scans of one channel.
        folds: the cases of each.
    """
    listed = folder / "splits.json"
    if listed.exists():
        return
    cases = adapter.cases()
    for sub in ("imagesTr", "labelsTr"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for case in cases:
        decoded = adapter.read(case)
        geometry = decoded.image.geometry
        if geometry is None or decoded.image.array.shape[-1] != 1:
            raise SystemExit(f"{case.id}: only scans of one channel can be compared")
        image = datasets.Volume(decoded.image.array[..., 0], geometry.affine)
        datasets.write_volume(image, folder / "imagesTr" / f"{case.id}_0000.nii.gz")
        datasets.write_volume(datasets.Volume(decoded.mask, geometry.affine), folder / "labelsTr" / f"{case.id}.nii.gz")
    document = {
        "channel_names": {"0": "MRI"},
        "labels": {name: index for index, name in enumerate(adapter.classes)},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (folder / "dataset.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    listed.write_text(json.dumps(list(folds), indent=1), encoding="utf-8")
