"""Remedies for a trained network: its logits become z / T + b, with one temperature T and one offset b a class.

Softmax makes probabilities of the result, argmax labels. Mean values of logits, such as those of mirrored images,
overlapping windows or neighbouring pixels, may be adjusted before or after: weights that sum to 1 commute with it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from .class_weights import Counts
from .logit_adjusted import log_prior
from .names import NOT_NEGATIVE, POSITIVE, check_range
from .tensors import full, per_class

BLOCK = 2**18
"""Pixels that are worked on at a time."""
STEP = 1 / 16
"""Between the offsets that are tried."""
SWEEPS = 10
"""How often all classes are gone through at most."""
HOTTEST = 100.0
"""The temperature lies between 1/HOTTEST and HOTTEST: a validation part without a mistake has no best one."""


class LogitAdjustment(nn.Module):
    """z / T + b on logits, in float32; nothing of it is trained, or part of a checkpoint.

    Args:
        offsets: b, one number a class.
        temperature: T > 0.

    Raises:
        ValueError: T ≤ 0.

    >>> LogitAdjustment([0.0, 1.0], temperature=2.0)(torch.tensor([[4.0, 2.0]])).tolist()
    [[2.0, 2.0]]
    """

    offsets: Tensor

    def __init__(self, offsets: Sequence[float] | Tensor, temperature: float = 1.0) -> None:
        super().__init__()
        check_range("temperature", temperature, *POSITIVE)
        self.temperature = temperature
        self.register_buffer("offsets", torch.as_tensor(offsets), persistent=False)

    def forward(self, logits: Tensor) -> Tensor:
        """Logits `(N, C, *spatial)`, adjusted."""
        logits = full(logits)
        return logits / self.temperature + per_class(self.offsets, logits, "offsets")


def prior_offsets(counts: Counts, tau: float = 1.0) -> Tensor:
    """−τ log π of each class, π its share of the training pixels, shifted so that the largest class has 0.

    With τ = 1 Bayes' rule: softmax of the result is the posterior where all classes are equally frequent, so its argmax
    is best for the mean recall (Menon 2021, eq. 9). Far from where DSC or IoU of a very rare class is best: there a
    smaller τ, or `fit_offsets`.

    Args:
        counts: pixels of each class in the training data; a class without any counts as the rarest of the others.
        tau: τ ≥ 0.

    Returns:
        `(C,)` float64.

    >>> prior_offsets([900, 100]).exp()  # nine times as rare
    tensor([1.0000, 9.0000], dtype=torch.float64)
    """
    check_range("tau", tau, *NOT_NEGATIVE)
    prior = log_prior(counts)
    return tau * (prior.max() - prior)


class Fitted(NamedTuple):
    """What is fitted, and what it is good for where it was fitted.

    Attributes:
        value: the temperature, or the offsets `(C,)` float64.
        before: negative log-likelihood a pixel, or the score, of the logits as they were; NaN without a pixel.
        after: the same of the adjusted logits.
    """

    value: Tensor
    before: float
    after: float


def fit_temperature(logits: Tensor, target: Tensor, activation: Literal["softmax", "sigmoid"] = "softmax") -> Fitted:
    """The temperature with the least negative log-likelihood (Guo 2017), by Newton's method on 1/T: it is convex there.

    Labels stay as they are: the temperature changes only how sure the network says it is.

    Args:
        logits: `(P, C)` of pixels that count.
        target: `(P,)` labels.
        activation: what makes probabilities of the logits; of `sigmoid` the likelihoods of all classes are multiplied.

    >>> logits = torch.tensor([3.0, 0.0]).repeat(4, 1)  # 95 % sure, but right in three of four
    >>> fitted = fit_temperature(logits, torch.tensor([0, 0, 0, 1]))
    >>> round(float((logits[0] / fitted.value).softmax(0)[0]), 6)
    0.75
    """
    low, high, cold = 1 / HOTTEST, HOTTEST, 1.0
    before = _likelihood(logits, target, cold, activation)[0]
    for _ in range(100):
        _, slope, curvature = _likelihood(logits, target, cold, activation)
        low, high = (low, cold) if slope > 0 else (cold, high)
        step = cold - slope / curvature if curvature > 0 else 0.0
        last, cold = cold, step if low < step < high else (low * high) ** 0.5
        if abs(cold / last - 1) < 1e-10:
            break
    return Fitted(torch.tensor(1 / cold, dtype=torch.float64), before, _likelihood(logits, target, cold, activation)[0])


def _likelihood(logits: Tensor, target: Tensor, cold: float, activation: str) -> tuple[float, float, float]:
    """The negative log-likelihood a pixel of logits times `cold`, and its first two derivatives in that."""
    total = torch.zeros(3, dtype=torch.float64)
    for z, labels in zip(logits.split(BLOCK), target.split(BLOCK), strict=True):
        z = z.T.double().contiguous()  # the few classes first, so that pixels are worked on side by side
        own = z.gather(0, labels.unsqueeze(0)).squeeze(0)
        if activation == "sigmoid":
            p = (cold * z).sigmoid()
            loss = -nn.functional.logsigmoid(-cold * z).sum(0) - cold * own
            slope, curvature = (p * z).sum(0) - own, (p * (1 - p) * z.square()).sum(0)
        else:
            p = (cold * z).softmax(0)
            mean = (p * z).sum(0)
            loss = (cold * z).logsumexp(0) - cold * own
            slope, curvature = mean - own, (p * (z - mean).square()).sum(0)
        total += torch.stack([loss.sum(), slope.sum(), curvature.sum()]).cpu()
    found: list[float] = (total / max(len(target), 1)).tolist()
    return found[0], found[1], found[2]


def fit_offsets(
    logits: Tensor,
    target: Tensor,
    units: Tensor | None = None,
    score: Literal["DSC", "IoU"] = "DSC",
    left_out: Collection[int | None] = (),
    limit: float = 4.0,
) -> Fitted:
    """The offsets with the best mean score, class by class: each in turn gets its best offset with those of the others.

    The most frequent class keeps 0, since only differences matter. All offsets of a class are tried at once, exactly: a
    pixel is given the class from its margin on, the lead of the best other class. Of equally good offsets the one
    nearest to 0 is taken, and only a better score changes one. For two classes an offset b is a threshold: the second
    is predicted where its probability is above 1 / (1 + exp(b)).

    Args:
        logits: `(P, C)` of pixels that count.
        target: `(P,)` labels.
        units: `(P,)` which case or image each pixel is of, numbered from 0; None for one data set. The score is the
            mean over units of the mean over classes, as `segloss.aggregation.aggregate` takes it.
        score: of a class.
        left_out: classes left out of the means.
        limit: offsets lie in [−limit, limit].

    >>> logits = torch.tensor([[2.0, 0.0], [2.0, 0.0], [1.0, 0.0]])  # the last should be 1, and is 0
    >>> fit_offsets(logits, torch.tensor([0, 0, 1])).value.tolist()
    [0.0, 1.0625]
    """
    units = torch.zeros_like(target) if units is None else units
    search = _OffsetSearch(logits, target, units, score, left_out, limit)
    most = int(target.bincount(minlength=logits.shape[1]).argmax())
    offsets = torch.zeros(logits.shape[1], dtype=torch.float64)
    before = best = search.at(offsets)
    for _ in range(SWEEPS):
        found = best
        for index in set(range(len(offsets))) - {most}:
            scores = search.along(index, offsets)
            order = torch.argsort(search.grid.abs(), stable=True)
            place = order[scores[order].argmax()]  # the first, so the nearest to 0, of the best
            if scores[place] > best + 1e-12:
                best, offsets[index] = float(scores[place]), search.grid[place]
        if best == found:
            break
    return Fitted(offsets, before, best)


class _OffsetSearch:
    """The score of pixels as a function of the offsets; see `fit_offsets`.

    Pixels of which no offsets within the limit change the label are counted once and for all.
    """

    def __init__(
        self, logits: Tensor, target: Tensor, units: Tensor, score: str, left_out: Collection[int | None], limit: float
    ) -> None:
        self.score, classes = score, logits.shape[1]
        self.kept = [index for index in range(classes) if index not in left_out]
        steps = round(limit / STEP)
        self.grid = STEP * torch.arange(-steps, steps + 1, dtype=torch.float64)
        self.shape = (int(units.max()) + 1 if len(units) else 1, classes)
        first, second = logits.topk(2, dim=1).values.unbind(1)
        open_ = first - second <= 2 * limit
        labels = logits.argmax(1)
        self.reference = self._count(units, target)
        self.predicted = self._count(units[~open_], labels[~open_])
        right = ~open_ & (labels == target)
        self.right = self._count(units[right], target[right])
        self.logits, self.target, self.units = logits[open_], target[open_], units[open_]

    def _count(self, units: Tensor, labels: Tensor) -> Tensor:
        """Pixels by unit and class."""
        cells = self.shape[0] * self.shape[1]
        return (units * self.shape[1] + labels).bincount(minlength=cells).view(self.shape)

    def at(self, offsets: Tensor) -> float:
        """The score with some offsets."""
        labels = (self.logits + offsets.float()).argmax(1)
        right = labels == self.target
        predicted = self.predicted + self._count(self.units, labels)
        hits = self.right + self._count(self.units[right], labels[right])
        return float(self._mean(hits.unsqueeze(-1), predicted.unsqueeze(-1)))

    def along(self, index: int, offsets: Tensor) -> Tensor:
        """The scores `(K,)` with each offset of the grid for one class, and those of the others as they are."""
        shifted = self.logits + offsets.float()
        shifted[:, index] = -torch.inf
        lead, other = shifted.max(1)
        steps = (lead - self.logits[:, index] - self.grid[0]) / STEP  # of the grid, until the class is in the lead
        steps = torch.where(index < other, steps.ceil(), steps.floor() + 1)  # of equal logits the first is the label
        place = steps.clamp(0, len(self.grid)).long()
        won, lost = (
            self._by_place(place, self.units, torch.full_like(other, index)),
            self._by_place(place, self.units, other),
        )
        mine, theirs = self.target == index, self.target == other
        won_hits = self._by_place(place[mine], self.units[mine], self.target[mine])
        lost_hits = self._by_place(place[theirs], self.units[theirs], self.target[theirs])
        predicted = self.predicted.unsqueeze(-1) + won.cumsum(2)[..., :-1] + _behind(lost)
        hits = self.right.unsqueeze(-1) + won_hits.cumsum(2)[..., :-1] + _behind(lost_hits)
        return self._mean(hits, predicted)

    def _by_place(self, place: Tensor, units: Tensor, labels: Tensor) -> Tensor:
        """Pixels by unit, class and the first offset of the grid, or none, from which on they get another label."""
        cells, places = self.shape[0] * self.shape[1], len(self.grid) + 1
        found = ((units * self.shape[1] + labels) * places + place).bincount(minlength=cells * places)
        return found.view(*self.shape, places)

    def _mean(self, hits: Tensor, predicted: Tensor) -> Tensor:
        """The mean score `(K,)` of right and of predicted pixels `(U, C, K)`."""
        both = self.reference.unsqueeze(-1) + predicted
        ratios = 2 * hits.double() / both if self.score == "DSC" else hits.double() / (both - hits)
        return ratios[:, self.kept].nanmean(1).nanmean(0)  # 0/0 is NaN: of a class that is absent from both


def _behind(counts: Tensor) -> Tensor:
    """Along the last axis of counts, how many lie behind each place but the last."""
    return (counts.sum(2, keepdim=True) - counts.cumsum(2))[..., :-1]
