"""What no network is needed for: predictions that a network has to beat to have learnt anything.

Each is a table from the cell that a pixel falls into (its place in the image, or its grey value or colour) to a class.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

import datasets
from datasets.grid import Shape, resize_mask
from segloss.aggregation import AggregationName
from segloss.scores import SegmentationScores

from ..experiment.experiment import Experiment

SLICES, SIDE = 48, 128
"""The grid on which masks of different cases are averaged; a still has one slice."""
LEVELS = {1: 256, 3: 16}
"""By the number of channels, how finely the values of each are told apart."""
MOST = 128
"""Training cases that are read, evenly spaced."""
THRESHOLDS = np.linspace(0, 1, 41)[:-1]


class Floor(NamedTuple):
    """A prediction without a network.

    Attributes:
        labels: the class of each cell, `(cells,)`.
        cells: of a case, the cell of each pixel, `(slices, rows, columns)`.
    """

    labels: NDArray[np.uint8]
    cells: Callable[[datasets.CachedCase], NDArray[np.int64]]

    def predict(self, case: datasets.CachedCase, shape: Shape) -> NDArray[np.uint8]:
        """The labels of a case on a grid."""
        return resize_mask(self.labels[self.cells(case)], shape)


def floors(
    training: Sequence[datasets.CachedCase],
    classes: Sequence[str],
    ground: int,
    pooled: bool,
    regions: datasets.Regions | None = None,
) -> dict[str, Floor]:
    """The mean training mask, the best rule of grey values or colours, and the commonest class.

    Of regions each has its rule, and a cell the class of the regions that it is in.

    Args:
        training: cases; the rules are made of these alone, that of a class of those that were labelled for it.
        classes: their names.
        ground: the class of what no rule gives another: the background, or the commonest.
        pooled: whether a score counts the pixels of all cases together, or is a mean over cases.
        regions: what is scored in place of the classes.
    """
    chosen = [training[place] for place in datasets.evenly_spaced(len(training), MOST)]
    known = [datasets.labelled_parts(case.case, classes, regions) for case in chosen]
    slices = 1 if all(case.shape[0] == 1 for case in chosen) else SLICES
    grid = (slices, SIDE, SIDE)
    places = np.arange(np.prod(grid)).reshape(grid)
    masks = [(places, resize_mask(case.masks(), grid)) for case in chosen]
    found = {"mean_mask": Floor(_best(masks, known, places.size, ground, pooled, regions), lambda _: places)}
    channels = chosen[0].image(0).shape[-1]
    if channels in LEVELS:
        coloured = [(_colours(case), case.masks()) for case in chosen]
        size = LEVELS[channels] ** channels
        found["colours"] = Floor(_best(coloured, known, size, ground, pooled, regions), _colours)
    pixels = np.sum([case.pixels for case in training], axis=0)
    found["commonest"] = Floor(np.array([pixels.argmax()], np.uint8), lambda _: np.zeros((1, 1, 1), np.int64))
    return found


def _colours(case: datasets.CachedCase) -> NDArray[np.int64]:
    """The cell of each pixel by its value in each channel."""
    image = np.stack([case.image(index) for index in range(case.shape[0])])
    levels = LEVELS[image.shape[-1]]
    scaled = image / 255 if image.dtype == np.uint8 else image
    steps = (scaled * levels).astype(np.int64).clip(0, levels - 1)
    return np.asarray(steps @ (levels ** np.arange(image.shape[-1])))


def _best(
    every: Sequence[tuple[NDArray[np.int64], NDArray[np.uint8]]],
    known: Sequence[NDArray[np.bool_]],
    size: int,
    ground: int,
    pooled: bool,
    regions: datasets.Regions | None,
) -> NDArray[np.uint8]:
    """The class of each cell, `(size,)`: of those more frequent in it than a threshold the one that is so most clearly.

    The threshold of each class is that with the best DSC on the training cases themselves. Of regions a cell is in all
    that are more frequent in it than their thresholds.
    """
    members = np.eye(len(known[0]), dtype=bool) if regions is None else regions.members.numpy()
    members = np.pad(members, ((0, 0), (0, datasets.IGNORE + 1 - members.shape[1])))
    lead, labels, regions_of = np.ones(size), np.full(size, ground, np.uint8), np.zeros((len(members), size), bool)
    for index, own in enumerate(members):
        cases = [one for one, labelled in zip(every, known, strict=True) if labelled[index]]
        if (regions is None and index == ground) or not cases:
            continue
        there, counted = np.zeros(size), np.zeros(size)
        for cells, mask in cases:
            there += np.bincount(cells[own[mask]], minlength=size)
            counted += np.bincount(cells[mask != datasets.IGNORE], minlength=size)
        frequency = there / counted.clip(1)
        edges = np.digitize(frequency, THRESHOLDS, right=True)  # > THRESHOLDS[i] for the first `edges` of them
        hits, sizes = [], []
        for cells, mask in cases:
            inside = _above(edges[cells[own[mask]]])
            hits.append(inside[1:])
            sizes.append(_above(edges[cells[mask != datasets.IGNORE]])[1:] + inside[0])
        hit, of = np.array(hits), np.array(sizes)
        scores = 2 * hit.sum(0) / of.sum(0).clip(1) if pooled else (2 * hit / of.clip(1)).mean(0)
        clearly = frequency / max(THRESHOLDS[int(scores.argmax())], 1e-9)
        if regions is not None:
            regions_of[index] = clearly > 1
            continue
        is_best = clearly > lead
        labels[is_best], lead = index, np.where(is_best, clearly, lead)
    return labels if regions is None else regions.labels(torch.from_numpy(regions_of)[None])[0].numpy().astype(np.uint8)


def _above(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many are at least 0, 1, … as large."""
    counted = np.bincount(edges, minlength=len(THRESHOLDS) + 1)
    return np.asarray(counted[::-1].cumsum()[::-1])


def score_floors(experiment: Experiment) -> Iterator[tuple[str, SegmentationScores]]:
    """The name of each floor, and its counts on the test part, on the grid that is scored; see `floors`."""
    adapter, parts = experiment.adapter, experiment.data.parts
    training, classes = parts["train"], adapter.classes
    ground = datasets.background_index(classes)
    if ground is None:
        ground = int(np.sum([case.pixels for case in training], axis=0).argmax())
    aggregation: AggregationName = experiment.primary.aggregation
    regions = experiment.regions
    background, members = (experiment.background, None) if regions is None else (None, regions.members)
    original = experiment.config.scores.grid == "original"
    for name, floor in floors(training, classes, ground, aggregation == "dataset", regions).items():
        scores, images = SegmentationScores(len(classes), datasets.IGNORE, background, members), 0
        for number, case in enumerate(parts["test"]):
            reference = case.references() if original else case.masks()
            labels = floor.predict(case, (reference.shape[0], reference.shape[1], reference.shape[2]))
            labels = np.where(datasets.labelled_classes(case.case, classes)[labels], labels, 0)
            ids = range(images, images + len(labels))
            images += len(labels)
            found, wanted = (torch.from_numpy(np.ascontiguousarray(each)) for each in (labels, reference))
            scores.update(found, wanted, image=list(ids), case=[number] * len(labels))
        yield name, scores
