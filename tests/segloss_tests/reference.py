"""The losses as their papers write them, in NumPy float64, pixel by pixel; independent of the torch code.

A pixelwise loss is a function of the logits `z` and the labels `P` of one pixel, both `(C,)`, P one-hot or soft.
"""

import itertools

import numpy as np
from scipy import ndimage


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def ce(z, P, label_smoothing=0.0):
    smooth = (1 - label_smoothing) * P + label_smoothing / len(z)
    return -(smooth * np.log(softmax(z))).sum()


def focal(z, P, gamma=2.0, alpha=1.0):
    p = softmax(z)
    return -(P * np.broadcast_to(alpha, len(z)) * (1 - p) ** gamma * np.log(p)).sum()


def sigmoid_ce(z, P):
    q = sigmoid(z)
    return -(P * np.log(q) + (1 - P) * np.log(1 - q)).sum()


def sigmoid_focal(z, P, gamma=2.0, alpha=0.25):
    q = sigmoid(z)
    a, b = (1, 1) if alpha is None else (alpha, 1 - alpha)
    return -(a * P * (1 - q) ** gamma * np.log(q) + b * (1 - P) * q**gamma * np.log(1 - q)).sum()


def dfl(z, P):
    return -np.log(1 - (P - softmax(z)) ** 2).sum()


def dfl2021(z, P, alpha=1.0, beta=1.0, gamma=1.0, rho=1.0):
    p = softmax(z)
    return -(P * np.log(p) + beta * (1 - P) * np.log(rho - p) - alpha * np.abs(P - p) ** gamma).sum()


def dce(z, P, alpha=2.0, beta=1.5):
    p = softmax(z)
    return (-P * np.log(p) + beta * (1 - P) * np.log(alpha + p)).sum()


def cefl(z, P, gamma=2.0):
    p = softmax(z)
    return (P * (-(1 - p) * np.log(p) - p * (1 - p) ** gamma * np.log(p))).sum()


def cefl2(z, P, gamma=2.0):
    p = softmax(z)
    share = (1 - p) ** 2 / ((1 - p) ** 2 + p**2)
    return (P * (-share * np.log(p) - (1 - share) * (1 - p) ** gamma * np.log(p))).sum()


def poly1(z, P, epsilon=1.0):
    p = softmax(z)
    return (P * (-np.log(p) + epsilon * (1 - p))).sum()


def mse(z, P):
    return (0.5 * (z - P) ** 2).sum()


def mse_ol(z, P, counts, alpha=1.0):
    by_size = sorted(range(len(counts)), key=lambda c: (-counts[c], c))
    far = np.array([alpha * (by_size.index(c) + 1) for c in range(len(counts))])
    return (0.5 * (z - P * far) ** 2).sum()


def ldam(z, P, counts, s=30.0, max_m=0.5):
    m = 1 / np.sqrt(np.sqrt(np.array(counts, dtype=float)))
    return ce(s * (z - P * m * max_m / m.max()), P)


def seql_all(z, P, counts, lambda_=0.005):
    """With γ = 1 nothing is random."""
    rare = np.array(counts) / np.sum(counts) < lambda_
    w = np.where(rare & (P == 0), 0.0, 1.0)
    return -(P * np.log(np.exp(z) / (w * np.exp(z)).sum())).sum()


def logit_adjusted(z, P, counts, tau=1.0):
    return ce(z + tau * np.log(np.array(counts) / np.sum(counts)), P)


def balanced_softmax(z, P, counts):
    n = np.array(counts, dtype=float)
    return -(P * np.log(n * np.exp(z) / (n * np.exp(z)).sum())).sum()


def pixels(logits, target, ignore=255):
    """Yield (index of the pixel, its logits, its labels P) of the pixels that count."""
    z, classes = np.moveaxis(logits, 1, -1), max(logits.shape[1], 2)
    soft = target.ndim == logits.ndim
    for index in np.ndindex(*z.shape[:-1]):
        if soft:
            yield index, z[index], np.moveaxis(target, 1, -1)[index]
        elif target[index] != ignore:
            yield index, z[index], np.eye(classes)[target[index]]


def mean(term, logits, target, weights=None, by_weights=False, **parameters):
    """Σ w_y loss / N, or / Σ w_y."""
    total = below = 0.0
    for _, z, P in pixels(logits, target):
        w = 1.0 if weights is None else (P * weights).sum()
        total += w * term(z, P, **parameters)
        below += w if by_weights else 1
    return total / below


def effective_number(counts, beta):
    w = np.array([(1 - beta) / (1 - beta**n) for n in counts])
    return len(w) * w / w.sum()


def difficulty(accuracy, tau="dynamic"):
    accuracy = np.array(accuracy)
    if tau == "dynamic":
        tau = 2 * sigmoid(accuracy.max() / (accuracy.min() + 0.01) - 1)
    w = (1 - accuracy) ** tau
    return len(w) * w / w.sum()


def topk(logits, target, k=0.1, weights=None, label_smoothing=0.0):
    each = sorted(
        (1.0 if weights is None else (P * weights).sum()) * ce(z, P, label_smoothing)
        for _, z, P in pixels(logits, target)
    )
    count = max(round(k * len(each)), 1)
    return sum(each[-count:]) / count


def recall(logits, target, weights=None):
    classes = logits.shape[1]
    found, there = np.zeros(classes), np.zeros(classes)
    for _, z, P in pixels(logits, target):
        there += P
        found += P * (np.arange(classes) == z.argmax())
    missed = 1 - found / np.maximum(there, 1e-300)
    return mean(lambda z, P: (P * missed).sum() * ce(z, P), logits, target, weights)


def region(of_class, logits, target, per_image=False, classes="present", weights=None, **parameters):
    """Mean over the counted classes of each unit, then over units; `of_class(items, c)` of a unit's [(index, z, P)]."""
    items, count = list(pixels(logits, target)), logits.shape[1]
    units = [[item for item in items if item[0][0] == n] for n in range(len(logits))] if per_image else [items]
    w = np.ones(count) if weights is None else np.array(weights)
    means = []
    for unit in units:
        if not unit:
            continue
        there = sum(P for _, _, P in unit)
        counted = [c for c in range(count) if classes == "all" or there[c] > 0]
        means.append(sum(w[c] * of_class(unit, c, **parameters) for c in counted) / w[counted].sum())
    return np.mean(means)


def _sums(unit, c):
    p, t = np.array([softmax(z)[c] for _, z, _ in unit]), np.array([P[c] for _, _, P in unit])
    return p, t


def dice(unit, c, smooth=0.0, squared=False):
    p, t = _sums(unit, c)
    both, below = ((p * t).sum(), (p**2 + t**2).sum()) if squared else (np.minimum(p, t).sum(), (p + t).sum())
    return 1 - (2 * both + smooth) / (below + smooth)


def tversky(unit, c, alpha=0.3, beta=0.7, smooth=0.0):
    p, t = _sums(unit, c)
    tp, fp, fn = np.minimum(p, t).sum(), np.maximum(p - t, 0).sum(), np.maximum(t - p, 0).sum()
    return 1 - (tp + smooth) / (tp + alpha * fp + beta * fn + smooth)


def iou(unit, c, smooth=0.0):
    p, t = _sums(unit, c)
    return 1 - (np.minimum(p, t).sum() + smooth) / (np.maximum(p, t).sum() + smooth)


def focal_tversky(unit, c, gamma=4 / 3, **parameters):
    return tversky(unit, c, **parameters) ** (1 / gamma)


def generalized_dice(logits, target, smooth=0.0, per_image=False, weights=None):
    items, classes = list(pixels(logits, target)), range(logits.shape[1])
    units = [[item for item in items if item[0][0] == n] for n in range(len(logits))] if per_image else [items]
    w = np.ones(len(classes)) if weights is None else np.array(weights)
    losses = []
    for unit in filter(None, units):
        both = either = smooth
        for c in classes:
            p, t = _sums(unit, c)
            if t.sum() > 0:
                both += 2 * w[c] * np.minimum(p, t).sum() / t.sum() ** 2
                either += w[c] * (p.sum() + t.sum()) / t.sum() ** 2
        losses.append(1 - both / either)
    return np.mean(losses)


def lovasz_extension(errors, truth):
    """Σ e_(k) [J(the k largest errors are mistakes) − J(k − 1)], J worked out from the sets themselves."""
    order, mistakes, before, total = np.argsort(-errors, kind="stable"), np.zeros(len(errors), bool), 0.0, 0.0
    for k in order:
        mistakes[k] = True
        predicted = truth ^ mistakes
        jaccard = 1 - (predicted & truth).sum() / (predicted | truth).sum() if (predicted | truth).any() else 0.0
        total += errors[k] * (jaccard - before)
        before = jaccard
    return total


def lovasz(unit, c):
    p, t = _sums(unit, c)
    return lovasz_extension(np.abs(t - p), t > 0)


def lovasz_hinge(unit, c):
    z, t = np.array([z[c] for _, z, _ in unit]), np.array([P[c] for _, _, P in unit])
    return lovasz_extension(np.maximum(0, 1 - (2 * t - 1) * z), t > 0)


def mcc(unit, c):
    p, t = _sums(unit, c)
    tp, fp, fn = np.minimum(p, t).sum(), np.maximum(p - t, 0).sum(), np.maximum(t - p, 0).sum()
    tn = len(unit) - tp - fp - fn
    return 1 - (tp * tn - fp * fn) / np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))


def unified_focal(logits, target, lambda_=0.5, delta=0.6, gamma=0.5, symmetric=False, smooth=0.0, weights=None):
    def of_class(unit, c):
        loss = tversky(unit, c, alpha=1 - delta, beta=delta, smooth=smooth)
        return loss ** (1 - gamma) if symmetric or c > 0 else loss

    def of_pixel(z, P):
        p = softmax(z)
        shares = np.where(np.arange(len(z)) > 0, delta, 1 - delta)
        powers = np.where((np.arange(len(z)) == 0) | symmetric, gamma, 0.0)
        return -(P * shares * (1 - p) ** powers * np.log(p)).sum()

    overlaps = region(of_class, logits, target, weights=weights)
    return lambda_ * overlaps + (1 - lambda_) * mean(of_pixel, logits, target)


def topk_below(logits, target, threshold, min_kept=1):
    each = sorted(((ce(z, P), np.exp(-ce(z, P))) for _, z, P in pixels(logits, target)), reverse=True)
    chosen = [loss for index, (loss, p) in enumerate(each) if p < threshold or index < min_kept]
    return np.mean(chosen)


def skeleton(x, iterations):
    """Of one map, by the filters of SciPy."""
    if x.ndim == 0:
        return 0 * x
    cross = ndimage.generate_binary_structure(x.ndim, 1)

    def eroded(x):
        return ndimage.minimum_filter(x, footprint=cross, mode="nearest")

    def beyond_opening(x):
        return np.maximum(x - ndimage.maximum_filter(eroded(x), size=3, mode="nearest"), 0)

    found = beyond_opening(x)
    for _ in range(iterations):
        x = eroded(x)
        rest = beyond_opening(x)
        found = found + np.maximum(rest - found * rest, 0)
    return found


def dense(logits, target):
    """Probabilities and labels as maps (N, C, *spatial), 0 where ignored."""
    p, t = np.zeros(logits.shape), np.zeros(logits.shape)
    for (n, *index), z, P in pixels(logits, target):
        p[(n, slice(None), *index)], t[(n, slice(None), *index)] = softmax(z), P
    return p, t


def of_foreground(of_class, logits, target, per_image=False, weights=None):
    """Mean over the foreground classes of each unit, then over units; `of_class(p, t)` of a unit's maps of a class."""
    p, t = dense(logits, target)
    units = [slice(n, n + 1) for n in range(len(p))] if per_image else [slice(None)]
    w = np.ones(p.shape[1]) if weights is None else np.array(weights)
    means = []
    for unit in units:
        there = [c for c in range(1, p.shape[1]) if t[unit, c].any()]
        if there:
            means.append(sum(w[c] * of_class(p[unit, c], t[unit, c]) for c in there) / w[there].sum())
    return np.mean(means)


def cldice(p, t, iterations=3, smooth=1.0):
    of_p, of_t = (np.stack([skeleton(x, iterations) for x in maps]) for maps in (p, t))
    a = ((of_p * t).sum() + smooth) / (of_p.sum() + smooth)
    b = ((of_t * p).sum() + smooth) / (of_t.sum() + smooth)
    return 1 - 2 * a * b / (a + b)


def skeleton_recall(p, t, iterations=10, tube=2, smooth=0.0):
    lines = []
    for x in t:
        line = skeleton(x, iterations)
        for _ in range(tube if x.ndim else 0):
            line = ndimage.maximum_filter(line, size=3, mode="nearest")
        lines.append(line * x)
    line = np.stack(lines)
    if line.sum() + smooth == 0:
        return 0.0
    return 1 - ((p * line).sum() + smooth) / (line.sum() + smooth)


def blob(p, t, of=lambda tp, fp, fn: 1 - 2 * tp / (2 * tp + fp + fn)):
    losses = []
    for n in range(len(p)):
        shape = (3,) * t[n].ndim
        numbers, count = ndimage.label(t[n], np.ones(shape)) if t[n].ndim else (t[n].astype(int), int(t[n]))
        for k in range(1, count + 1):
            here = numbers == k
            losses.append(of((p[n] * here).sum(), (p[n] * (t[n] == 0)).sum(), ((1 - p[n]) * here).sum()))
    return np.mean(losses)


def boundary(logits, target, per_image=False, classes="present", weights=None):
    shape = target.shape[1:]
    grid = list(itertools.product(*map(range, shape)))

    def distance(n, c, here):
        inside = target[n][here] == c
        other = [g for g in grid if (target[n][g] == c) != inside]
        if not other:
            return 0.0
        d = min(np.sqrt(sum((a - b) ** 2 for a, b in zip(here, g, strict=True))) for g in other)
        return 1 - d if inside else d

    def of_class(unit, c):
        return sum(distance(index[0], c, index[1:]) * softmax(z)[c] for index, z, _ in unit) / len(unit)

    return region(of_class, logits, target, per_image, classes, weights)
