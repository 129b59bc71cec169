"""What other libraries call losses and their parameters, and what that is here; internal."""

from __future__ import annotations

from collections.abc import Iterable

from .names import plain_name, unknown

LOSS_NAMES = {
    "crossentropy": "'ce'",
    "crossentropyloss": "'ce'",
    "softcrossentropy": "'ce', which takes soft labels",
    "nll": "'ce', of raw logits",
    "nllloss": "'ce', of raw logits",
    "weightedce": "'wce'",
    "bce": "'sigmoid_ce'",
    "bcewithlogits": "'sigmoid_ce'",
    "bcewithlogitsloss": "'sigmoid_ce'",
    "binarycrossentropy": "'sigmoid_ce'",
    "jaccard": "'iou'",
    "softdice": "'dice'",
    "gdl": "'generalized_dice'",
    "lovaszsoftmax": "'lovasz'",
    "ohem": "'topk'",
    "bootstrappedce": "'topk'",
    "dicece": "the list [{name: dice}, {name: ce}]",
    "dcandce": "the list [{name: dice}, {name: ce}]",
    "combo": "the list [{name: dice}, {name: ce}]",
    "dicefocal": "the list [{name: dice}, {name: focal}]",
    "generalizeddicefocal": "the list [{name: generalized_dice}, {name: focal}]",
}
"""Names of losses, by their letters and digits in lower case."""

MISSING = {
    "hausdorff", "hausdorffdt", "loghausdorffdt", "ssim", "msssim", "rmi", "nacl", "crf", "topological", "betti",
    "activeboundary", "activecontour", "exponentiallogarithmic", "explog", "elldice", "asymmetricsimilarity", "asl",
    "sensitivityspecificity", "ghm", "ghmc", "generalizedcrossentropy", "gce", "symmetriccrossentropy", "symmetricce",
    "jensenshannon", "jsd", "kl", "kldiv", "huber", "l1", "mae", "smoothl1", "charbonnier", "contrastive", "ntxent",
    "triplet", "wing", "psnr", "sce", "totalvariation", "perceptual", "adversarial", "evidential", "qualityfocal",
    "varifocal", "seesaw", "eqlv2", "tvmf", "persistenthomology", "softncuts", "gradientharmonized",
}  # fmt: skip
"""Names of losses that are in other libraries or in papers, and not here, by the same letters without `loss`."""

SCALED = "the weight of each loss of a list: [{name: dice, weight: 1}, {name: ce, weight: 0.5}]"
LOGITS = "no choice: a loss takes raw logits, and makes the probabilities itself"
PARAMETERS = {
    "includebackground": "class_weights: [0, 1, …] leaves the background out",
    "dobg": "class_weights: [0, 1, …] leaves the background out",
    "softmax": LOGITS,
    "usesoftmax": LOGITS,
    "otheract": LOGITS,
    "fromlogits": LOGITS,
    "applynonlin": LOGITS,
    "activate": LOGITS,
    "activation": LOGITS,
    "sigmoid": "a loss of its own, sigmoid_ce or sigmoid_focal",
    "usesigmoid": "a loss of its own, sigmoid_ce or sigmoid_focal",
    "toonehoty": "not needed: the target holds integer labels (N, *spatial)",
    "softlabel": "not needed: a floating target (N, C, *spatial) holds soft labels",
    "mode": "not needed: one logit a pixel is a binary problem, several are classes that exclude each other",
    "smoothnr": "smooth, in numerator and denominator alike",
    "smoothdr": "smooth, in numerator and denominator alike",
    "eps": "smooth of overlap losses; nothing else is kept away from 0, since no probability is clamped",
    "batch": "per_image, the other way round: false pools the batch and is the default",
    "batchdice": "per_image, the other way round: false pools the batch and is the default",
    "weight": "class_weights (with normalize: weights, to divide by their sum as torch does)",
    "weights": "class_weights",
    "classweight": "class_weights",
    "posweight": "class_weights, or the alpha of sigmoid_focal",
    "lossweight": SCALED,
    "lambdadice": SCALED,
    "lambdace": SCALED,
    "lambdafocal": SCALED,
    "weightdice": SCALED,
    "weightce": SCALED,
    "logloss": "not there: the loss is 1 − overlap, and not −log of it",
    "squaredpred": "squared",
    "jaccard": "a loss of its own, iou",
    "average": "no choice: a class is one value, and the loss their mean (kornia's macro)",
    "ignorelabel": "ignore_index",
    "ignoredindex": "ignore_index",
    "ignoredclass": "ignore_index",
    "usemask": "not needed: the mask is given with each call, loss(logits, target, mask)",
    "mask": "given with each call, loss(logits, target, mask)",
    "sizeaverage": "reduction",
    "reduce": "reduction",
    "smoothfactor": "label_smoothing",
    "smoothing": "label_smoothing",
    "lsr": "label_smoothing",
    "normalized": "not there",
    "perchannel": "no choice: a class is one value",
    "ddp": "not needed: denominators are summed over ranks, see loss.denominator",
    "numclass": "num_classes",
    "nclasses": "num_classes",
    "thresh": "threshold of topk",
    "minkept": "min_kept of topk",
    "topkpercent": "k of topk, a share of the pixels",
}
"""Parameters, by their letters and digits in lower case."""


def unknown_loss(noun: str, name: object, allowed: Iterable[str]) -> str:
    """The message for a name that is no loss: what it is here, or that it is not here."""
    if plain_name(name).removesuffix("loss") in MISSING:
        return f"unknown {noun} {name!r}: segloss has no such loss; it has {', '.join(sorted(allowed))}"
    return unknown(noun, name, allowed, LOSS_NAMES, cutoff=0.65)


def unknown_parameter(noun: str, name: object, allowed: Iterable[str]) -> str:
    """The message for a parameter that a loss does not have: what it is here."""
    return unknown(noun, name, allowed, PARAMETERS)
