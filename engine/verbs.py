"""What the program does, one function a verb."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric

import datasets
import models
import segloss
from datasets.files import write_atomically
from datasets.labels import looks_like_background
from models import SegmentationModel

from . import build
from .configuration.checking import load_config
from .configuration.config import Config
from .display import Display
from .errors import UsageError
from .experiment import Experiment, launch, place
from .findings import samples_picture, sections
from .inspection import inspect
from .pictures.figures import ranked
from .processes import launcher, ranks
from .processes.together import Together
from .report.material import Material
from .report.page import page
from .report.reporting import PAGE, write_page
from .report.run_report import run_subject
from .report.sections import Subject
from .run.checkpoint import load_model
from .run.folder import LABELS, Run, read_json
from .run.folds import Folds, fold_configs
from .run.lock import Lock
from .scoring import results
from .scoring.evaluation import score
from .scoring.inference import Ensemble
from .scoring.masks import Options, masks_in, score_masks
from .scoring.prediction import inputs, predict_file, write_classes, write_prediction
from .training import memory
from .training.determinism import use_threads
from .training.signals import Stop
from .training.trainer import Trainer


def train(path: Path, overrides: Sequence[str], display: Display, stop: Stop, waits: bool = False) -> None:
    """Train what a YAML file describes, from its start or its last checkpoint, and score the best weights once.

    With `waits` another process that is at work on the run is waited for, not refused.

    Raises:
        UsageError, DataError: bad input, one line that says what to do.
        Stopped: SIGTERM has come; the state is saved.
    """
    config = load_config(path, overrides)
    if config.ablation is not None:
        raise UsageError(f"{path}: holds an ablation; train_seg.py ablate {path} trains its arms")
    if Folds.wanted(config):
        _train_folds(config, display, stop)
        return
    run = Run.of(config)
    experiment = _train_one(config, run, display, stop, waits)
    if launcher.place().rank != 0:
        return
    results.show(run.path, display)
    if experiment is not None or not (run.path / PAGE).is_file():
        display.line(f"page:     {write_page(run.path, run_subject(run.path))}")
    if experiment is not None:
        results.hint(path, overrides, run, experiment, display)


def _train_one(config: Config, run: Run, display: Display, stop: Stop, waits: bool = False) -> Experiment | None:
    """Train a run that is not finished, with all processes; None where it is."""
    splitter, recorded = build.build_splitter(config.data.split), run.path / "split.json"
    if isinstance(splitter, datasets.FromFile) and recorded.is_file():
        splitter.refuse_other(read_json(recorded), str(recorded))
    if not run.finished:
        with stop.interrupts():
            fabric = launch(config.train, together=True)
        stop.alone = fabric.world_size == 1
        with Together(), ExitStack() as held:
            if fabric.is_global_zero:
                with stop.interrupts():
                    held.enter_context(Lock(run.path, display.line if waits else None))
            ranks.meet()  # the first process has the lock
            run = Run.of(config, fabric.is_global_zero)  # another may have begun another run here before
            if not run.finished:  # by another, before this one had the lock
                return fit(config, run, fabric, display, stop)
    display.line(f"{run.path}: finished already; choose another name to train again")
    return None


def fit(config: Config, run: Run, fabric: Fabric, display: Display, stop: Stop) -> Experiment:
    """Train a run in its folder, which must be locked, and score the best weights once; see `train`."""
    if use_threads(run.threads()):
        display.line(f"computes with {run.threads()} threads, as this run began: sums depend on it")
    with stop.interrupts():
        with fabric.rank_zero_first():
            experiment = prepare(config, run, display)
        _describe(experiment, display)
        with _warnings_shown(display):
            trainer = Trainer(experiment, run, fabric, display, stop)
    _describe_processes(trainer, display)
    run.create(config)
    if told := build.told(experiment.adapter):
        run.write_json(LABELS, told)
    run.write_json("split.json", experiment.data.split)
    ranks.meet()  # the folder is there
    with closing(trainer):
        trainer.fit()
    ranks.meet()  # the best checkpoint is there
    with stop.interrupts(), memory.scoring():
        model, origin = _trained(run, experiment.network(trained=True), fabric, "best")
        adapter, track = experiment.adapter, display.track("scoring test")
        material = Material(experiment.samples("test"), len(adapter.classes), build.background_class(adapter))
        scores = score(
            model,
            "test",
            experiment,
            fabric,
            lambda found, total: material.watch(track(found, total)),
            thorough=True,
        )
        scores.document["header"] |= origin
        material.gather()
        if fabric.is_global_zero:
            results.draw(run, experiment, fabric, model, scores.document)
            material.write(run.path, [case for case, _ in ranked(scores.document)], config.scores.grid)
    if fabric.is_global_zero:
        baselines = results.baselines(experiment)
        if baselines:
            run.write_json("baseline.json", baselines)
        results.write(run.path, scores)
    ranks.meet()  # all is written
    return experiment


def _train_folds(config: Config, display: Display, stop: Stop) -> None:
    """Train every fold that is not finished, one after the other, and score all held-out cases together."""
    folder = Path(config.output) / config.name
    if (folder / "config.yaml").is_file():
        raise UsageError(
            f"{folder}: holds a run of one fold; give this one another name, such as name={config.name}-cv"
        )
    configs = fold_configs(config)
    for one in configs:
        run = Run.of(one)
        display.line(f"{run.path}:")
        _train_one(one, run, display, stop)
    folds = Folds(folder, len(configs))
    if launcher.place().rank == 0:
        scores = results.pool(folds.runs)
        results.draw_scores(folder / "figures", scores.document)
        results.write(folder, scores)
        results.show_folds(folds, display)
        display.line(f"page: {write_page(folder, run_subject(folder))}")


def check(path: Path, overrides: Sequence[str], html: bool, clear_cache: bool, display: Display) -> bool:
    """Open every file of the data set that a YAML file names, and tell what it holds and what is wrong.

    With `clear_cache` remove the decoded cases instead; they are made anew when they are needed.

    Returns:
        Whether nothing is wrong.

    Raises:
        UsageError, DataError: the file is at fault, or the data cannot even be listed.
    """
    config = load_config(path, overrides)
    if clear_cache:
        cache = _cache(config)
        display.line(f"{cache.folder}: {cache.clear() / 2**20:.1f} MiB removed")
        return True
    found = inspect(config, display.track("reading"))
    folder = Path(config.output) / f"{config.name}-check"
    folder.mkdir(parents=True, exist_ok=True)
    picture = None
    if any(sum(facts.pixels) for facts in found.facts):
        picture = folder / "samples.png"
        samples_picture(found, build.build_adapter(config.data)).savefig(picture, dpi=90)
    told = list(sections(found, picture))
    for section in told:
        display.section(section)
    if html:
        title = f"{config.name}: the data"
        write_atomically(folder / "check.html", page(title, [Subject(title, told)]).encode())
        display.line(f"page: {folder / 'check.html'}")
    cache = _cache(config)
    display.line(f"{cache.folder}: {cache.held() / 2**20:.1f} MiB of decoded cases; --clear-cache removes them")
    return not found.problems


def evaluate(path: Path, part: datasets.Part, checkpoint: str, overrides: list[str], display: Display) -> None:
    """Score a trained run on one part, from its best or last checkpoint.

    Raises:
        UsageError: the folder is no run, or has no such checkpoint.
    """
    if Folds.holds(path):
        for run in Folds(path).runs:
            evaluate(run.path, part, checkpoint, overrides, display)
        folder = path / results.evaluation_folder(part, checkpoint, Folds(path).runs[0].config(overrides))
        folder.mkdir(exist_ok=True)
        results.write(folder, results.pool(Folds(path).runs, folder.name))
        display.scores(f"{path}: {part} parts of all folds", results.read(folder))
        return
    run = Run.open(path)
    config = run.config(overrides)
    run.refuse_other_labels(config)
    if not run.checkpoint(checkpoint).is_file():
        raise UsageError(f"{run.checkpoint(checkpoint)}: no such checkpoint; has the run been trained?")
    fabric = launch(config.train)
    experiment = prepare(config, run, display)
    model, origin = _trained(run, experiment.network(trained=True), fabric, checkpoint)
    with memory.scoring():
        scores = score(model, part, experiment, fabric, display.track(f"scoring {part}"), thorough=True)
    scores.document["header"] |= origin
    folder = run.path / results.evaluation_folder(part, checkpoint, config)
    folder.mkdir(exist_ok=True)
    results.write(folder, scores)
    if not run.finished:
        display.line(f"warning: this run is not finished; its {checkpoint} checkpoint is of epoch {origin['epoch']}")
    display.scores(f"{run.path}: {part} part, checkpoint {checkpoint}", scores.document)
    display.line(f"scores: {folder / 'scores.json'}, as CSV by case and by class beside it")


def predict(
    path: Path,
    images: Sequence[Path],
    out: Path,
    checkpoint: str,
    probabilities: bool,
    suffix: str | None,
    anonymous: bool,
    overrides: list[str],
    display: Display,
) -> None:
    """Write masks, previews and, where wanted, probabilities for images, on their own grid.

    The folder of a run with every fold predicts by the mean of the logits of its networks.

    Raises:
        UsageError, DataError: no run, no such checkpoint, an image that is missing or unreadable.
    """
    runs = Folds(path).runs if Folds.holds(path) else [Run.open(path)]
    config = runs[0].config(overrides, apart=True)
    adapter = build.build_adapter(config.data)
    _refuse_file(out)
    if suffix is not None and not adapter.volumetric:
        raise UsageError("--format is for volumes; masks of stills are PNG files")
    wanted = inputs(images, adapter, out)
    if anonymous and not any(one.suffix == ".dcm" for one in wanted):
        raise UsageError("--anonymous is for DICOM; other formats hold nothing of the patient anyway")
    activation = _activation(config, len(adapter.classes)) if probabilities else None
    fabric = launch(config.train)
    section, channels = build.without_files(config.model), build.input_channels(config.data, adapter)
    networks = []
    for run in runs:
        network = build.build_model(section, len(adapter.classes), channels, config.seed)
        networks.append(_trained(run, network, fabric, checkpoint)[0])
    if Folds.holds(path) and (lacking := Folds(path).unfinished(config)):
        display.line(f"warning: not finished, so the mean lacks them or has them half trained: {', '.join(lacking)}")
    if len(networks) > 1:
        display.line(f"the mean of {len(networks)} networks, one a fold")
    model = (Ensemble(networks) if len(networks) > 1 else networks[0]).eval()
    out.mkdir(parents=True, exist_ok=True)
    write_classes(out, adapter)
    refused = []
    for one in display.track("predicting")(wanted, len(wanted)):
        try:
            found = predict_file(one.path, model, adapter, config, fabric, activation)
            write_prediction(found, one, out, adapter, suffix, anonymous)
        except datasets.DataError as error:
            refused.append(str(error))
    kept = " and probabilities" if probabilities else ""
    display.line(f"{len(wanted) - len(refused)} masks in {out / 'masks'}, previews{kept} beside")
    display.line(f"values and colours of the classes: {out / 'classes.json'}")
    if refused:
        raise datasets.DataError("\n".join(refused))


def evaluate_masks(
    predicted: Path, reference: Path, overrides: Sequence[str], out: Path | None, display: Display
) -> None:
    """Score the mask files of a folder against those of another; see `masks.score_masks`."""
    options = Options.parse(overrides)
    _refuse_file(out or predicted)
    predicted = masks_in(predicted)
    scores = score_masks(predicted, reference, options, display.track("scoring"))
    folder = out or predicted
    folder.mkdir(parents=True, exist_ok=True)
    results.write(folder, scores)
    display.scores(f"{predicted} against {reference}", scores.document)
    display.line(f"scores: {folder / 'scores.json'}, as CSV by case and by class beside it")


def _activation(config: Config, classes: int) -> str:
    """What makes probabilities of the logits; a `UsageError` where the loss trains none."""
    activation = build.activation(config.loss, classes)
    if activation == "none":
        raise UsageError(f"--probabilities: the loss {config.loss[0].name} trains raw scores, no probabilities")
    return activation


def _refuse_file(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: a file; give a folder to write into")


def prepare(config: Config, run: Run, display: Display) -> Experiment:
    """The experiment of a run: with the split it began with, or a new one."""
    recorded = None
    if (run.path / "split.json").is_file():
        recorded = datasets.Recorded(run.read_json("split.json"), str(run.path / "split.json"))
    with _warnings_shown(display):
        return Experiment.prepare(config, recorded, display.track("decoding"))


@contextmanager
def _warnings_shown(display: Display) -> Iterator[None]:
    """Show what the library and the data warn of as lines."""
    kinds = (datasets.LeakageWarning, segloss.ClassWeightWarning, models.WeightsWarning)
    with warnings.catch_warnings(record=True) as caught:
        for kind in kinds:
            warnings.simplefilter("always", kind)
        yield
    for warning in caught:
        if issubclass(warning.category, kinds):
            display.line(f"warning: {warning.message}")


def _cache(config: Config) -> datasets.Cache:
    return build.build_cache(config.data, config.output, build.build_adapter(config.data))


def _describe(experiment: Experiment, display: Display) -> None:
    for part, cases in experiment.data.parts.items():
        groups = len({cached.case.group for cached in cases})
        images = sum(cached.original[0] for cached in cases)
        display.line(f"{part}: {images} images of {len(cases)} cases in {groups} groups")
    if ground := looks_like_background(experiment.adapter.classes):
        display.line(f"warning: no class is named background, so {ground!r} counts as foreground; see data.labels")
    files = [cached.path for cases in experiment.data.parts.values() for cached in cases]
    size = sum(file.stat().st_size for file in files)
    display.line(f"cache: {size / 2**20:.1f} MiB of {len(files)} cases in {files[0].parent}")


def _describe_processes(trainer: Trainer, display: Display) -> None:
    """How several processes share a training, and what does not come out as in one."""
    count, device = ranks.processes(), trainer.fabric.device.type
    if count == 1:
        return
    size = trainer.config.batch_size
    display.line(f"{count} processes ({device}) share each batch of {size}, {-(-size // count)} samples at most each")
    if device == "cpu" and ranks.has_batch_statistics(trainer.stepper.model):
        display.line(
            "warning: on the CPU each process normalises by its own share of a batch, and the running statistics are "
            "those of the first; on GPUs they are of the whole batch"
        )


def _trained(run: Run, network: SegmentationModel, fabric: Any, checkpoint: str) -> tuple[Any, dict[str, Any]]:
    """The run's network with the weights of a checkpoint, on its device, and where they come from."""
    loaded = run.load(checkpoint)
    model = place(network, fabric)
    load_model(model, loaded, run.checkpoint(checkpoint))
    return fabric.setup(model), {"checkpoint": checkpoint, "epoch": loaded.state["progress"]["epoch"]}
