"""The losses as their papers write them, in NumPy float64, pixel by pixel; independent of the torch code."""

import numpy as np


def softmax(z):
    e = np.exp(z - z.max())
    return e / e.sum()


def ce(z, y, **_):
    return -np.log(softmax(z)[y])


def focal(z, y, gamma=2.0, alpha=None, **_):
    p = softmax(z)[y]
    a = 1.0 if alpha is None else np.broadcast_to(alpha, len(z))[y]
    return -a * (1 - p) ** gamma * np.log(p)


def dfl(z, y, **_):
    p, one_hot = softmax(z), np.eye(len(z))[y]
    return -np.log(1 - (one_hot - p) ** 2).sum()


def mse_ol(z, y, counts, alpha=1.0, **_):
    by_size = sorted(range(len(counts)), key=lambda c: (-counts[c], c))
    label = alpha * (by_size.index(y) + 1)
    return sum(0.5 * (z[k] - (label if k == y else 0.0)) ** 2 for k in range(len(z)))


def pixels(logits, target, ignore=255):
    """Yield (image, logits of a pixel, label) of the pixels that count."""
    z = np.moveaxis(logits, 1, -1)
    for index in np.ndindex(*target.shape):
        if target[index] != ignore:
            yield index[0], z[index], int(target[index])


def mean(term, logits, target, weights=None, **parameters):
    values = [(1.0 if weights is None else weights[y]) * term(z, y, **parameters) for _, z, y in pixels(logits, target)]
    return sum(values) / len(values)


def dice(logits, target, smooth=0.0, squared=False, classes="present"):
    c = logits.shape[1]
    tp, p_sum, t_sum = np.zeros(c), np.zeros(c), np.zeros(c)
    for _, z, y in pixels(logits, target):
        p, t = softmax(z), np.eye(c)[y]
        tp += p * t
        p_sum += p**2 if squared else p
        t_sum += t
    loss = 1 - (2 * tp + smooth) / (p_sum + t_sum + smooth)
    return loss[t_sum > 0].mean() if classes == "present" else loss.mean()
