"""Scores of pictures with one label each, computed batch by batch, on any device, over any number of ranks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from .aggregation import LABEL_RULE, TOP, Aggregation, label_scores
from .base import Activation
from .document import Header, Picture, Primary, ScoresDocument
from .tensors import numbered, sent


class ClassificationScores(Metric):
    """Accuracy, top-5, macro F1 and balanced accuracy; keeps a few numbers a picture, whatever the number of classes.

    Whatever the batch size, the order or the sharding, the result is the same. Of equal logits the first class counts.

    Args:
        num_classes: C.
        activation: what makes probabilities of the logits; `none` where nothing does.
        **options: of `torchmetrics.Metric`.

    Raises:
        ValueError: num_classes < 1.

    >>> scores = ClassificationScores(num_classes=2)
    >>> scores.update(torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1, 1]), image=[0, 1, 2])
    >>> round(scores.compute()["accuracy"], 4)
    0.6667
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    images: list[Tensor]
    targets: list[Tensor]
    tops: list[Tensor]
    sure: list[Tensor]

    def __init__(self, num_classes: int, activation: Activation = "softmax", **options: Any) -> None:
        super().__init__(**options)
        if num_classes < 1:
            raise ValueError(f"num_classes must be ≥ 1, got {num_classes}")
        self.num_classes, self.activation = num_classes, activation
        for state in ("images", "targets", "tops", "sure"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, target: Tensor, image: Tensor | Sequence[int]) -> None:
        """Count a batch, without a host synchronisation.

        Args:
            logits: `(N, C)` or `(N, C, 1, 1)`.
            target: `(N,)` or `(N, 1, 1)` integer labels.
            image: `(N,)` an integer id of each picture.

        Raises:
            ValueError: shapes that do not fit, labels or ids that are no integers.
        """
        logits, target = logits.flatten(1).float(), target.flatten()
        if logits.shape != (len(target), self.num_classes) or target.is_floating_point():
            raise ValueError(
                f"logits must be (N, {self.num_classes}) and target (N,) integers, got {tuple(logits.shape)} and "
                f"{target.dtype} {tuple(target.shape)}"
            )
        top = torch.sort(logits, dim=1, descending=True, stable=True).indices[:, :TOP]
        shares = logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(1)
        self.images.append(sent(numbered("image", image), target.device))
        self.targets.append(target.long())
        self.tops.append(top)
        self.sure.append(shares.gather(1, top[:, :1])[:, 0])

    def compute(self) -> Aggregation:
        """The scores, classes by index.

        Raises:
            ValueError: a label is no class.
        """
        return self.aggregation([str(index) for index in range(self.num_classes)])

    def aggregation(self, classes: Sequence[str], class_images: Sequence[int] | None = None) -> Aggregation:
        """The scores by name.

        Args:
            classes: the names of the C classes.
            class_images: training pictures of each class, for the scores of frequent and rare ones.

        Raises:
            ValueError: a label is no class.
        """
        _, targets, tops, _ = self._sorted()
        in_top = int((tops == targets[:, None]).any(1).sum()) if self.num_classes > TOP else None
        return label_scores(self._matrix(targets, tops[:, 0]), classes, in_top, class_images)

    def document(
        self,
        classes: Sequence[str],
        cases: Sequence[str],
        groups: Sequence[str],
        *,
        primary: Primary | None = None,
        **header: Any,
    ) -> ScoresDocument:
        """What `scores.json` holds: a header, the scores, the confusion matrix, a row a picture.

        Args:
            classes: the names of the C classes.
            cases: the name of picture 0, 1, …
            groups: the group of picture 0, 1, …
            primary: the score that methods are compared in; None for the accuracy.
            **header: what else the header says, such as seed and fold; see `segloss.document.Header`.
        """
        images, targets, tops, sure = self._sorted()
        self._matrix(targets, tops[:, 0])
        known = (tops == targets[:, None]).any(1).tolist() if self.num_classes > TOP else [None] * len(targets)
        shares = [share if share == share and self.activation != "none" else None for share in sure.tolist()]  # no NaN
        predicted = tops[:, 0].tolist()
        pictures = [
            Picture(cases[image], groups[image], classes[label], classes[guess], in_top, share)
            for image, label, guess, in_top, share in zip(
                images.tolist(), targets.tolist(), predicted, known, shares, strict=True
            )
        ]
        primary = primary or Primary.of_kind("label")
        described = Header(kind="label", primary=primary, classes=list(classes), rule=LABEL_RULE, **header)
        return ScoresDocument.of_pictures(described, pictures)

    def _matrix(self, targets: Tensor, predicted: Tensor) -> Tensor:
        """The confusion matrix `(C, C)`."""
        count = self.num_classes
        foreign = int(((targets < 0) | (targets >= count)).sum())
        if foreign:
            raise ValueError(f"{foreign} pictures have a label outside 0..{count - 1}")
        return torch.bincount(targets * count + predicted, minlength=count * count).view(count, count)

    def _sorted(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images `(N,)`, ascending, targets `(N,)`, the most probable classes `(N, k)`, the first one's probability."""
        empty = torch.zeros(0, dtype=torch.int64)
        tops = _joined(self.tops, torch.zeros(0, min(TOP, self.num_classes), dtype=torch.int64))
        images, order = torch.sort(_joined(self.images, empty), stable=True)
        return images, _joined(self.targets, empty)[order], tops[order], _joined(self.sure, empty.float())[order]


def _joined(state: list[Tensor] | Tensor, empty: Tensor) -> Tensor:
    """A list state as one tensor on the CPU; torchmetrics has joined it already after a reduction over ranks."""
    if isinstance(state, Tensor):
        return state.cpu()
    return torch.cat(state).cpu() if state else empty
