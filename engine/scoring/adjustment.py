"""What `scores.adjust` does to the logits of a trained network: fitted once a checkpoint, and kept beside it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from itertools import accumulate
from math import ceil, isnan, sqrt
from typing import Any, Literal, NamedTuple

import torch
from lightning_fabric import Fabric
from torch import Tensor

import datasets
from segloss.adjustment import STEP, LogitAdjustment, fit_offsets, fit_temperature, prior_offsets
from segloss.document import Adjustment

from ..configuration.config import AdjustSection, Config, OffsetsSection, PriorSection
from ..console.display import Display
from ..errors import UsageError
from ..experiment.experiment import Experiment
from ..experiment.run import Run
from ..processes import ranks
from .evaluation import case_logits
from .inference import Ensemble

FILE = "adjustment.json"
"""What has been fitted for the checkpoints of a run, one entry for each way of inference."""
MOST_LOGITS = 2**25
"""Of the validation part that are held at once, 128 MiB; of larger ones every second, third, … row and column."""
PARTS: dict[str, datasets.Part] = {"prior": "train", "temperature": "val", "offsets": "val"}
"""What each kind follows from."""


def parts_needed(run: Run, checkpoint: str, config: Config) -> list[datasets.Part]:
    """The part of the data that `scores.adjust` is still to be fitted on; none where it is known already."""
    section = config.scores.adjust
    return [] if section is None or known_adjustment(run, checkpoint, config) else [PARTS[section.kind]]


def refuse_unfit(experiment: Experiment) -> None:
    """A `UsageError` where there is no case of the part that `scores.adjust` follows from."""
    section = experiment.config.scores.adjust
    if section is None or experiment.data.parts[PARTS[section.kind]]:
        return
    if PARTS[section.kind] == "train":
        raise UsageError("scores.adjust: needs the files of the training part, which are not there; restore them")
    raise UsageError(
        f"scores.adjust: {section.kind} is fitted on the validation part, which is empty; set data.split.val above 0, "
        "or use {kind: prior}"
    )


def adjust(
    model: Any,
    run: Run,
    checkpoint: str,
    config: Config,
    fabric: Fabric,
    experiment: Callable[[], Experiment],
    display: Display,
) -> Adjustment | None:
    """Let a network adjust its logits from now on, as `scores.adjust` says.

    Args:
        model: with the weights of the checkpoint, set up by Fabric.
        run: whose checkpoint it is; what is fitted is kept there, so that its data is not needed again.
        checkpoint: `best` or `last`.
        config: of the run, with the rules of scoring.
        fabric: the device and the precision.
        experiment: gives the data, where it is needed.
        display: where progress is shown, and what is fitted.

    Returns:
        What is done; None for nothing.

    Raises:
        UsageError: no case is there to fit it on.
    """
    section = config.scores.adjust
    if section is None:
        return None
    found = known_adjustment(run, checkpoint, config)
    if found is None:
        data = experiment()
        refuse_unfit(data)
        found = _from_training(section, data) if isinstance(section, PriorSection) else None
        found = found or _from_validation(section, model, data, fabric, display)
        _keep(run, checkpoint, config, found)
        display.line(f"scores.adjust: {found.in_words(data.adapter.classes)}")
        if isinstance(section, OffsetsSection) and max(map(abs, found.offsets or ())) > section.limit - STEP:
            display.line(f"scores.adjust: an offset at the edge of ±{section.limit:g}; scores.adjust.limit widens it")
    assert found.offsets is not None
    assert found.temperature is not None
    network = model if isinstance(model, Ensemble) else model.module
    network.adjustment = fabric.to_device(LogitAdjustment(list(found.offsets), found.temperature))
    return found


def _from_training(section: PriorSection, experiment: Experiment) -> Adjustment:
    samples = experiment.training_samples()
    offsets = prior_offsets(experiment.class_counts(samples), section.tau)
    groups = _groups(experiment, "train")
    return Adjustment(
        kind=section.kind, part="train", groups=groups, tau=section.tau, temperature=1.0, offsets=offsets.tolist()
    )


def _from_validation(
    section: AdjustSection, model: Any, experiment: Experiment, fabric: Fabric, display: Display
) -> Adjustment:
    pixels = _validation_pixels(model, experiment, fabric, display)
    classes, groups = len(experiment.adapter.classes), _groups(experiment, "val")
    if isinstance(section, OffsetsSection):
        score: Literal["DSC", "IoU"] = "DSC" if experiment.primary.metric == "mDSC" else "IoU"
        fitted = fit_offsets(*pixels, score, {experiment.background, datasets.IGNORE}, section.limit)
        offsets, temperature = fitted.value.tolist(), 1.0
    else:
        activation = experiment.activation
        assert activation != "none"
        fitted = fit_temperature(pixels.logits, pixels.target, activation)
        offsets, temperature = [0.0] * classes, float(fitted.value)
    return Adjustment(
        kind=section.kind,
        part="val",
        groups=groups,
        temperature=temperature,
        offsets=offsets,
        before=None if isnan(fitted.before) else fitted.before,
        after=None if isnan(fitted.after) else fitted.after,
    )


def _groups(experiment: Experiment, part: datasets.Part) -> int:
    return len({cached.case.group for cached in experiment.data.parts[part]})


class _Pixels(NamedTuple):
    """Pixels that count, on the CPU.

    Attributes:
        logits: `(P, C)` float32.
        target: `(P,)` labels.
        units: `(P,)` the case or image, as the primary metric takes them, or 0.
    """

    logits: Tensor
    target: Tensor
    units: Tensor


def _validation_pixels(model: Any, experiment: Experiment, fabric: Fabric, display: Display) -> _Pixels:
    """The logits of the validation part on the grid that is scored, of all processes together."""
    samples, aggregation = experiment.samples("val"), experiment.primary.aggregation
    original = experiment.config.scores.grid == "original"
    shapes = [case.original if original else case.shape for case in samples.cases]
    classes = len(experiment.adapter.classes)
    held = classes * sum(slices * rows * columns for slices, rows, columns in shapes)
    every = ceil(sqrt(held / MOST_LOGITS)) if held > MOST_LOGITS else 1
    if every > 1:
        display.line(f"scores.adjust: fitted on one in {every} rows and columns of the validation part, as it is large")
    starts = [0, *accumulate(slices for slices, _, _ in shapes)]
    mine = ranks.partition([slices for slices, _, _ in shapes], ranks.rank(), ranks.world_size())
    found = case_logits(model, samples, experiment, fabric, mine)
    kept = [_Pixels(torch.empty(0, classes), torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64))]
    for number, logits, reference in display.track("fitting scores.adjust")(found, len(mine)):
        planes = (plane for chunk in logits for plane in chunk)
        for index, (plane, labels) in enumerate(zip(planes, reference, strict=True)):
            target = labels[::every, ::every]
            counts = target != datasets.IGNORE
            unit = {"dataset": 0, "case": number, "image": starts[number] + index}[aggregation]
            target = target[counts].cpu()
            of_pixels = plane[:, ::every, ::every][:, counts].T.cpu()
            kept.append(_Pixels(of_pixels, target, torch.full_like(target, unit)))
    merged = _Pixels(*(torch.cat(each) for each in zip(*kept, strict=True)))
    return _Pixels(*(torch.cat(each) for each in zip(*ranks.all_gather(merged), strict=True)))


def _key(run: Run, checkpoint: str, config: Config) -> dict[str, Any]:
    """All that decides what is fitted, beside the training; of an ensemble also its networks."""
    scores = config.scores.model_dump(mode="json", include={"adjust", "grid", "window", "overlap", "flip"})
    networks = {"networks": [one.fingerprint() for one in run.members]} if config.scores.ensemble else {}
    return {"checkpoint": checkpoint, **scores, **networks}


def _entries(run: Run) -> list[dict[str, Any]]:
    return run.read_json(FILE) if (run.path / FILE).is_file() else []


def known_adjustment(run: Run, checkpoint: str, config: Config) -> Adjustment | None:
    """What has been fitted before, once the checkpoints are those that stay."""
    wanted, entries = _key(run, checkpoint, config), _entries(run) if run.trained else []
    try:
        known = [entry["adjustment"] for entry in entries if entry["of"] == wanted]
        return Adjustment.from_json(known[0], "adjustment") if known else None
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"{run.path / FILE}: damaged ({error}); remove it, and it is made anew from the data"
        ) from error


def _keep(run: Run, checkpoint: str, config: Config, found: Adjustment) -> None:
    wanted = _key(run, checkpoint, config)
    others = [entry for entry in _entries(run) if entry.get("of") != wanted]
    run.write_json(FILE, [*others, {"of": wanted, "adjustment": asdict(found)}])
