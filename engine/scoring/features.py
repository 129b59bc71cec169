"""What the last layer sees: features of pixels of each class, brought to two dimensions (Kato's Figs. 3, 6 to 8)."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

import datasets
from models import SegmentationModel

PIXELS = 200
"""The most of a class: what a scatter plot can show."""
POINTS = 2000
"""The most of all classes together: the decomposition takes seconds, not minutes."""
EMBEDDED, ITERATIONS = 500, 500
"""The most that t-SNE takes, and its steps: a second or two."""
SAMPLES = 8
"""Of each class, the samples that hold it that are looked at; of pictures with one label as many as are drawn."""


class Features(NamedTuple):
    """Pixels on the grid of the features, and what stands there.

    Attributes:
        vectors: `(P, K)` float64, the input of the head.
        labels: `(P,)` true classes.
        samples: `(P,)` the number of the sample each pixel is from.
    """

    vectors: NDArray[np.float64]
    labels: NDArray[np.int64]
    samples: NDArray[np.int64]


def features(
    network: SegmentationModel,
    model: Any,
    samples: datasets.Samples,
    fabric: Fabric,
    window: tuple[int, int] | None = None,
) -> Features:
    """Penultimate features of pixels, up to `PIXELS` a class, drawn evenly from the samples that are looked at.

    They are what the network's head (of several, its first) is given, on that grid; the true class there is that of the
    nearest pixel. The draw has a generator of its own, always seeded alike.

    Args:
        network: the trained network.
        model: the same, set up by Fabric; put into evaluation mode, and back.
        samples: not augmented.
        fabric: the device and the precision.
        window: the height and width of what goes through the network at once: the centre of larger images.
    """
    by_class = samples.counts()[0].tocsc()
    holds = np.split(by_class.indices, by_class.indptr[1:-1])
    most = min(PIXELS, max(1, POINTS // len(holds)))
    wanted = most if network.whole_image else SAMPLES
    looked = sorted({int(found[at]) for found in holds for at in datasets.evenly_spaced(len(found), wanted)})
    rng = np.random.default_rng(0)
    kept = [_Drawn(most) for _ in holds]
    was_training = model.training
    model.eval()
    for index in looked:
        image, mask = datasets.centre(samples[index], window)
        found = _head_input(network, model, fabric.to_device(image.unsqueeze(0)))
        labels = _nearest(mask, network.padded_size(image), found.shape[-2:]).flatten().numpy()
        vectors = found[0].flatten(1).T.cpu()
        labels = np.where(vectors.isfinite().all(1).numpy(), labels, -1)
        tickets = rng.random(len(labels))
        for label in np.unique(labels[(labels >= 0) & (labels < len(kept))]).tolist():
            kept[label].add(np.flatnonzero(labels == label), tickets, vectors, index)
    model.train(was_training)
    rows = [(label, sample, vector) for label, drawn in enumerate(kept) for _, sample, vector in drawn.best]
    width = len(rows[0][2]) if rows else 0
    return Features(
        np.array([vector for *_, vector in rows], dtype=np.float64).reshape(-1, width),
        np.array([label for label, *_ in rows], dtype=np.int64),
        np.array([sample for _, sample, _ in rows], dtype=np.int64),
    )


class _Drawn:
    """The pixels of one class with the highest tickets so far: a draw of all of them, each as likely."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.best: list[tuple[float, int, NDArray[np.floating[Any]]]] = []

    def add(self, places: NDArray[np.intp], tickets: NDArray[np.float64], vectors: Tensor, sample: int) -> None:
        """Take part with the pixels at some places of a sample."""
        first = places[np.argsort(-tickets[places])][: self.most]
        chosen = vectors[torch.from_numpy(first)].numpy()  # copies: a view would hold all the features
        new = [(ticket, sample, vector) for ticket, vector in zip(tickets[first].tolist(), chosen, strict=True)]
        self.best = sorted([*self.best, *new], key=lambda one: -one[0])[: self.most]


def _head_input(network: SegmentationModel, model: Any, images: Tensor) -> Tensor:
    """What the network's first head is given for images, `(N, K, h, w)` float32."""
    caught: list[Tensor] = []
    head = network.get_submodule(network.heads[0])
    hook = head.register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0].detach().float()))
    try:
        with torch.no_grad():
            model(images.contiguous(memory_format=torch.channels_last))
    finally:
        hook.remove()
    return caught[0]


def _nearest(mask: Tensor, padded: tuple[int, int], size: Any) -> Tensor:
    """The mask `(H, W)` on the grid of the features, ignored where the image was padded."""
    if mask.shape == size:
        return mask
    rows, columns = (more - side for more, side in zip(padded, mask.shape, strict=True))
    whole = F.pad(mask, (0, columns, 0, rows), value=datasets.IGNORE)
    return F.interpolate(whole[None, None].float(), tuple(size), mode="nearest-exact")[0, 0].long()


def principal_components(vectors: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The first two principal components, by SVD.

    Args:
        vectors: `(P, K)`.

    Returns:
        Coordinates `(P, 2)`, of a sign that makes the farthest point positive, and the share of the variance that each
        explains, `(2,)`; zeros where there is no variance.
    """
    found, shares = np.zeros((len(vectors), 2)), np.zeros(2)
    centred = vectors - vectors.mean(0) if len(vectors) else vectors
    if not centred.any():
        return found, shares
    u, lengths, _ = np.linalg.svd(centred, full_matrices=False)
    known = min(2, len(lengths))
    found[:, :known] = u[:, :known] * lengths[:known]
    shares[:known] = lengths[:known] ** 2 / (lengths**2).sum()
    farthest = found[np.abs(found).argmax(0), [0, 1]]
    return found * np.where(farthest < 0, -1, 1), shares


def embedded(points: NDArray[np.float64], vectors: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Features in two dimensions by t-SNE (van der Maaten 2008), which keeps neighbours together; always seeded alike.

    Args:
        points: `(P, 2)` the first two principal components, which it begins with.
        vectors: `(P, K)`.

    Returns:
        Which of the features, evenly spaced and `EMBEDDED` at most, `(E,)`; and their coordinates `(E, 2)`. None where
        they are fewer than four or all alike.
    """
    chosen = np.array(datasets.evenly_spaced(len(vectors), EMBEDDED), dtype=np.intp)
    spread = points[chosen, 0].std() if len(chosen) else 0.0
    if len(chosen) < 4 or not spread:
        return chosen[:0], np.zeros((0, 2))
    from sklearn.manifold import TSNE  # takes a second to import

    start = (1e-4 * points[chosen] / spread).astype(np.float32)
    perplexity = min(30.0, (len(chosen) - 1) / 3)
    tsne = TSNE(2, perplexity=perplexity, init=start, max_iter=ITERATIONS, random_state=0)
    return chosen, tsne.fit_transform(vectors[chosen].astype(np.float32)).astype(np.float64)
