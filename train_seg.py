"""Train and score segmentation networks on data with rare classes, from one YAML file.

python train_seg.py init data/mine                                a YAML file for a folder of images and masks
python train_seg.py check configs/demo.yaml --html                look at the data first
python train_seg.py train configs/demo.yaml                       train, then score held-out cases once
python train_seg.py train configs/demo.yaml name=b loss.name=ce   the same with another loss
python train_seg.py train configs/demo.yaml --find-lr              a learning rate, from a short sweep
python train_seg.py train configs/demo.yaml data.split.val=3 --tune   tune first, on the validation part
python train_seg.py reproduce runs/demo                           run it again, and say where the two differ
python train_seg.py evaluate runs/demo --checkpoint last          score a trained run again
python train_seg.py evaluate --pred theirs/ --ref masks/          score the masks of any other program
python train_seg.py predict runs/demo images/ --out masks         masks for images without a reference
python train_seg.py export runs/demo --format onnx                the network as one file for other programs
python train_seg.py ablate configs/demo_ablation.yaml             arms on every fold and seed, compared
python train_seg.py compare runs/demo runs/b                      two runs, patient by patient
python train_seg.py report runs/demo-ablation                     the page of a run or an ablation, to be sent
python train_seg.py schema                                        the JSON Schema of a YAML file
"""

from __future__ import annotations

import argparse
import errno
import io
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

if TYPE_CHECKING:
    from engine.console.display import Display
    from engine.processes.signals import Stop

HERE = Path(__file__).resolve().parent


def _path(text: str) -> Path:
    """A path; the shell leaves the `~` of `--out=~/masks`."""
    return Path(os.path.expanduser(text))  # noqa: PTH111  # leaves a user that is none


class Parser(argparse.ArgumentParser):
    """argparse, whose errors name the nearest verb."""

    def error(self, message: str) -> NoReturn:
        """One line, exit code 2."""
        if "invalid choice" in message:
            wrong, *choices = re.findall(r"'([^']*)'", message)
            near = get_close_matches(wrong, choices, n=1)
            message += f"; did you mean {near[0]!r}?" if near else ""
        print(f"train_seg.py: {message} (see --help)", file=sys.stderr)
        raise SystemExit(2)


class Verb(NamedTuple):
    """What the program can do.

    Attributes:
        help: one line.
        function: `module:name`, by default that of the verb's name in `engine.verbs`; imported when all else is right.
            Its parameters are the arguments by name, `display`, `stop` and what `reads` gives. Where it returns False,
            the exit code is `failure`, else 0; text that it returns is printed.
        description: of its own help page.
        arguments: each as `argument` takes it.
        arrange: completes what has been parsed, and refuses what does not go together; see `parse`.
        reads: what the YAML file `path` is checked as, before the function's libraries are imported, which takes
            seconds: mistakes are named at once.
        overrides: whether `key=value` may be given.
        failure: an exit code.
    """

    help: str
    function: str = ""
    description: str = ""
    arguments: Sequence[tuple[str, dict[str, Any]]] = ()
    arrange: Callable[[Parser, argparse.Namespace], None] = lambda top, options: None  # noqa: ARG005
    reads: Literal["config", "ablation"] | None = None
    overrides: bool = True
    failure: int = 1


def argument(name: str, **options: Any) -> tuple[str, dict[str, Any]]:
    """An argument, as `ArgumentParser.add_argument` takes it."""
    return name, options


def overrides(help: str) -> tuple[str, dict[str, Any]]:
    """The `key=value` arguments of a verb."""
    return argument("overrides", nargs="*", metavar="key=value", default=(), help=help)


def _count(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)


def _arrange_train(top: Parser, options: argparse.Namespace) -> None:
    """`--find-lr`, `--profile`, `--tune` are functions of their own; what ends with its parent waits for another."""
    options.waits = options.exit_with_parent
    given = {"--find-lr": options.find_lr, "--profile": options.profile, "--tune": options.tune}
    asked = [flag for flag, wanted in given.items() if wanted]
    if len(asked) > 1:
        top.error(f"{asked[0]} and {asked[1]} do not go together; give one after the other")
    if options.workers is not None and (options.find_lr or options.profile):
        top.error(f"--workers is for folds and trials, and {asked[0]} trains none; leave it out")
    if options.find_lr:
        options.function = "engine.verbs.find_lr:find_lr"
    elif options.profile:
        options.function = "engine.verbs.profile:profile_run"
    elif options.tune:
        options.function = "engine.verbs.tune:tune"


def _arrange_check(top: Parser, options: argparse.Namespace) -> None:
    """Removing the cache is all that is done then."""
    if options.clear_cache and options.html:
        top.error("--clear-cache checks nothing that --html could show; leave one of them out")


def _arrange_evaluate(top: Parser, options: argparse.Namespace) -> None:
    """`evaluate RUN` or `evaluate --pred DIR --ref DIR`, with overrides behind either."""
    if options.predicted is None and options.reference is None:
        if options.path is None or "=" in options.path:
            top.error("evaluate needs a run's folder, or --pred and --ref")
        if options.out is not None:
            top.error("--out is for --pred and --ref; the scores of a run go into its folder")
        options.path = _path(options.path)
        options.part = options.part or "test"
        return
    if options.part or options.checkpoint:
        top.error("--split and --checkpoint choose of a run; --pred scores all of its masks")
    if options.predicted is None or options.reference is None:
        top.error("--pred and --ref go together: two folders of masks")
    if options.path is not None:
        if "=" not in options.path:
            top.error(f"evaluate scores a run or the masks of --pred, not both: {options.path!r}")
        options.overrides.insert(0, options.path)
    options.function = "engine.verbs.evaluate:evaluate_masks"


def _arrange_predict(top: Parser, options: argparse.Namespace) -> None:
    """Overrides may stand among the images."""
    given = [(text, "=" in text and not Path(text).exists()) for text in options.images]
    options.images = [_path(text) for text, override in given if not override]
    options.overrides = [*(text for text, override in given if override), *options.overrides]
    if not options.images:
        top.error("predict needs an image or a folder of images")


RUN = argument("path", type=_path, metavar="run", help="the run's folder, output/name")
YAML = argument("path", type=_path, metavar="config", help="a YAML file")
CHECKPOINT = argument(
    "--checkpoint", choices=["best", "last", "average"], help="default: scores.checkpoint of the run, that is best"
)
REFERENCE = argument(
    "--ref", dest="reference", type=_path, metavar="DIR", help="the reference masks of folders of masks"
)

VERBS = {
    "init": Verb(
        help="write a YAML file for a folder",
        description="""\
Look at a folder of any layout of docs/data.md and write a YAML file for it: which files are images and masks, what
the masks hold, and settings that follow from sizes, spacings and classes, each with its reason. It asks nothing and
overwrites nothing; what the files leave open is listed with the keys that decide:

  python train_seg.py init data/mine
  python train_seg.py init /data/prostate --out prostate.yaml
""",
        arguments=[
            argument("folder", type=_path, metavar="FOLDER", help="the folder of a data set"),
            argument("--out", type=_path, metavar="FILE", help="default: the folder's name with .yaml, here"),
        ],
        overrides=False,
    ),
    "train": Verb(
        help="train and score",
        description="""\
Train what a YAML file describes, then score the best checkpoint once on the held-out part.

The run's folder is output/name. Run the same command to resume a run that was interrupted; one that
is finished (scores.json is there) is left alone. On SIGTERM the run is saved and the exit code is 0.
Any key can be overridden as key=value; values are YAML:

  python train_seg.py train configs/demo.yaml
  python train_seg.py train configs/demo.yaml name=focal loss.name=focal loss.gamma=1 train.epochs=5
  python train_seg.py train configs/demo.yaml name=cv 'data.split={kind: kfold, folds: 4, fold: all}'
  python train_seg.py train configs/demo.yaml name=both 'loss=[{name: dice}, {name: ce, weight: 0.5}]'
  python train_seg.py train configs/demo.yaml name=wide train.devices=4

--tune first trains short trials, scored on the validation part, as the key tune says, or at other learning rates.
The run then has the values of the best in its config.yaml; the trials are in output/name-tuning:

  python train_seg.py train configs/demo.yaml name=tuned data.split.val=3 --tune
  python train_seg.py train configs/demo.yaml name=tuned data.split.val=3 --tune \
      'tune={keys: {optim.lr: {low: 1e-4, high: 1e-2, log: true}, optim.weight_decay: [0, 1e-4]}, trials: 8}'

--find-lr takes up to 100 steps, each at a higher learning rate, and plots their losses into output/name-lr.
--profile takes some steps and tells where the time of an epoch goes; a trace of some goes to output/name-profile.
""",
        arguments=[
            YAML,
            overrides("overrides, such as train.epochs=3"),
            argument("--exit-with-parent", action="store_true", help=argparse.SUPPRESS),  # when standard input closes
            argument("--workers", type=_count, metavar="N", help="folds trained at a time, with data.split.fold: all"),
            argument("--tune", action="store_true", help="tune first: what the key tune says, or the learning rate"),
            argument("--trial", type=int, help=argparse.SUPPRESS),  # train so many epochs, and score nothing
            argument("--find-lr", action="store_true", help="try learning rates, and train nothing"),
            argument("--profile", action="store_true", help="tell where an epoch's time goes, and train nothing"),
        ],
        arrange=_arrange_train,
        reads="config",
    ),
    "reproduce": Verb(
        help="run a run again and compare",
        description="""\
Run a finished run again, from the configuration and the split in its folder, and compare bit for bit: the log
without its times, weights, optimizer and scores. Reports the first difference; exit code 0 if there is
none, 1 if there is one. The second run is NAME-reproduced beside the first; it is removed if it is the same:

  python train_seg.py reproduce runs/demo
""",
        arguments=[RUN, overrides("overrides, such as data.root=/data")],
    ),
    "check": Verb(
        help="check the data of a YAML file",
        description="""\
Open every file of the data set, one at a time, and report what it holds: sizes, class shares, groups and
classes of each part, the class weights of each scheme, one picture of samples with their masks.
Errors are listed first, and the exit code is then 2. Pictures and page are written to output/name-check.

  python train_seg.py check configs/demo.yaml --html
""",
        arguments=[
            YAML,
            argument("--html", action="store_true", help="write the report as a page too"),
            argument("--clear-cache", action="store_true", help="remove the decoded cases instead"),
            overrides("overrides, such as data.root=/data"),
        ],
        arrange=_arrange_check,
        reads="config",
        failure=2,
    ),
    "evaluate": Verb(
        help="score a trained run",
        description="""\
Score a trained run on one of its parts, from its best checkpoint or another. Overrides may set the folders
(data.root, data.cache), how to run (data.workers, train.device) and how to score (scores.grid, scores.flip, …);
each way of scoring has an output folder of its own:

  python train_seg.py evaluate runs/demo
  python train_seg.py evaluate runs/demo --split val --checkpoint last scores.grid=network

Or score the mask files of any other program. Prediction and reference are matched by file name; labels gives the
meaning of their values, ignore those to ignore, background the class that means leave out; name and group are
regular expressions for the part of the name that must match and for the patient of a case:

  python train_seg.py evaluate --pred theirs/ --ref masks/ 'labels={background: 0, gland: [1, 2]}' background=background
""",
        arguments=[
            argument("path", nargs="?", metavar="run", help="the run's folder, output/name"),
            argument("--split", dest="part", choices=["train", "val", "test"], help="default: test"),
            CHECKPOINT,
            argument("--pred", dest="predicted", type=_path, metavar="DIR", help="score mask files instead of a run"),
            REFERENCE,
            argument("--out", type=_path, metavar="DIR", help="where the scores of --pred go; default: its folder"),
            overrides("folders, how to run, how to score"),
        ],
        arrange=_arrange_evaluate,
    ),
    "predict": Verb(
        help="masks for images",
        description="""\
Predict masks for images that need no reference: out/masks holds them on the images' own grid and in the
data set's own values, out/preview in colour over the image, or as contours on the slices of a scan.
scores.window predicts large images in overlapping windows, scores.flip averages with the mirrored image,
scores.largest_component keeps one part of each class. A run with every fold predicts with all networks.
The mask of a DICOM series is a DICOM SEG that refers to it, with the patient's name unless --anonymous:

  python train_seg.py predict runs/camvid photos/ frame.png --out predicted
  python train_seg.py predict runs/prostate scans/ --out predicted --format nii.gz --probabilities
  python train_seg.py predict runs/trus hospital/ --out segmented --anonymous
  python train_seg.py predict runs/city leftImg8bit/test --out submission 'scores.window=[512, 1024]' scores.flip=true
""",
        arguments=[
            RUN,
            argument("images", nargs="+", metavar="INPUT", help="images, or folders of them; key=value overrides"),
            argument("--out", type=_path, required=True, metavar="DIR", help="where the masks go"),
            CHECKPOINT,
            argument("--probabilities", action="store_true", help="write the probabilities of the classes too"),
            argument(
                "--format",
                dest="suffix",
                choices=["nii.gz", "nii", "mha", "mhd"],
                help="of volumes; default: the scan's own (of DICOM: SEG)",
            ),
            argument("--anonymous", action="store_true", help="leave patient and visit empty in DICOM SEG"),
            argument(
                "--engine",
                choices=["onnx", "torch"],
                help="run what `export` has written, on the CPU; torch unpickles it: for runs of your own",
            ),
        ],
        arrange=_arrange_predict,
    ),
    "export": Verb(
        help="the network as one file",
        description="""\
Write the trained network as one graph that needs nothing of this program: from images to logits and probabilities,
with padding, class weights, adjustment, mirroring, the mean of all folds, and the normalisation of RGB images inside.
A JSON file beside it says what the graph takes and what is left to do outside. The graph is compared with the run, on
noise and on images of the data set, before it is written to run/exported; `predict --engine` runs it:

  python train_seg.py export runs/demo --format onnx
  python train_seg.py predict runs/demo images/ --out masks --engine onnx
  python train_seg.py export runs/demo --format torch scores.flip=true
""",
        arguments=[
            RUN,
            argument(
                "--format",
                dest="engine",
                choices=["onnx", "torch"],
                default="onnx",
                help="onnx, or torch for torch.export.load; default: onnx",
            ),
            CHECKPOINT,
            overrides("how to score: scores.flip, scores.window, …"),
        ],
    ),
    "ablate": Verb(
        help="train arms and compare",
        description="""\
Train the arms of an ablation on every fold with every seed, and compare each with the baseline: paired by patient,
with 95 % intervals and p-values. Every cell is an ordinary run, output/name/ARM/seed-S/fold-F. Run the same command
to resume; after an arm or a seed has been added, only what is new is trained.

  python train_seg.py ablate configs/demo_ablation.yaml
  python train_seg.py ablate configs/demo_ablation.yaml --dry-run 'ablation.seeds=[0, 1, 2]' ablation.workers=2

ablation.tune tunes every arm first, with the same number of trials, scored on each fold's validation part:

  python train_seg.py ablate configs/demo_tuned.yaml

Cells are processes of this machine, or go to a Dask scheduler's workers, or as jobs to SLURM or PBS (docs/scale.md):

  python train_seg.py ablate prostate_ablation.yaml --scheduler tcp://node1:8786
  python train_seg.py ablate prostate_ablation.yaml 'ablation.cluster={name: slurm, cores: 8, memory: 32GB,
      walltime: "24:00:00", gpus: 1}'
""",
        arguments=[
            argument("path", type=_path, metavar="config", help="a YAML file with a section ablation"),
            overrides("overrides, such as train.epochs=3"),
            argument("--dry-run", action="store_true", help="list the cells and estimate the time"),
            argument("--scheduler", metavar="ADDRESS", help="train on the workers of this Dask scheduler, tcp://…"),
        ],
        reads="ablation",
    ),
    "compare": Verb(
        help="compare two methods",
        description="""\
Compare two methods patient by patient: runs, folders with the folds of one, arms of an ablation, any scores.json,
nnU-Net's summary.json or the folder of a trainer with those of its folds, MONAI's mean_dice_raw.csv or any CSV file
of case, class, DSC:

  python train_seg.py compare runs/prostate-adfl runs/prostate-ce
  python train_seg.py compare runs/demo-ablation/adfl runs/demo-ablation/ce
  python train_seg.py compare runs/prostate-adfl nnunet/nnUNetTrainer__nnUNetPlans__2d
  python train_seg.py compare monai/mean_dice_raw.csv theirs.csv
  python train_seg.py compare runs/prostate-adfl nnunet/ --ref masks/ 'labels={background: 0, prostate: 1}' \\
      --html page.html

Folders of masks are scored against --ref, with the options of `evaluate --pred`; a dataset.json beside them names their
classes. Classes are matched by name, cases by file name. Of two ablations every arm that both have is compared.
""",
        arguments=[
            argument("a", type=_path, help="a run, an arm, scores of any program, or masks"),
            argument("b", type=_path, help="what it is compared with"),
            REFERENCE,
            overrides("what masks, and scores of other programs, mean"),
            argument("--smallest", help="the difference that would matter; default: DSC=0.01,IoU=0.01,HD95=1,ASSD=1"),
            argument("--html", type=_path, metavar="FILE", help="write a page too, with the same cases side by side"),
            argument("--anonymous", action="store_true", help="a page of two runs that names no case, path or user"),
        ],
    ),
    "report": Verb(
        help="write a page",
        description="""\
Write one HTML file about a run, all folds of one, or an ablation: verdict, tables, curves, cases to look at. It needs
no network and no other file, so it can be sent; of patients it holds pictures and case ids. `train` and `ablate`
write it at their end; `report` writes it again from what is finished so far. With --anonymous cases are numbered, and
paths and names left out (report-anonymous.html). Several are joined on one page, such as the ablations of several data
sets:

  python train_seg.py report runs/demo
  python train_seg.py report runs/mri-ablation runs/trus-ablation --out both.html
""",
        arguments=[
            argument("paths", nargs="+", type=_path, metavar="PATH", help="a run, or an ablation"),
            argument("--out", type=_path, metavar="FILE", help="default: report.html in the folder"),
            argument("--anonymous", action="store_true", help="without names of cases, paths and users"),
        ],
        overrides=False,
    ),
    "schema": Verb(
        help="print the JSON Schema of a YAML file", function="engine.configuration.schema:schema", overrides=False
    ),
}


def parser() -> Parser:
    """The parser of all verbs."""
    raw = argparse.RawDescriptionHelpFormatter
    top = Parser(description=__doc__, formatter_class=raw)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in VERBS.items():
        own = verbs.add_parser(name, help=verb.help, description=verb.description, formatter_class=raw)
        own.set_defaults(function=verb.function or f"engine.verbs.{name}:{name}", overrides=())
        for flag, options in verb.arguments:
            own.add_argument(flag, **options)
    return top


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The arguments; overrides may also stand behind options, where argparse itself does not take them."""
    top = parser()
    options, rest = top.parse_known_args(arguments)
    verb = VERBS[options.verb]
    strange = [text for text in rest if text.startswith("-") or "=" not in text or not verb.overrides]
    if strange:
        top.error(f"unrecognized argument {strange[0]!r}")
    options.overrides = [*options.overrides, *rest]
    verb.arrange(top, options)
    if getattr(options, "checkpoint", None) and any(one.startswith("scores.checkpoint=") for one in options.overrides):
        top.error("--checkpoint and scores.checkpoint say which weights are taken; give one of them")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run a verb; 0 when it is done, 1 when a run is not reproduced, 2 when the input is at fault."""
    options = parse(arguments)
    foreign = _foreign_package()
    if foreign:
        print(foreign, file=sys.stderr)
        return 2
    from engine.processes.launcher import process_info
    from engine.processes.signals import STOPPED, Stop, Stopped, exit_with_parent

    try:
        trains = options.verb == "train" and not (options.find_lr or options.profile)
        with Stop(listens=options.verb == "reproduce" or trains) as stop:
            if options.verb == "train" and options.exit_with_parent:
                exit_with_parent()
            return _run(options, stop)
    except Stopped:
        if process_info().rank == 0:
            print(f"stopped by {stop.by}, everything is saved; run the same command to resume", file=sys.stderr)
        if options.verb == "train" and options.exit_with_parent:
            return STOPPED
        return 0 if stop.by == "SIGTERM" else 130
    except KeyboardInterrupt:
        if process_info().rank == 0:
            print("\nstopped; run the same command to resume from the last checkpoint, if any", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace, stop: Stop) -> int:
    """Run a verb, and say in one line what the user can mend."""
    with stop.interrupts():  # importing the libraries takes seconds
        from datasets import DataError
        from datasets.errors import killed_workers_explained
        from engine.console.display import Display
        from engine.errors import UsageError
        from engine.processes.launcher import refuse_several
        from models import WeightsError

    try:
        if options.verb != "train" or options.find_lr or options.profile:
            flag = "find-lr" if options.verb == "train" and options.find_lr else "profile"
            refuse_several(f"train --{flag}" if options.verb == "train" else options.verb)
        with killed_workers_explained():
            return _call(options, Display(), stop)
    except (UsageError, DataError, WeightsError) as error:
        _tell(str(error))
        return 2
    except OSError as error:
        if error.filename is None and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = error.filename or "what is printed, or a temporary file"
        _tell(f"{place}: {error.strerror}; free space or permissions, then the same command again")
        return 2


def _call(options: argparse.Namespace, display: Display, stop: Stop) -> int:
    """Call the function of a verb; the exit code."""
    with stop.interrupts():
        given = vars(options) | {"display": display, "stop": stop, **_read(options)}
        module, name = options.function.split(":")
        function = getattr(import_module(module), name)
    done = function(**{name: given[name] for name in signature(function).parameters})
    if isinstance(done, str):
        _print(done)
    return VERBS[options.verb].failure if done is False else 0


def _print(text: str) -> None:
    """Print a text, of which whoever reads it may want a part alone, as `head` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest, which Python writes as it ends


def _read(options: argparse.Namespace) -> dict[str, Any]:
    """The YAML file of a verb, checked."""
    match VERBS[options.verb].reads:
        case "config":
            from engine.configuration.checking import load_config

            return {"config": load_config(options.path, options.overrides)}
        case "ablation":
            from engine.ablation.arms import Ablation

            return {"ablation": Ablation.load(options.path, options.overrides)}
    return {}


def _tell(line: str) -> None:
    """Print an error: once a machine, or once in all where the processes of a training know each other."""
    from engine.processes.launcher import process_info
    from engine.processes.ranks import world_size

    if process_info().reports_errors or world_size() > 1:
        print(line, file=sys.stderr)


def _foreign_package() -> str | None:
    """A line where Python would import another package of the same name in place of ours."""
    from importlib.util import find_spec

    for name in ("datasets", "models", "engine"):
        spec = find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or HERE not in origin.parents:
            found = "nowhere" if origin is None else f"in {origin.parent}"
            return (
                f"train_seg.py: the package {name!r} is found {found}, not in {HERE}; "
                f"run it as `python {HERE / 'train_seg.py'}`, without PYTHONSAFEPATH and with PYTHONPATH unset"
            )
    return None


def _quiet() -> None:
    """Keep what libraries warn of off the screen, but where Python was asked for it (-W); and print any text."""
    if not sys.warnoptions:
        warnings.showwarning = lambda *_, **__: None
    for name in ("pydicom", "nibabel.global", "PIL", "highdicom", "matplotlib", "tifffile"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    _quiet()
    sys.exit(main())
