"""The pictures of docs/losses.md, drawn from the functions of segloss: one a loss, and the papers' figures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

import segloss
from segloss import functional as f
from segloss.class_weights import effective_number
from segloss.pixelwise import PixelwiseLoss

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00"]
GREY = "#777777"
COUNTS = [9000, 900, 100]
CLASSES = ["90 %", "9 %", "1 %"]
P = torch.linspace(0.002, 0.998, 250, dtype=torch.float64)
VARIANTS: dict[str, Sequence[Mapping[str, Any]]] = {
    "ce": [{}, {"label_smoothing": 0.1}],
    "focal": [{"gamma": g} for g in (0.5, 1.0, 2.0, 5.0)],
    "sigmoid_focal": [{"gamma": g} for g in (0.5, 1.0, 2.0, 5.0)],
    "dfl2021": [{}, {"gamma": 2.0}, {"rho": 1.1}],
    "dce": [{}, {"alpha": 1.5}, {"beta": 3.0}],
    "cefl": [{"gamma": g} for g in (1.0, 2.0, 5.0)],
    "cefl2": [{"gamma": g} for g in (1.0, 2.0, 5.0)],
    "poly1": [{"epsilon": e} for e in (-1.0, 1.0, 2.0)],
    "tversky": [{}, {"alpha": 0.5, "beta": 0.5}, {"alpha": 0.7, "beta": 0.3}],
    "focal_tversky": [{"gamma": g} for g in (1.0, 4 / 3, 2.0)],
    "dice": [{}, {"squared": True}],
    "boundary": [{}],
    "unified_focal": [{}, {"symmetric": True}],
    "cldice": [{"iterations": 3}, {"iterations": 10}],
    "blob": [{}, {"of": "iou"}],
}
BY_CLASS: dict[str, Mapping[str, Any]] = {
    "wce": {},
    "cb_ce": {"beta": 0.999},
    "cb_sigmoid": {"beta": 0.999},
    "cb_focal": {"beta": 0.999},
    "mse_ol": {},
    "ldam": {"s": 4.0},
    "cdb_ce": {},
    "logit_adjusted": {},
    "balanced_softmax": {},
    "seql": {"gamma": 1.0, "lambda_": 0.05},
}


def picture(name: str) -> Figure:
    """The loss and its gradient, against what the loss looks at."""
    figure = Figure(figsize=(8, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    loss = segloss.LOSSES[name]
    if name in ("recall", "topk"):
        _batch(name, left, right)
    elif issubclass(loss, PixelwiseLoss):
        _pixels(name, left, right)
    else:
        _regions(name, left, right)
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=7, frameon=False)
    return figure


def _label(parameters: Mapping[str, Any]) -> str:
    shown = ", ".join(f"{k} {v:.3g}" if isinstance(v, float) else f"{k} {v}" for k, v in parameters.items())
    return shown or "defaults"


def _draw(name: str, true: int, parameters: Mapping[str, Any], accuracy: Sequence[float] | None = None) -> Any:
    """Value and gradient of the true class's logit where that class has p, and the two others share the rest."""
    loss = segloss.build_loss(name, num_classes=3, class_counts=COUNTS, reduction="none", **parameters)
    loss.double().new_epoch(1, accuracy)
    rest = torch.log((1 - P) / 2)
    logits = torch.stack([rest, rest, rest], 1)
    logits[:, true] = torch.log(P)
    if loss.activation == "sigmoid":
        logits = torch.stack([torch.log((1 - P) / P)] * 3, 1)
        logits[:, true] = torch.log(P / (1 - P))
    if loss.activation == "none":
        logits = torch.zeros(len(P), 3, dtype=torch.float64)
        logits[:, true] = 6 * P - 1
    logits.requires_grad_()
    value = loss(logits, torch.full((len(P),), true))
    (gradient,) = torch.autograd.grad(value.sum(), logits)
    return value.detach(), -gradient[:, true]


def _pixels(name: str, left: Axes, right: Axes) -> None:
    activation = segloss.LOSSES[name].activation
    x = 6 * P - 1 if activation == "none" else P
    if name in BY_CLASS:
        accuracy = [0.95, 0.8, 0.4] if name == "cdb_ce" else None
        labels = [f"class of recall {a}" for a in accuracy] if accuracy else [f"class of {share}" for share in CLASSES]
        lines = [(c, BY_CLASS[name], labels[c]) for c in range(3)]
    else:
        accuracy = None
        lines = [(1, parameters, _label(parameters)) for parameters in VARIANTS.get(name, [{}])]
    for (true, parameters, label), colour in zip(lines, COLOURS, strict=False):
        value, gradient = _draw(name, true, parameters, accuracy)
        left.plot(x, value, color=colour, label=label)
        right.plot(x, gradient, color=colour, label=label)
    if name != "ce" and activation == "softmax":
        value, gradient = _draw("ce", 1, {})
        left.plot(x, value, color=GREY, ls="--", lw=1, label="ce")
        right.plot(x, gradient, color=GREY, ls="--", lw=1, label="ce")
    at = {
        "softmax": "p of the true class",
        "sigmoid": "q of the true class, 1 − q of the others",
        "none": "logit of the true class, others 0",
    }
    for axes, title in ((left, "loss of a pixel"), (right, "pull on the true class's logit")):
        axes.set_xlabel(at[activation], fontsize=8)
        axes.set_title(title, fontsize=9)
    if activation != "none" and name != "ldam":
        left.set_ylim(0, min(left.get_ylim()[1], 6))


def _batch(name: str, left: Axes, right: Axes) -> None:
    """100 pixels of one class, of which a share is found."""
    shares = np.arange(0, 101, 2)
    curves: dict[str, list[float]] = {name: [], "ce": []}
    gradients: dict[str, list[float]] = {name: [], "ce": []}
    for found in shares:
        logits = torch.zeros(100, 2, dtype=torch.float64)
        logits[:found, 0], logits[found:, 1] = 2.0, 2.0
        for loss_name in curves:
            z = logits.clone().requires_grad_()
            value = segloss.build_loss(loss_name)(z, torch.zeros(100).long())
            (gradient,) = torch.autograd.grad(value, z)
            curves[loss_name].append(float(value.detach()))
            gradients[loss_name].append(float(-gradient[:, 0].sum()))
    for loss_name, colour, style in ((name, COLOURS[0], "-"), ("ce", GREY, "--")):
        left.plot(shares, curves[loss_name], color=colour, ls=style, label=loss_name)
        right.plot(shares, gradients[loss_name], color=colour, ls=style, label=loss_name)
    left.set_title("loss of 100 pixels of a class", fontsize=9)
    right.set_title("pull on the class's logits, summed", fontsize=9)
    for axes in (left, right):
        axes.set_xlabel("pixels found (p = 0.88; the others at 0.12)", fontsize=8)


def _disc(radius: float) -> Tensor:
    rows, columns = torch.meshgrid(torch.arange(48.0), torch.arange(48.0), indexing="ij")
    return ((rows - 23.5) ** 2 + (columns - 23.5) ** 2).sqrt() - radius


def _regions(name: str, left: Axes, right: Axes) -> None:
    """A disc of radius 8 as the target; predicted with another radius, or with a false spot beside it."""
    target = (_disc(8) < 0).long().unsqueeze(0)
    radii = np.linspace(0.5, 16, 32)
    spots = np.arange(0, 10)
    for parameters, colour in zip(VARIANTS.get(name, [{}]), COLOURS, strict=False):
        loss = segloss.build_loss(name, **parameters)
        left.plot(radii, [_of(loss, _disc(r), target) for r in radii], color=colour, label=_label(parameters))
        values = []
        for size in spots:
            predicted = _disc(8)
            predicted[:size, :size] = -2
            values.append(_of(loss, predicted, target))
        right.plot(spots, values, color=colour, label=_label(parameters))
    left.axvline(8, color=GREY, lw=1, ls=":", label="true radius")
    left.set_title("loss of a predicted disc", fontsize=9)
    left.set_xlabel("its radius in pixels", fontsize=8)
    right.set_title("loss of a false spot in the corner", fontsize=9)
    right.set_xlabel("its side in pixels", fontsize=8)


def _of(loss: Any, outside: Tensor, target: Tensor) -> float:
    """The value for a prediction with a soft edge, from its signed distance."""
    x = (-2 * outside).clamp(-6, 6).unsqueeze(0)
    return float(loss(torch.stack([torch.zeros_like(x), x], 1), target))


def paper_figures() -> dict[str, Figure]:
    """The figures of the papers, drawn from our functions."""
    return {
        "adfl_fig1": _adfl(),
        "cefl_fig3": _cefl3(),
        "cefl_fig4": _cefl4(),
        "cefl_fig5": _cefl5(),
        "cb_weights": _class_balanced(),
    }


def _two(p: Tensor) -> Tensor:
    """Logits of two classes, the first at p."""
    return torch.stack([torch.log(p), torch.log(1 - p)], 1)


def _value(function: Any, p: Tensor, label: int = 0, **parameters: Any) -> Tensor:
    each: Tensor = function(_two(p), torch.full((len(p),), label), reduction="none", **parameters)
    return each


def _panel(axes: Axes, curves: Mapping[str, Tensor], **texts: Any) -> None:
    """Curves over p, each with its label."""
    for (label, values), colour in zip(curves.items(), COLOURS, strict=False):
        axes.plot(P, values, color=colour, label=label)
    axes.set(**{"xlabel": "p of the true class", **texts})
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _panels(*panels: tuple[Mapping[str, Tensor], Mapping[str, Any]]) -> Figure:
    """Panels side by side, each of its curves and texts."""
    figure = Figure(figsize=(5 if len(panels) == 1 else 8, 3), layout="constrained")
    for axes, (curves, texts) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        _panel(axes, curves, **texts)
    return figure


def _adfl() -> Figure:
    """Of two classes both terms of DFL are equal, so the term of one is half of its value."""
    true = {"CE": _value(f.ce, P), "FL, γ = 2": _value(f.focal, P), "DFL": _value(f.dfl, P) / 2}
    false = {"CE": 0 * P, "FL, γ = 2": 0 * P, "DFL": _value(f.dfl, P, label=1) / 2}
    shared = {"xlabel": "p of the class", "ylabel": "loss", "ylim": (-0.1, 5)}
    return _panels(
        (true, {"title": "(a) true class, P = 1", **shared}), (false, {"title": "(b) false class, P = 0", **shared})
    )


def _cefl3() -> Figure:
    curves = {f"γ = {gamma:g}": _value(f.focal, P, gamma=gamma) for gamma in (0.0, 0.5, 1.0, 2.0, 5.0)}
    return _panels((curves, {"ylabel": "focal loss", "ylim": (0, 5)}))


def _cefl4() -> Figure:
    functions = {"CE": f.ce, "FL, γ = 2": f.focal, "CEFL, γ = 2": f.cefl, "CEFL2, γ = 2": f.cefl2}
    curves = {label: _value(function, P) for label, function in functions.items()}
    return _panels((curves, {"ylabel": "loss", "ylim": (0, 5)}))


def _cefl5() -> Figure:
    """Loss = w CE + (1 − w) FL, solved for w at γ = 1, where FL = (1 − p) CE."""
    shares = {
        label: (_value(function, P, gamma=1.0) / _value(f.ce, P) - (1 - P)) / P
        for label, function in (("CEFL", f.cefl), ("CEFL2", f.cefl2))
    }
    return _panels(*(({"weight of CE": w, "weight of FL": 1 - w}, {"title": label}) for label, w in shares.items()))


def _class_balanced() -> Figure:
    """(1 − β)/(1 − βⁿ), which is 1 at n = 1: our weights over that of a class of one sample."""
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    n = np.unique(np.geomspace(1, 1e4, 60).round())
    for beta, colour in zip((0.9, 0.99, 0.999, 0.9999), COLOURS, strict=False):
        weights = effective_number(segloss.ClassCounts(n.tolist()), beta)
        axes.loglog(n, weights / weights[0], color=colour, label=f"β = {beta}")
    axes.loglog(n, 1 / n, color=GREY, ls="--", lw=1, label="1/n")
    _panel(axes, {}, xlabel="samples of the class", ylabel="(1 − β)/(1 − βⁿ)")
    return figure


def save(figure: Figure, path: Path) -> None:
    """As a small PNG of 64 colours."""
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=90)
    Image.open(drawn).convert("RGB").quantize(64).save(path, optimize=True)
