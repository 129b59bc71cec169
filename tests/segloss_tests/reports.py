"""Runs and ablations made by hand, as `train` and `ablate` leave them, without training: material of reports."""

import json
from types import SimpleNamespace

import numpy as np
import torch

import datasets
from engine.ablation.record import Arm, Record
from engine.configuration.checking import load_config
from engine.experiment.run import Run
from engine.scoring import results
from engine.scoring.evaluation import Prediction
from engine.scoring.overlays import ranked
from engine.scoring.snapshots import CaseSnapshots
from segloss.scores import SegmentationScores

GLAND = ("background", "gland")
NAMES = ["<script>alert(1)</script>", "a/b c", "ünï", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11"]
YAML = """\
name: {name}
seed: {seed}
output: {output}
data: {{name: phantom, root: /home/alice/secret/data, patients: 12, split: {{kind: kfold, folds: 2, fold: {fold}}}}}
model: {{name: unet, encoder: resnet18}}
loss: {{name: {loss}}}
optim: {{name: adam, lr: 1e-3}}
"""


class Case:
    """A case as the cache gives it: a bright disc that shifts from slice to slice, in noise."""

    def __init__(self, name, shape=(6, 40, 48), spacing=(3.0, 1.0, 1.0), seed=0):
        self.case = SimpleNamespace(id=name, group=name)
        self.shape = self.original = shape
        self.spacing = spacing
        self.noise = np.random.default_rng(seed).random(shape[1:]).astype(np.float32)
        rows, columns = np.mgrid[: shape[1], : shape[2]]
        middles = np.linspace(0.35, 0.65, shape[0])
        self.masks = np.stack([np.hypot(rows - m * shape[1], columns - m * shape[2]) < shape[1] / 5 for m in middles])

    def image(self, index):
        return (0.5 * self.masks[index] + 0.4 * self.noise)[..., None].astype(np.float32)

    def mask(self):
        return self.masks.astype(np.int64)


def shifted(case, by):
    """The mask moved to the right in the upper half of the slices: missed on one side, invented on the other."""
    found = case.mask()
    half = len(found) // 2
    found[half:] = np.roll(found[half:], by, axis=2)
    return found


def make_run(path, cases, predictions, fold=0, seed=0, loss="ce", classes=GLAND, primary=None):
    """A finished run in a folder.

    Args:
        path: the folder.
        cases: `Case`s of its test part.
        predictions: their label volumes.
        primary: the primary metric; None for what is usual.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    yaml = path.with_suffix(".yaml")
    yaml.write_text(YAML.format(name=path.name, output=json.dumps(str(path.parent)), seed=seed, fold=fold, loss=loss))
    config = load_config(yaml)
    run = Run.of(config)
    run.create(config)
    ground = classes.index("background") if "background" in classes else None
    scores = SegmentationScores(len(classes), datasets.IGNORE, ground)
    material = CaseSnapshots(SimpleNamespace(cases=cases), len(classes), ground)
    found = [
        Prediction(number, torch.from_numpy(labels), torch.from_numpy(case.mask()))
        for number, (case, labels) in enumerate(zip(cases, predictions, strict=True))
    ]
    for one in material.watch(found):
        slices = len(one.labels)
        scores.update(one.labels, one.reference, image=list(range(slices)), case=[one.case] * slices)
    names = [case.case.id for case in cases]
    kind = "still" if cases[0].shape[0] == 1 else "volume"
    document = scores.document(classes, names, names, kind=kind, primary=primary, grid="original", seed=seed, fold=fold)
    for epoch in (1, 2, 3):
        score = 0.2 * epoch
        values = {"mDSC": score, "mIoU": score / 2, "classes": {name: {"DSC": score, "IoU": 0.1} for name in classes}}
        values |= {"units": 1}
        entry = {"epoch": epoch, "loss": 1 / epoch, "score": score, "acw": None, "shares": None, "validation": None}
        run.log(entry | {"validation": dict.fromkeys(("dataset", "case", "image"), values)})
    if fold == 0:  # the others are drawn by the report, where it shows them
        results.draw_history(run.figures, run.history(), classes, document.header.primary)
        results.draw_scores(run.figures, document)
    material.write(path, [case for case, _ in ranked(document)], "original")
    run.write_json("scores.json", document.to_json())
    return run


def make_ablation(folder, arms=(("ce", 4), ("adfl", 2)), names=NAMES, folds=2):
    """A finished ablation: of each arm, how far its predictions lie beside the gland; the first case is the worst."""
    for arm, by in arms:
        for fold in range(folds):
            cases = [Case(name, seed=number) for number, name in enumerate(names) if number % folds == fold]
            far = [by + (6 if case.case.id == names[0] else number % 3) for number, case in enumerate(cases)]
            predictions = [shifted(case, shift) for case, shift in zip(cases, far, strict=True)]
            make_run(folder / arm / "seed-0" / f"fold-{fold}", cases, predictions, fold, loss=arm)
    record = Record(
        name=folder.name,
        baseline=arms[0][0],
        smallest={"DSC": 0.01, "IoU": 0.01, "HD95": 1.0, "ASSD": 1.0},
        seeds=[0],
        folds=list(range(folds)),
        arms={arm: Arm(seeds=[0], changed=[]) for arm, _ in arms},
    )
    record.write(folder)
    return folder
