"""Makes docs/losses.md and its pictures from the code: `make docs`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

import segloss
from docs import plots
from engine.configuration.named import description_of, documentation_of, keys_of

FOLDER = Path(__file__).parent
GIVEN = ("num_classes", "class_counts", "ignore_index", "reduction")
"""Parameters that every loss has and YAML has not."""
GROUPS = {
    "Of the true class's probability": (
        "ce",
        "wce",
        "focal",
        "cefl",
        "cefl2",
        "poly1",
        "topk",
        "recall",
        "cb_ce",
        "cdb_ce",
    ),
    "Of all classes' probabilities": ("dfl", "dfl2021", "dce", "seql"),
    "Of shifted logits": ("ldam", "logit_adjusted", "balanced_softmax"),
    "One class against the rest": ("sigmoid_ce", "sigmoid_focal", "cb_sigmoid", "cb_focal"),
    "Of raw logits": ("mse", "mse_ol"),
    "Of regions": (
        *("dice", "generalized_dice", "iou", "tversky", "focal_tversky", "mcc", "unified_focal"),
        *("lovasz", "lovasz_hinge", "boundary", "blob", "cldice", "skeleton_recall"),
    ),
}
REFERENCES = {
    "Abhishek 2021": "Matthews correlation coefficient loss for deep convolutional networks: application to skin lesion segmentation, ISBI",
    "Abraham 2019": "A novel focal Tversky loss function with improved attention U-Net for lesion segmentation, ISBI",
    "Berman 2018": "The Lovász-softmax loss: a tractable surrogate for the optimization of the IoU measure, CVPR",
    "Cao 2019": "Learning imbalanced datasets with label-distribution-aware margin loss, NeurIPS",
    "Cui 2019": "Class-balanced loss based on effective number of samples, CVPR",
    "ENet, 2016": "Paszke: ENet, a deep neural network architecture for real-time semantic segmentation, arXiv:1606.02147",
    "Hossain 2019": "Adaptive class weight based dual focal loss for improved semantic segmentation, preprint; withdrawn by its author in 2020",
    "Hossain 2021": "Dual focal loss to address class imbalance in semantic segmentation, Neurocomputing 462",
    "Kato": "MSE loss with outlying label for imbalanced classification, arXiv",
    "Kervadec 2019": "Boundary loss for highly unbalanced segmentation, MIDL",
    "Kirchhoff 2024": "Skeleton recall loss for connectivity conserving and resource efficient segmentation of thin tubular structures, ECCV",
    "Kofler 2022": "blob loss: instance imbalance aware loss functions for semantic segmentation, arXiv:2205.08209",
    "Leng 2022": "PolyLoss: a polynomial expansion perspective of classification loss functions, ICLR",
    "Li 2019": "Dual cross-entropy loss for small-sample fine-grained vehicle classification, IEEE TVT 68",
    "Lin 2017": "Focal loss for dense object detection, ICCV",
    "Liu 2019": "Large-scale long-tailed recognition in an open world, CVPR",
    "Menon 2021": "Long-tail learning via logit adjustment, ICLR",
    "Milletari 2016": "V-Net: fully convolutional neural networks for volumetric medical image segmentation, 3DV",
    "Rahman 2016": "Optimizing intersection-over-union in deep neural networks for image segmentation, ISVC",
    "Ren 2020": "Balanced meta-softmax for long-tailed visual recognition, NeurIPS",
    "Ronneberger 2015": "U-Net: convolutional networks for biomedical image segmentation, MICCAI",
    "Salehi 2017": "Tversky loss function for image segmentation using 3D fully convolutional deep networks, MLMI",
    "SegNet, 2015": "Badrinarayanan: SegNet, a deep convolutional encoder-decoder architecture, arXiv:1511.00561",
    "Shit 2021": "clDice, a novel topology-preserving loss function for tubular structure segmentation, CVPR",
    "Shrivastava 2016": "Training region-based object detectors with online hard example mining, CVPR",
    "Sinha 2020": "Class-wise difficulty-balanced loss for solving class-imbalance, ACCV",
    "Sudre 2017": "Generalised Dice overlap as a deep learning loss function for highly unbalanced segmentations, DLMIA",
    "Tan 2020": "Equalization loss for long-tailed object recognition, CVPR",
    "Tian 2022": "Striking the right balance: recall loss for semantic segmentation, ICRA",
    "Wang 2020": "Class balanced loss for image classification, IEEE Access 8",
    "Wang 2023": "Dice semimetric losses: optimizing the Dice score with soft labels, MICCAI; Jaccard metric losses, NeurIPS",
    "Wu 2016": "Bridging category-level and instance-level semantic image segmentation, arXiv:1605.06885",
    "Yeung 2022": "Unified focal loss: generalising Dice and cross entropy-based losses to handle class imbalanced medical image segmentation, CMIG 95",
}
INTRODUCTION = """\
# The losses

Made from the code by `make docs`; the formulas, defaults and numbers below are those of the functions themselves.

Every loss is called `loss(logits, target, mask=None)` with raw logits z `(N, C, *spatial)` and integer labels `(N, *spatial)`, or
soft labels P `(N, C, *spatial)` where the loss allows them; p = softmax(z), q = sigmoid(z), y the true class of a pixel, n_c the
training pixels of class c.

- **Mean**: over the valid pixels. Region losses average over classes, and with `per_image` over images.
- **Ignored pixels** (`ignore_index`, 255, or `mask` false; of soft labels `mask` alone) are blanked before softmax: out of the sum, the denominator and the gradient,
  even where a logit is NaN. All ignored, or an empty batch: 0 with zero gradients.
- **Precision**: float32 inside, float64 for float64 logits, whatever autocast says; no probability is clamped, so value and gradient are finite
  and right at logits of ±10⁴ and at saturated pixels.
- **A binary logit** (C = 1) is two classes `[0, x]`; the one-vs-rest losses see x itself. Weights and counts are those of two classes.
- **Soft labels** P: least at p = P, so that their probabilities are learnt, are `ce` and its weighted forms, `dfl`, `dfl2021` (with `rho` 1), `sigmoid_ce`, `cb_sigmoid`,
  `mse` (at z = P) and `dice`, `iou`, `tversky`, `focal_tversky`, `generalized_dice`. The others that take them (`focal`, `dce`, `cefl`, `poly1`, `ldam`, …) weigh them and are least elsewhere.
- **`torch.compile`** makes one graph of each loss but `boundary` and `blob` from torch 2.12 on; before it, down to torch 2.6, use them as they are.
- **A foreign label** is a `ValueError` on the CPU, and a NaN loss on the GPU, in compiled graphs and under `torch.func`.
- **Gradients** reach the logits, and soft labels, class weights, margins, priors, α and denominators that require one: the batch is then
  computed in one piece. `torch.func.grad` and `vmap` work so too, but for `vmap` of `boundary`, `blob` and `seql`, which look at labels and draw.
- **Compiled whole** (`fullgraph=True`) are all of them but `boundary` and `blob`, whose loops depend on the data; of `lovasz` and `lovasz_hinge` it is not promised.
- **Batches in parts**: over micro-batches or ranks add up `loss.denominator(target)` and pass it as `denominator`. Pixelwise losses then give
  exactly the large batch's value; region losses, `topk` and `unified_focal` their average. Overlap losses (`dice`, `iou`, `tversky`, `focal_tversky`, `generalized_dice`,
  `mcc`) are functions of sums: add up `loss.sums(logits, target)`, `(C, 3)`, and `loss.of_sums(total)` is exactly the large batch's value too.
- **Parameters go by name**, `FocalLoss(gamma=2.0)`. One of another library (`include_background`, `softmax`, `weight`, `mode`, …) is refused with what it is here.
- **Labels** may have a channel axis of 1, `(N, 1, *spatial)`, and be bool for two classes; so may a mask. A weight a pixel, partial and overlapping labels:
  [which loss for which label](#which-loss-for-which-label).
- **Four traps**: a binary mask of 0 and 255, as PNG holds it, must become 0 and 1 first, or all of its foreground is ignored. Probabilities are
  no logits: the numbers come out plausible and wrong. Of both a loss warns once (`segloss.LossInputWarning`), on a CPU. Soft labels must sum to 1 over the classes, but for the losses with sigmoid or raw logits. Dice and
  its kin count the background as a class: `class_weights: [0, 1, …]` leaves it out.

What every loss takes in Python; in YAML the data set gives them:

| parameter | meaning |
|---|---|
{SHARED}

`wce`, the `cb_*` losses, `mse_ol`, `ldam`, `seql`, `logit_adjusted`, `balanced_softmax` and every scheme of class weights need `class_counts`.

## Which one?

Measure before you believe: no loss below wins everywhere, and two seeds of one loss often differ by more than two losses do. Start
with `ce`, and with `[{name: dice}, {name: ce}]` for a single small foreground. For recall of rare classes try `logit_adjusted` or `wce`
with a mild scheme (`inverse_sqrt`); for easy background in the way `focal` or `topk`; for IoU `lovasz` after `ce`.
"""
LABELS = """\
## Which loss for which label

**One class a pixel**, `(N, *spatial)` integers: every loss. Classes exclude each other under softmax; `sigmoid_ce` and its kin treat each against the rest.

**Overlapping classes**, as the regions of BraTS (whole tumour, core, enhancing): targets `(N, C, *spatial)` of bool, integers or floats, 1 for every class that a pixel is of, and one
logit a class. `sigmoid_ce`, `sigmoid_focal`, and `dice`, `iou`, `tversky`, `focal_tversky`, `generalized_dice` with `sigmoid: true`; start with `[{name: dice, sigmoid: true}, {name: sigmoid_ce}]`.
`ignore_index` leaves out one class at one pixel, and so does a mask `(N, C, *spatial)`. All other losses refuse such targets. In YAML: `data.regions`
(docs/data.md).

**Partial labels**, where an image was labelled for some classes alone: `loss(logits, target, labelled=…)`, `(N, C)` bool. Softmax losses add the probabilities of the other classes to the
background's, class 0, of which their pixels were labelled (the marginal loss); losses with sigmoid leave the other classes out; overlap losses leave them out of the mean. Not for
`ldam`, `logit_adjusted`, `balanced_softmax`, `seql` and `mse`, whose classes cannot be merged, nor for losses that rank pixels or measure distances.

**A weight a pixel**, `(N, *spatial)` floating and ≥ 0: `loss(logits, target, weight=…)`. It multiplies what the pixel adds to the loss, or to the sums of an overlap loss; a mask is
its case of 0 and 1. The mean is still over pixels of a weight above 0; with `normalize: weights` it is over the weights. `segloss.border_weights(target, w0, sigma)` are those of
U-Net, which keep touching cells apart.

**Thin structures** (vessels, roads, nerves): `cldice` or `skeleton_recall` beside `dice`. **Many small lesions**, each as important: `blob` beside `dice`.

**Soft labels**, `(N, C, *spatial)` floating, from several raters, from resizing or from a teacher: the losses that are least at p = P (see above). Under softmax they sum to 1.

**Several resolutions**, as of nnU-Net's decoder: `segloss.DeepSupervision(loss, weights)(outputs, target)`; labels are brought down by the nearest pixel.
"""
FOLLOWING = """\
## Losses that follow the training

Class weights may join late (deferred re-weighting, Cao 2019): `class_weights: {name: effective_number, beta: 0.9999, unit: image, from_epoch: 160}`, in the mapping of any
scheme and for every loss that takes class weights, are 1 before that epoch, counted from 0; `ldam` has it as `drw_epoch` too. They and a weight of a sum that follows the epochs
(`[{name: dice}, {name: boundary, weight: {from: 0.01, to: 1}}]` in YAML; in Python with `epochs` too) need the epoch, `cdb_ce` the class recalls of the last validation. Both are
passed on in one way, which every loss and every weighted sum has, and which most ignore. `train_seg.py` does it; in your own loop it is one line:

```python
for epoch in range(epochs):
    loss.new_epoch(epoch, class_accuracy)  # recalls of the last validation, None before the first
    ...
```

What they keep is in their buffers, so `loss.state_dict()` holds it and `loss.to(device)` moves it. `loss.follows_validation` tells whether a loss
needs the recalls.
"""
ACW = """\
## The adaptive class-weight layer

`segloss.AdaptiveClassWeight(num_classes, init=1.0, constraint="none")`, or `model: {acw: true}` in YAML, which with `dfl` is ADFL.

"""


def page() -> str:
    """The text of docs/losses.md, without what other libraries say."""
    return "\n".join(
        [
            INTRODUCTION.replace("{SHARED}", "\n".join(_shared())),
            LABELS,
            *_contents(),
            *_losses(),
            FOLLOWING,
            *_weights(),
            *_acw(),
            *_figures(),
            *references(REFERENCES),
        ]
    )


def _shared() -> Iterator[str]:
    for name in GIVEN:
        yield f"| `{name}` | {escaped(description_of(name, documentation_of(segloss.SegmentationLoss)) or '')} |"


def _contents() -> Iterator[str]:
    yield "## All of them\n"
    for group, names in GROUPS.items():
        yield f"**{group}**\n"
        yield "| name | class | a pixel's, or a class's, value |"
        yield "|---|---|---|"
        for name in names:
            formula = escaped(paragraphs_of(segloss.LOSSES[name])[0])
            yield f"| [`{name}`](#{name}) | `{segloss.LOSSES[name].__name__}` | {formula} |"
        yield ""


def _losses() -> Iterator[str]:
    for name, loss in segloss.LOSSES.items():
        formula, *rest = paragraphs_of(loss)
        yield f"### {name}\n"
        yield f"`segloss.{loss.__name__}`, `{{name: {name}}}` in YAML. {formula}\n"
        yield from (f"{paragraph}\n" for paragraph in rest)
        yield from parameter_table(loss)
        yield f"\n![{name}](losses/{name}.png)\n"
        if plots.BY_CLASS.get(name):
            shown = ", ".join(f"{key} {value}" for key, value in plots.BY_CLASS[name].items())
            yield f"Drawn with {shown}.\n"


def _weights() -> Iterator[str]:
    yield "## Class weights\n"
    yield (
        "`class_weights` of a loss is a list, or a scheme: its name or `{name: …, **parameters}`. Schemes are computed from "
        "`ClassCounts` of the training data, in float64. A class with zero count gets weight 0 and a warning that names it.\n"
    )
    for name, scheme in segloss.CLASS_WEIGHTS.items():
        yield f"- `{name}`: {paragraphs_of(scheme)[0]}"
    yield "\nOn counts of 9000, 900 and 100 pixels:\n"
    counts = segloss.ClassCounts([9000, 900, 100], pixels_of_images=[10000, 5000, 2000])
    yield "| scheme | weights |"
    yield "|---|---|"
    for name, scheme in segloss.CLASS_WEIGHTS.items():
        yield f"| `{name}` | {', '.join(f'{w:.3f}' for w in scheme(counts).tolist())} |"
    yield ""


def _acw() -> Iterator[str]:
    yield ACW
    yield from (f"{paragraph}\n" for paragraph in paragraphs_of(segloss.AdaptiveClassWeight))


def _figures() -> Iterator[str]:
    yield "## The papers' figures, drawn from these functions\n"
    for file, title in {
        "adfl_fig1": "Hossain 2019, Fig. 1: CE, FL and DFL of a true and of a false class. On the true class DFL lies below CE.",
        "cefl_fig3": "Wang 2020, Fig. 3: focal loss.",
        "cefl_fig4": "Wang 2020, Fig. 4: CEFL and CEFL2 between CE and FL.",
        "cefl_fig5": "Wang 2020, Fig. 5: the weights of CE and FL in CEFL and CEFL2.",
        "cb_weights": "Cui 2019: the class-balanced weight over the number of samples; flat where βⁿ vanishes.",
    }.items():
        yield f"![{title}](losses/{file}.png)\n\n{title}\n"


def parameter_table(factory: Callable[..., Any]) -> Iterator[str]:
    """The parameters that YAML may set."""
    yield "| parameter | default | meaning |"
    yield "|---|---|---|"
    for parameter in keys_of(factory):
        meaning = escaped(description_of(parameter.name, documentation_of(factory)) or "")
        yield f"| `{parameter.name}` | `{as_yaml(parameter.default)}` | {meaning} |"


def references(works: Mapping[str, str]) -> Iterator[str]:
    """The last section of a page: authors and year, and the work."""
    yield "## References\n"
    yield from (f"- {who}: {what}." for who, what in works.items())
    yield ""


def other_libraries() -> str:
    """Other libraries' names, defaults and traps, measured on this machine."""
    from docs import peers

    libraries = ("torch", "torchvision", "monai", "segmentation-models-pytorch", "kornia")
    versions = ", ".join(f"{name} {version(name)}" for name in libraries)
    lines = [
        "# Other libraries' losses\n",
        "Measured by `make docs`: both sides are computed on the same 2×4×8×7 logits, every class present, nothing ignored "
        f"({versions}). Theirs = factor × ours.\n",
        "| theirs | ours | factor | theirs | difference | what differs |",
        "|---|---|---|---|---|---|",
    ]
    for pair in peers.PAIRS:
        theirs, ours = (float(value) for value in pair.both(*pair.example()))
        parts = pair.ours if isinstance(pair.ours, list) else [{"name": pair.ours, **pair.parameters}]
        configured = " + ".join(
            f"`{{{', '.join(f'{key}: {as_yaml(value)}' for key, value in part.items())}}}`" for part in parts
        )
        factor = "1" if pair.factor == 1 else f"1/{1 / pair.factor:g}"
        close = abs(theirs - ours) < 1e-5
        difference = "< 1e-5" if close else f"{theirs - ours:+.3f}"
        lines.append(
            f"| {pair.library} `{pair.theirs}` | {configured} | {factor} | {theirs:.4f} | {difference} | {pair.note} |"
        )
    lines += [
        "\n## Traps\n",
        "The same inputs, with `ignore_index=255`: the value, and whether the gradient is finite. Right are 0, a number with a finite gradient, an "
        "error that names the label, 0, and for float16 the number of float32 (CE and focal 1.39 and 1.20, Dice 0.75).\n",
    ]
    nasty = list(peers.traps())
    lines += ["| | " + " | ".join(trap.name for trap in nasty) + " |", "|---" * (len(nasty) + 1) + "|"]
    for name, call in peers.TRAPPED.items():
        lines.append(f"| {name} | " + " | ".join(peers.outcome(call, trap) for trap in nasty) + " |")
    return "\n".join([*lines, ""])


def paragraphs_of(what: Any) -> list[str]:
    """The paragraphs of a docstring before its sections and examples."""
    text = inspect.getdoc(what) or ""
    text = re.split(r"\n\n(?:Args|Attributes|Raises|Returns|Warns|>>>)", text)[0]
    return [prose(paragraph) for paragraph in text.split("\n\n")]


def prose(text: str) -> str:
    """Text on one line, in which no index of a formula, as in p_(k), begins emphasis."""
    return re.sub(r"_(?=[({])", r"\_", " ".join(text.split()))


def escaped(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|")


def as_yaml(value: Any) -> str:
    """A plain value as YAML writes it, a third as a fraction."""
    words = {True: "true", False: "false", None: "null"}
    if isinstance(value, float) and value == 4 / 3:
        return "4/3"
    return words[value] if value is None or isinstance(value, bool) else str(value)


def main() -> None:
    """Write the pages and the pictures."""
    torch.set_num_threads(1)
    (FOLDER / "losses.md").write_text(page(), encoding="utf-8")
    (FOLDER / "peers.md").write_text(other_libraries(), encoding="utf-8")
    (FOLDER / "losses").mkdir(exist_ok=True)
    for name in segloss.LOSSES:
        plots.save(plots.picture(name), FOLDER / "losses" / f"{name}.png")
    for name, figure in plots.paper_figures().items():
        plots.save(figure, FOLDER / "losses" / f"{name}.png")


if __name__ == "__main__":
    main()
