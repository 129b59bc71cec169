"""Break the code in hundreds of ways and see the tests catch each: `python tests/segloss_tests/mutate.py [NAME …]`.

A mutant is one replaced piece of source in a copy of the tree. Those of the losses are chosen by hand, and the tests of
the one loss must fail on each. Those of the modules in `TARGETS` are drawn from all operators, comparisons, conditions
and numbers of their code, and the tests beside them must fail; one that nothing can catch stands in `EXPLAINED` with
the reason. Prints a table and exits with 1 when a mutant survives. Takes about an hour of one core for all.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("segloss", "datasets", "models", "engine", "docs", "configs", "tests")
LOADED = ("numpy", "scipy.stats", "torch", "torchvision", "pytest", "hypothesis", "pydantic", "torchmetrics", "sklearn.metrics",
          "cv2", "nibabel", "SimpleITK", "albumentations", "lightning.fabric", "segmentation_models_pytorch", "monai.metrics")  # fmt: skip
"""What each child has from its parent, since importing it takes seconds."""
LONGEST = 300
"""Seconds of a child, after which it counts as caught: the mutant never ends."""
LOSS_TESTS = [f"tests/segloss/test_{name}.py" for name in ("losses", "loss_values", "loss_identities", "labels")]


@dataclass(frozen=True)
class Mutant:
    what: str
    file: str
    old: str
    new: str


def own(file, *breaks):
    return [Mutant(what, f"segloss/{file}", old, new) for what, old, new in breaks]


NAN = own(
    "tensors.py", ("NaN of ignored pixels kept", "return zeroed(grad, counted), None, None", "return grad, None, None")
)
PIXELWISE = [
    *own(
        "pixelwise.py",
        ("ignored pixels counted in the mean", "return valid.sum()\n    each", "return torch.ones_like(valid).sum()\n    each"),
        ("mean over the wrong number", "slope = ratio(torch.ones_like(denominator), denominator)", "slope = ratio(torch.ones_like(denominator), 2 * denominator)"),
        ("terms detached", "found = masked(terms(pixels.logits, pixels.target), pixels.valid)", "found = masked(terms(pixels.logits, pixels.target).detach(), pixels.valid)"),
        ("ignored pixels in the sum", "found = masked(terms(pixels.logits, pixels.target), pixels.valid)", "found = terms(pixels.logits, pixels.target)"),
        ("sign", "else found.sum())", "else -found.sum())"),
        ("class weights in the wrong order", "return class_weights.to(target.device)[target]", "return class_weights.flip(0)[target]"),
    ),
    *NAN,
]  # fmt: skip
REDUCED = own(
    "region.py",
    ("sign", "units = ratio((values * share)", "units = -ratio((values * share)"),
    ("mean over the wrong number", "mean = ratio(units.sum(), (share.sum(1) > 0).sum())", "mean = ratio(units.sum(), (share.sum(1) > 0).sum() + 1)"),
)  # fmt: skip
OVERLAP = [
    *REDUCED,
    *own(
        "overlap.py",
        ("ignored pixels predicted", "false = put(zeroed(p, valid.unsqueeze(1)), target, 0.0)", "false = put(p.clone(), target, 0.0)"),
        ("ignored pixels wanted", "of_class(zeroed(each, valid), target", "of_class(each, target"),
        ("class axis", "torch.stack([tp, fp, fn], 2)", "torch.stack([tp.flip(1), fp, fn], 2)"),
        ("soft labels as products", "both = p * t if squared else torch.minimum(p, t)", "both = p * t"),
        ("gradient without fn", "pick((tp - fn).expand", "pick(tp.expand"),
        ("images pooled", "return found if per_image else found.sum(0)\n\n    plan", "return found.sum(0).expand_as(found) if per_image else found.sum(0)\n\n    plan"),
        ("weights of pixels dropped", "values * weight.unsqueeze(1)", "values"),
        ("sigmoid dropped", "logits.sigmoid() if sigmoid else logits.softmax(1)", "logits.softmax(1)"),
    ),
    *NAN,
]  # fmt: skip
WHOLE = [
    *REDUCED,
    *own(
        "region.py",
        ("NaN of ignored pixels kept", "prepare(of_valid(logits, counted), labels", "prepare(logits, labels"),
        ("images pooled", "len(per_pixel) if per_image else 1", "len(per_pixel) if not per_image else 1"),
    ),
]  # fmt: skip
CE = own(
    "cross_entropy.py",
    (
        "true class forgotten",
        "return -F.logsigmoid(margin(logits, target))",
        "return -F.log_softmax(logits, dim=1).mean(1)",
    ),
    ("smoothing forgotten", "if label_smoothing == 0 and", "if label_smoothing >= 0 and"),
    ("smoothing by the sum", "label_smoothing * log_p.mean(1)", "label_smoothing * log_p.sum(1)"),
)
CE_CORE = CE[:1]
SHARED_TRUE_CLASS = own(
    "true_class.py",
    ("1 − p of all classes", "others = put(z.clone(), target, -torch.inf)", "others = z.clone()"),
    (
        "no gradient of its own for the true class",
        ", target, grad), None, None, None",
        ", target, 0.0), None, None, None",
    ),
    (
        "soft labels ignored",
        "return pick(values if scale is None",
        "return values.sum(1) if scale is None else pick(values if scale is None",
    ),
)
EFFECTIVE = own(
    "class_weights.py",
    ("β for 1 − β^n", "effective = -torch.expm1(n * log_beta)", "effective = 1 - torch.exp(log_beta) + 0 * n"),
    ("weights not normalised", "return present.sum() * weights / weights.sum()", "return weights"),
)
PRIOR = own(
    "class_weights.py",
    ("counts of one class taken for all", "return torch.where(present, pixels, pixels[present].min())", "return pixels.max() + 0 * pixels"),
)  # fmt: skip

LOSSES = {
    "ce": CE,
    "wce": [*CE_CORE, *own("class_weights.py", ("frequency not inverted", "inverse = _reciprocal(counts.get(\"pixels\"), counts)\n    return inverse / inverse.sum()", "inverse = counts.get(\"pixels\")\n    return inverse / inverse.sum()"))],
    "focal": [*SHARED_TRUE_CLASS, *own("focal.py", ("sign of γ", "torch.exp(gamma * log_rest)", "torch.exp(-gamma * log_rest)"), ("p for 1 − p", "return -torch.exp(gamma * log_rest) * log_p", "return -torch.exp(gamma * log_p) * log_p"), ("α dropped", "logits, target, alpha)", "logits, target, None)"))],
    "sigmoid_ce": own("sigmoid.py", ("negatives dropped", "return miss * cost.sum(1) + hit", "return hit"), ("sign of the negatives", "return miss * cost", "return -miss * cost"), ("mean over classes", "miss * cost.sum(1)", "miss * cost.mean(1)")),
    "sigmoid_focal": own("sigmoid.py", ("the misprint of eq. 9", "miss = (1 - positive) * torch.exp(gamma * log_q)", "miss = (1 - positive) * torch.exp(gamma * log_rest)"), ("α and 1 − α swapped", "alpha * hit + (1 - alpha) * miss", "(1 - alpha) * hit + alpha * miss"), ("mean over classes", "(1 - alpha) * miss).sum(1)", "(1 - alpha) * miss).mean(1)"), ("γ dropped", "hit = positive * torch.exp(gamma * log_rest)", "hit = positive"), ("another γ in the gradient", "m.pow(gamma + 1)", "m.pow(2)")),
    "dfl": own("dual_focal.py", ("a clamp", "F.logsigmoid(found), F.logsigmoid(-found)", "F.logsigmoid(found.clamp(-11.5, 11.5)), F.logsigmoid(-found)"), ("two classes: 1 − p for 2 − p", "math.log(2) + F.softplus(found - math.log(2), threshold=40)", "found"), ("false classes dropped", " + (1 + ties) * of_top + rest)", ")"), ("1 + p for the true class", "_log_not_square(log_false, log_true)", "_log_not_square(log_true, log_false)"), ("the rest without gradient", "gradient = (half * (2 * grad))", "gradient = (half * (0 * grad))"), ("soft: P and 1 − P swapped", "far = torch.logaddexp(torch.log1p(-target), log_p)", "far = torch.logaddexp(torch.log(target), log_p)")),
    "dfl2021": own("dual_focal_2021.py", ("sign of the distance", "(alpha * modulus - beta", "(-alpha * modulus - beta"), ("α and β swapped", "self.alpha, self.beta, self.gamma, self.rho =", "self.beta, self.alpha, self.gamma, self.rho ="), ("ρ dropped", "far = log_rest if rho == 1 else torch.log(rho - log_p.exp())", "far = log_rest"), ("γ dropped", "modulus = torch.exp(gamma * torch.where(wanted, log_rest, log_p))", "modulus = torch.exp(torch.where(wanted, log_rest, log_p))")),
    "dce": own("dual_cross_entropy.py", ("sign of the false classes", "(beta * negative", "(-beta * negative"), ("α and β swapped", "self.alpha, self.beta =", "self.beta, self.alpha ="), ("false classes are true ones", "beta * negative", "beta * (1 - negative)"), ("log(α − p)", "torch.log(alpha + log_p.exp())", "torch.log(alpha - log_p.exp())")),
    "cefl": [*SHARED_TRUE_CLASS, *own("cefl.py", ("p and 1 − p swapped", "return -(rest + p * torch.exp(gamma * log_rest)) * log_p", "return -(p + rest * torch.exp(gamma * log_rest)) * log_p"), ("γ dropped", "return -(rest + p * torch.exp(gamma * log_rest)) * log_p", "return -(rest + p * torch.exp(2 * log_rest)) * log_p"))],
    "cefl2": [*SHARED_TRUE_CLASS, *own("cefl.py", ("no squares", "p, rest = torch.exp(2 * log_p), torch.exp(2 * log_rest)", "p, rest = torch.exp(log_p), torch.exp(log_rest)"), ("not normalised", "/ (rest + p) * log_p", "* log_p"), ("cefl instead", "staticmethod(cefl2_terms)", "staticmethod(cefl_terms)"))],
    "cb_ce": [*CE_CORE, *EFFECTIVE],
    "cb_sigmoid": [*EFFECTIVE, *own("sigmoid.py", ("negatives dropped", "return miss * cost.sum(1) + hit", "return hit"))],
    "cb_focal": [*EFFECTIVE, *own("class_balanced.py", ("with α", "partial(sigmoid_focal_terms, alpha=None)", "partial(sigmoid_focal_terms, alpha=0.25)"), ("γ of the parent", "super().__init__(gamma=gamma, alpha=None,", "super().__init__(gamma=2.0, alpha=None,"))],
    "mse": own("mse_outlying.py", ("no ½", "return 0.5 * (logits", "return 1.0 * (logits"), ("mean over classes", ".square().sum(1)", ".square().mean(1)"), ("the target added", "(logits - (wanted if labels is None", "(logits + (wanted if labels is None")),
    "mse_ol": own("mse_outlying.py", ("ranks upside down", "torch.argsort(pixels, descending=True, stable=True)", "torch.argsort(pixels, descending=False, stable=True)"), ("rank from 0", "return alpha * (ranks + 1).double()", "return alpha * ranks.double()"), ("order for rank", "ranks[order] = torch.arange(len(order))", "ranks = order"), ("α dropped", "labels = outlying_labels(counts, alpha)", "labels = outlying_labels(counts)")),
    "ldam": [*SHARED_TRUE_CLASS[:2], *PRIOR, *own("ldam.py", ("margin added", "handicap=s * margins", "handicap=-s * margins"), ("square root", ".pow(-0.25)", ".pow(-0.5)"), ("s on the logits alone", "handicap=s * margins", "handicap=margins")), *own("base.py", ("re-weighting from the start", "epoch >= self.from_epoch", "epoch >= 0"))],
    "cdb_ce": [*CE_CORE, *own("difficulty.py", ("accuracy for difficulty", "difficulty = (1 - known).pow", "difficulty = known.pow"), ("not summing to C", "known.numel() * difficulty / difficulty.sum()", "difficulty / difficulty.sum()"), ("the CIFAR code's τ", "return 2 / (1 + math.exp(1 - bias))", "return 1 / (1 + math.exp(-bias))"), ("never told", "self.difficulty.copy_(", "(lambda _: None)("))],
    "seql": own("equalization.py", ("the true class dropped too", "> 0) & (wanted == 0)", "> 0)"), ("frequent classes dropped", "pixels / pixels.sum() < lambda_", "pixels / pixels.sum() >= lambda_"), ("kept with probability γ", "< gamma\n", "> gamma\n"), ("sign", "pick(kept - logits, target)", "pick(logits - kept, target)")),
    "topk": [*CE_CORE, *own("topk.py", ("the easiest pixels", ".topk(most).indices", ".topk(most, largest=False).indices"), ("share of all pixels", "(k * count.double())", "(k * valid.numel() * torch.ones((), dtype=torch.float64))"), ("mean over all", "chosen.sum().to(values)", "count.to(values)"), ("detached", "hardest = torch.where(chosen, values, 0.0)", "hardest = torch.where(chosen, values.detach(), 0.0)"), ("pixels above the threshold", "(p < threshold)", "(p > threshold)"), ("none kept", "min(min_kept, valid.numel())", "min(1, valid.numel())"), ("weights dropped", "return topk_loss(logits, target, mask, **options)", "return topk_loss(logits, target, mask, **{**options, 'class_weights': None})"))],
    "poly1": [*SHARED_TRUE_CLASS, *own("poly.py", ("sign of ε", "-log_p + epsilon", "-log_p - epsilon"), ("p for 1 − p", "epsilon * log_rest.exp()", "epsilon * log_p.exp()"))],
    "logit_adjusted": [*SHARED_TRUE_CLASS[:2], *PRIOR, *own("logit_adjusted.py", ("sign of the prior", "shift = tau * per_class", "shift = -tau * per_class"), ("τ dropped", "self.tau = tau", "self.tau = 1.0"), ("no logarithm", "(pixels / pixels.sum()).log()", "(pixels / pixels.sum())"))],
    "balanced_softmax": [*SHARED_TRUE_CLASS[:2], *PRIOR, *own("logit_adjusted.py", ("sign of the prior", "shift = tau * per_class", "shift = -tau * per_class"), ("another τ", "logit_adjusted_terms, tau=1.0", "logit_adjusted_terms, tau=0.5"))],
    "recall": [*CE_CORE, *own("recall.py", ("found for missed", "pixels.valid & (guess != pixels.target)", "pixels.valid & (guess == pixels.target)"), ("ignored pixels counted", "wrong = pixels.valid & (guess != pixels.target)", "wrong = guess != pixels.target"), ("weights dropped", "batch_weights = staticmethod(missed_share)", "batch_weights = None"))],
    "dice": own("dice.py", ("no factor 2", "1 - ratio(2 * sums.tp + smooth", "1 - ratio(sums.tp + smooth"), ("smooth above alone", "sums.predicted + sums.target + smooth)", "sums.predicted + sums.target)"), ("squared dropped", "self.squared = squared", "self.squared = False")),
    "iou": own("tversky.py", ("Dice instead", "alpha=1.0, beta=1.0))", "alpha=0.5, beta=0.5))"), ("errors dropped", "errors = alpha * sums.fp + beta * sums.fn", "errors = alpha * sums.fp")),
    "tversky": own("tversky.py", ("α and β swapped", "alpha * sums.fp + beta * sums.fn", "beta * sums.fp + alpha * sums.fn"), ("smooth above alone", "whole = sums.tp + errors + smooth", "whole = sums.tp + errors"), ("defaults swapped", "alpha: float = 0.3, beta: float = 0.7, **options: Unpack", "alpha: float = 0.7, beta: float = 0.3, **options: Unpack")),
    "focal_tversky": own("tversky.py", ("γ for 1/γ", ".pow(1 / gamma)", ".pow(gamma)"), ("α and β swapped", "alpha * sums.fp + beta * sums.fn", "beta * sums.fp + alpha * sums.fn"), ("a NaN gradient at a perfect match", "torch.where(loss > 0, torch.where(loss > 0, loss, 1.0).pow(1 / gamma), 0.0)", "loss.pow(1 / gamma)")),
    "generalized_dice": own("dice.py", ("volume not squared", "volume).square()", "volume)"), ("weights dropped", "if class_weights is not None:", "if False:"), ("no factor 2", "both = 2 * (weight", "both = 1 * (weight"), ("false positives free", "(weight * (sums.predicted + volume))", "(weight * (sums.tp + volume))")),
    "lovasz": own("lovasz.py", ("rising order", "(largest - 1 - error.view(bits)).bitwise_or_", "(error.view(bits) + 0).bitwise_or_"), ("class indices for hits", "jaccard_weights(wanted.gather(1, order), values.dtype)\n                falling", "jaccard_weights((wanted | unit_valid).gather(1, order), values.dtype)\n                falling"), ("weights not put back", "scatter_(1, order, weight)", "copy_(weight)")),
    "lovasz_hinge": own("lovasz.py", ("sign of the margin", "offset[0] - z, offset[1] + z", "offset[0] + z, offset[1] - z"), ("no hinge", ".relu_()", ""), ("rising order", "(largest - 1 - error.view(bits)).bitwise_or_", "(error.view(bits) + 0).bitwise_or_"), ("ignored pixels sorted in", "(largest - 1 - error.view(bits)).bitwise_or_(last)", "(largest - 1 - error.view(bits))")),
    "boundary": own("boundary.py", ("inside and outside swapped", "torch.where(inside, min(sides, default=1.0) - to_outside.sqrt(), to_inside.sqrt())", "torch.where(inside, to_outside.sqrt(), min(sides, default=1.0) - to_inside.sqrt())"), ("one axis", "for axis, side in enumerate(sides[1:], start=3):", "for axis, side in enumerate([], start=3):"), ("squared distances", "- to_outside.sqrt(), to_inside.sqrt()", "- to_outside, to_inside"), ("voxels as cubes", "step = (shift * side) ** 2", "step = shift**2"), ("given distances forgotten", "if distance is None:", "if True:"), ("the sum for the mean", "return ratio(sums, by_unit(pixels.valid, per_image).sum(1, keepdim=True))", "return sums")),
    "mcc": own("mcc.py", ("fp forgotten", "(tp * tn_fp - fp * (tp + fn))", "(tp * tn_fp)"), ("own class among the others", "1 - torch.eye", "1 - 0 * torch.eye"), ("no root", "product, 1.0).sqrt()", "product, 1.0)"), ("true negatives of one class", "pixels = sums.target.sum(1, keepdim=True)", "pixels = sums.target.sum(1, keepdim=True) - sums.tp"), ("fn for fp", "(tp + fp) * (tp + fn) *", "(tp + fp) * (tp + fp) *")),
    "unified_focal": own("unified_focal.py", ("λ and 1 − λ swapped", "lambda_ * overlaps + (1 - lambda_) * pixels", "(1 - lambda_) * overlaps + lambda_ * pixels"), ("δ and 1 − δ swapped", "tversky_of_overlap(sums, 1 - delta, delta, smooth)", "tversky_of_overlap(sums, delta, 1 - delta, smooth)"), ("γ for 1 − γ", "pow(1 - gamma)", "pow(gamma)"), ("always symmetric", "return raised if symmetric else", "return raised if True else"), ("the background weighed as foreground", "share = delta + (1 - 2 * delta)", "share = delta + 0"), ("the foreground suppressed", "torch.where(background, suppressed, 1.0)", "suppressed")),
    "cldice": own("skeleton.py", ("one erosion less", "for _ in range(iterations):", "for _ in range(iterations - 1):"), ("no opening", "rest = (eroded - _dilated(_eroded(eroded))).relu()", "rest = eroded"), ("precision twice", "return 1 - ratio(2 * precision * recall, precision + recall)", "return 1 - precision"), ("the background too", "foreground: ClassVar[bool] = True", "foreground: ClassVar[bool] = False"), ("smooth dropped", "_summed(of_p, per_image) + smooth)", "_summed(of_p, per_image))")),
    "skeleton_recall": own("skeleton.py", ("no tube", "for _ in range(tube):", "for _ in range(0):"), ("out of the class", "line = line * t\n", "line = line + 0 * t\n"), ("found for missed", "_summed((1 - p) * line", "_summed(p * line"), ("the background too", "foreground: ClassVar[bool] = True", "foreground: ClassVar[bool] = False")),
    "blob": own("blob.py", ("all components as one", "numbers[inside].unique(return_inverse=True)", "numbers[inside].clamp_max(1).unique(return_inverse=True)"), ("false positives of the class forgotten", "torch.where(at_class(pixels.target, classes), 0.0, p)", "0 * p"), ("false positives of its own pixels", "torch.where(at_class(pixels.target, classes), 0.0, p)", "p"), ("the sum for the mean", "return ratio(sums, counts).view", "return sums.view")),
}  # fmt: skip


def mutants_of(loss):
    """The engine's mutants and the loss's own."""
    overlaps = ("dice", "iou", "tversky", "focal_tversky", "generalized_dice", "mcc", "unified_focal")
    whole = ("lovasz", "lovasz_hinge", "boundary", "blob", "cldice", "skeleton_recall")
    engine = OVERLAP if loss in overlaps else WHOLE if loss in whole else PIXELWISE
    if loss in ("mcc", "unified_focal"):  # neither of sigmoid; the weights of pixels are those of the other overlaps
        engine = [m for m in engine if m.what not in ("sigmoid dropped", "weights of pixels dropped", "images pooled")]
    if loss == "topk":
        engine = [
            m for m in engine if m.what in ("ignored pixels in the sum", "NaN of ignored pixels kept", "terms detached")
        ]
    if loss == "lovasz_hinge":
        engine = [m for m in engine if m.what != "NaN of ignored pixels kept"]
    return [*engine, *LOSSES[loss]]


SEGLOSS, DATASETS, ENGINE = "tests/segloss/test_", "tests/datasets/test_", "tests/engine/"
STATISTICS = (f"{SEGLOSS}compare.py", f"{SEGLOSS}random_effects.py")
FOLDS = f"{ENGINE}experiment/test_folds.py::test_"
SPLITS = (f"{DATASETS}data.py", f"{DATASETS}patients.py", f"{FOLDS}nnunet_splits_hold_out_their_val",
          f"{FOLDS}every_fold_is_for_train_alone", "-k", "not phantoms and not raw_file")  # fmt: skip
STORE = (f"{ENGINE}store/test_checkpoint.py", f"{ENGINE}store/test_writer.py",
         f"{ENGINE}experiment/test_formats.py::test_a_run_that_has_begun_is_resumed")  # fmt: skip
GRIDS = (f"{DATASETS}data.py", f"{DATASETS}volume_sets.py", "-k", "not phantoms and not raw_file")
PLACES = (f"{DATASETS}geometry.py", f"{DATASETS}volume.py", "-k", "not there_and_back or oblique-.mha")
TARGETS = {
    "segloss/scores.py": (f"{SEGLOSS}scores.py",),
    "segloss/aggregation.py": (f"{SEGLOSS}scores.py", f"{SEGLOSS}classification.py", f"{SEGLOSS}adjustment.py"),
    "segloss/classification.py": (f"{SEGLOSS}classification.py",),
    "segloss/calibration.py": (f"{SEGLOSS}calibration.py",),
    "segloss/adjustment.py": (f"{SEGLOSS}adjustment.py",),
    "segloss/surface.py": (f"{SEGLOSS}surface.py",),
    "segloss/compare.py": STATISTICS,
    "segloss/multiplicity.py": STATISTICS,
    "segloss/random_effects.py": STATISTICS,
    "segloss/ranks.py": STATISTICS,
    "segloss/sign_flip.py": STATISTICS,
    "datasets/division.py": SPLITS,
    "datasets/splits.py": SPLITS,
    "datasets/split_file.py": SPLITS,
    "datasets/samplers.py": (f"{DATASETS}samplers.py", "-k", "not continues"),
    "datasets/geometry.py": PLACES,
    "datasets/grid.py": GRIDS,
    "datasets/slices.py": GRIDS,
    "engine/scoring/pooling.py": (
        f"{FOLDS}every_patient_is_held_out_once_and_scored_together",
        f"{FOLDS}folds_of_an_older_program_are_pooled_without_what_they_lack",
        f"{ENGINE}scoring/test_pooling.py",
    ),
    "engine/store/checkpoint.py": STORE,
    "engine/store/state.py": STORE,
    "engine/store/writer.py": STORE,
}
"""By module the tests that must catch what is broken in it, as options of pytest."""
STRICT = "the lengths are equal wherever they come from; strict watches over ourselves"
ZERO_ROW = "the last row of an affine is 0 but for its 1, else it is refused"
OF_A_GPU = "of a GPU alone, which these tests do without"
JUST = "a distance is never just the tolerance"
EXPLAINED = {
    "segloss/scores.py: SegmentationScores._units: 2 → 3": "of no image there is no matrix, however wide",
    "segloss/scores.py: SegmentationScores._rows: True → False (2)": STRICT,
    "segloss/aggregation.py: label_scores: True → False (2)": STRICT,
    "segloss/classification.py: ClassificationScores.update: 1 → 2 (5)": "of two columns too the first is taken",
    "segloss/classification.py: ClassificationScores._sorted: min → max": "of no picture there is no class, whatever the width",
    "segloss/classification.py: ClassificationScores._sorted: True → False": "ids are not equal, so a stable order is none",
    "segloss/calibration.py: Calibration.update: 1 → 2 (6)": "how many classes are counted at once changes nothing",
    "segloss/calibration.py: Calibration.update: 1 → 2 (5)": "how many classes are counted at once changes nothing",
    "segloss/calibration.py: Calibration.update: 0 → 1 (4)": "an ignored pixel counts nowhere, whatever its label",
    "segloss/calibration.py: Calibration._add: self.bins - 1 → self.bins + 1": "no probability is above 1",
    "segloss/calibration.py: Calibration.update: True → False": STRICT,
    "segloss/calibration.py: _sums: 0 → 1 (2)": "the count stands in both pairs",
    "segloss/calibration.py: _row: True → False": STRICT,
    "segloss/adjustment.py: fit_temperature: 100 → 101": "it converges in a few steps",
    "segloss/adjustment.py: fit_temperature: 1 → 2 (2)": "further steps change nothing, and cost time",
    "segloss/adjustment.py: _likelihood: True → False": STRICT,
    "segloss/adjustment.py: fit_offsets: True → False": "the order of torch on a CPU is stable without it",
    "segloss/adjustment.py: fit_temperature: abs(cold / last - 1) < 1e-10 → abs(cold / last - 1) <= 1e-10": "a number is never just 1e-10",
    "segloss/adjustment.py: fit_offsets: scores[place] > best + 1e-12 → scores[place] >= best + 1e-12": "a score is never just 1e-12 better",
    "segloss/surface.py: _box: 2 → 3": "a larger box costs time and changes nothing",
    "segloss/surface.py: surface_scores: True → False": "the only channel is no background to MONAI",
    "segloss/compare.py: pooled: len(kept) < first.shape[2] → len(kept) <= first.shape[2]": "keeping all classes changes nothing",
    "segloss/compare.py: pooled: True → False (2)": STRICT,
    "segloss/sign_flip.py: subset_sums: 0 → 1": "another seed draws other patterns, as good ones",
    "segloss/sign_flip.py: subset_sums: 1 → 2 (5)": "a part is a single pattern of millions of groups alone",
    "segloss/sign_flip.py: SignFlips.__init__: np.abs(moved) <= rounding → np.abs(moved) < rounding": "a sum is never just the rounding, or 0 as it is",
    "segloss/sign_flip.py: SignFlips.__init__: weight <= 1e-12 → weight < 1e-12": "a weight is never just 1e-12",
    "segloss/sign_flip.py: SignFlips._likely: 1 → 2 (3)": "the last step of the table goes on as the one before it does, to 1e-4",
    "datasets/splits.py: Official.__init__: 0 → 1 (2)": "1 is allowed as 0 is",
    "datasets/splits.py: KFold.__call__: 2 → 3": "another stream of numbers, as good a one",
    "datasets/geometry.py: Geometry.__post_init__: 3 → 4 (2)": ZERO_ROW,
    "datasets/geometry.py: Geometry.__post_init__: abs(np.linalg.det(self.affine[:3, :3] / lengths)) >= LEAST_VOLUME → abs(np.linalg.det(self.affine[:3, :3] / lengths)) > LEAST_VOLUME": "a volume is never just the least",
    "datasets/geometry.py: Geometry.spacing: 3 → 4": ZERO_ROW,
    "datasets/geometry.py: Geometry.difference: apart <= TOLERANCE → apart < TOLERANCE": JUST,
    "datasets/geometry.py: Geometry.difference: 3 → 4": ZERO_ROW,
    "datasets/geometry.py: Geometry.difference: (np.linalg.norm(ours - theirs, axis=0)[::-1] * steps).max() > TOLERANCE → (np.linalg.norm(ours - theirs, axis=0)[::-1] * steps).max() >= TOLERANCE": JUST,
    "engine/store/checkpoint.py: Snapshot.__init__: not tensor.is_cuda → tensor.is_cuda": OF_A_GPU,
    "engine/store/checkpoint.py: _fetched: True → False (2)": OF_A_GPU,
    "engine/store/checkpoint.py: load_optimizer: True → False": STRICT,
}  # fmt: skip
"""Why no test can catch a mutant, or none need; by its name."""
SWAPS: dict[type, type] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Add,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any", "argmin": "argmax", "argmax": "argmin",
         "floor": "ceil", "ceil": "floor", "sum": "max", "cumsum": "cumprod", "sorted": "list"}  # fmt: skip


def replaced(node: ast.AST) -> ast.AST | None:
    """What a node is broken into; None for one that is left alone."""
    broken = copy(node)
    match node:
        case ast.Compare(ops=[operator]) | ast.BinOp(op=operator) | ast.BoolOp(op=operator) if type(operator) in SWAPS:
            swapped = SWAPS[type(operator)]()
            if isinstance(node, ast.Compare):
                broken.ops = [swapped]
            else:
                broken.op = swapped
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            return operand
        case ast.Constant(value=bool() as value):
            broken.value = not value
        case ast.Constant(value=int() | float() as value):
            broken.value = value + 1
        case ast.Name(id=name) if name in NAMES:
            broken.id = NAMES[name]
        case ast.Attribute(attr=name) if name in NAMES:
            broken.attr = NAMES[name]
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test) if not isinstance(test, ast.Compare):
            broken.test = ast.UnaryOp(ast.Not(), test)
        case _:
            return None
    return broken


def breakable(node: ast.AST, where: str = "") -> Iterator[tuple[str, ast.AST]]:
    """The nodes that run, each with the function it stands in: no types, texts, or lines of errors."""
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(
                child, ast.Raise | ast.JoinedStr | ast.Import | ast.ImportFrom
            ):
                continue
            inside = f"{where}.{child.name}".lstrip(".") if hasattr(child, "name") and hasattr(child, "body") else where
            yield inside, child
            yield from breakable(child, inside)


def drawn(file: str) -> list[Mutant]:
    """Every mutant of a module, whole sources as `old` and `new`; those of the module's own level left out."""
    tree = ast.parse((ROOT / file).read_text())
    found, seen, old = [], Counter(), ast.unparse(tree)
    for where, node in breakable(tree):
        broken = replaced(node) if where else None
        if broken is None:
            continue
        before, after = (ast.unparse(one).partition("\n")[0] for one in (node, broken))
        new = ast.unparse(_Replace(node, broken).visit(tree))
        _Replace(broken, node).visit(tree)
        if new == old:
            continue
        what = f"{where}: {before} → {after}"
        seen[what] += 1
        found.append(Mutant(what if seen[what] == 1 else f"{what} ({seen[what]})", file, old, new))
    return found


class _Replace(ast.NodeTransformer):
    """Puts one node in the place of another."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self.old, self.new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self.new if node is self.old else self.generic_visit(node)


@dataclass(frozen=True)
class Job:
    """A mutant, or None to see that the tests pass without one, and the options of pytest that select its tests."""

    mutant: Mutant | None
    options: tuple[str, ...]

    def caught(self, trees: Queue[Path]) -> bool:
        """Whether the tests fail, in a process of its own that has the libraries already, on a tree that is free."""
        tree = trees.get()
        output = tree / "output"
        path, source = tree / (self.mutant.file if self.mutant else "train_seg.py"), None
        if self.mutant is not None:
            source = path.read_text()
            if self.mutant.old in source:
                path.write_text(source.replace(self.mutant.old, self.mutant.new))
            elif ast.unparse(ast.parse(source)) == self.mutant.old:
                path.write_text(self.mutant.new)
            else:
                raise SystemExit(f"{self.mutant.file} no longer holds the piece to break ({self.mutant.what})")
        child = os.fork()
        if child == 0:
            os.setsid()
            os.dup2(os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 1)
            os.dup2(1, 2)
            os.chdir(tree)
            os.environ["PYTHONPATH"] = str(tree)
            sys.path[:0] = [str(tree), str(tree / "tests")]
            signal.alarm(LONGEST)
            sys.dont_write_bytecode = False
            import pytest

            os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", f"--basetemp={tree}/tmp", *self.options])))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what its tests have started and left behind
        if code in (4, 5):  # of pytest: a wrong option, no test
            raise SystemExit(f"pytest ended with {code}:\n{output.read_text(errors='replace')[-2000:]}")
        if source is not None:
            path.write_text(source)
            for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
                compiled.unlink()  # it is known by its second and its size alone
        trees.put(tree)
        return code != 0


def copied(place: Path) -> Path:
    """A copy of the tree, in which what is compiled stays from mutant to mutant."""
    for folder in COPIED:
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "train_seg.py"):
        shutil.copy(ROOT / file, place)
    return place


def jobs_of_loss(loss: str) -> list[Job]:
    """The mutants of a loss by hand."""
    options = ("--loss", loss, "-k", "not inductor and not half_precision", *LOSS_TESTS)
    return [Job(mutant, options) for mutant in mutants_of(loss)]


def jobs_of_modules(files: list[str], count: int, seed: int) -> dict[str, list[Job]]:
    """So many mutants of modules, drawn from all of them, in the order of their lines."""
    every = [mutant for file in files for mutant in drawn(file)]
    kept = sorted(random.Random(seed).sample(range(len(every)), min(count, len(every))))
    found: dict[str, list[Job]] = {file: [] for file in files}
    for index in kept:
        mutant = every[index]
        found[mutant.file].append(Job(mutant, TARGETS[mutant.file]))
    return found


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="losses, or modules such as segloss/scores.py; all by default")
    parser.add_argument("--count", type=int, default=400, help="mutants of modules")
    parser.add_argument("--seed", type=int, default=0, help="that they are drawn with")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    names = given.names or [*LOSSES, *TARGETS]
    if unknown := set(names) - {*LOSSES, *TARGETS}:
        parser.error(f"neither a loss nor a module of TARGETS: {', '.join(sorted(unknown))}")
    for name in LOADED:
        importlib.import_module(name)
    jobs = {name: jobs_of_loss(name) for name in names if name in LOSSES}
    jobs |= jobs_of_modules([name for name in names if name in TARGETS], given.count, given.seed)
    survivors, explained, total = [], 0, 0
    with tempfile.TemporaryDirectory() as workplace, ThreadPoolExecutor(given.processes) as pool:
        trees: Queue[Path] = Queue()
        for index in range(given.processes):
            trees.put(copied(Path(workplace, str(index))))
        print(f"{'of':30s} mutants caught explained", flush=True)
        for name, wanted in jobs.items():
            if any(pool.map(lambda options: Job(None, options).caught(trees), {job.options for job in wanted})):
                raise SystemExit(f"{name}: its tests fail without any mutant")
            dead = [*pool.map(lambda job: job.caught(trees), wanted)]
            left = [f"{name}: {job.mutant.what}" for job, caught in zip(wanted, dead, strict=True) if not caught]
            known = [line for line in left if line in EXPLAINED]
            print(f"{name:30s} {len(wanted):7d} {sum(dead):6d} {len(known):9d}", flush=True)
            for line in left:
                print(f"    {line}: {EXPLAINED.get(line, 'SURVIVED')}", flush=True)
            survivors += [line for line in left if line not in EXPLAINED]
            explained, total = explained + len(known), total + len(wanted)
    print(f"{total} mutants, {len(survivors)} survived, {explained} explained")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
