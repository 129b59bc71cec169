"""Train and score segmentation networks on data with rare classes, from one YAML file.

python train_seg.py check configs/demo.yaml --html                look at the data first
python train_seg.py train configs/demo.yaml                       train, then score held-out cases once
python train_seg.py train configs/demo.yaml name=b loss.name=ce   the same with another loss
python train_seg.py train configs/demo.yaml --find-lr              a learning rate, from a short sweep
python train_seg.py reproduce runs/demo                           run it again, and say where the two differ
python train_seg.py evaluate runs/demo --checkpoint last          score a trained run again
python train_seg.py evaluate --pred theirs/ --ref masks/          score the masks of any other program
python train_seg.py predict runs/demo images/ --out masks         masks for images without a reference
python train_seg.py ablate configs/demo_ablation.yaml             arms on every fold and seed, compared
python train_seg.py compare runs/demo runs/b                      two runs, patient by patient
python train_seg.py report runs/demo-ablation                     the page of a run or an ablation, to be sent
python train_seg.py schema                                        the JSON Schema of a YAML file
"""

from __future__ import annotations

import argparse
import re
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from engine.console.display import Display
    from engine.processes.signals import Stop

HERE = Path(__file__).resolve().parent
TRAIN = """\
Train what a YAML file describes, then score the best checkpoint once on the held-out part.

The run's folder is output/name. Run the same command to resume a run that was interrupted; one that
is finished (scores.json is there) is left alone. On SIGTERM the run is saved and the exit code is 0.
Any key can be overridden as key=value; values are YAML:

  python train_seg.py train configs/demo.yaml
  python train_seg.py train configs/demo.yaml name=focal loss.name=focal loss.gamma=1 train.epochs=5
  python train_seg.py train configs/demo.yaml name=cv 'data.split={kind: kfold, folds: 4, fold: all}'
  python train_seg.py train configs/demo.yaml name=both 'loss=[{name: dice}, {name: ce, weight: 0.5}]'
  python train_seg.py train configs/demo.yaml name=wide train.devices=4

--find-lr takes up to 100 steps, each at a higher learning rate, and plots their losses into output/name-lr.
"""
REPRODUCE = """\
Run a finished run again, from the configuration and the split in its folder, and compare bit for bit: the log
without its times, weights, optimizer and scores. Reports the first difference; exit code 0 if there is
none, 1 if there is one. The second run is NAME-reproduced beside the first; it is removed if it is the same:

  python train_seg.py reproduce runs/demo
"""
CHECK = """\
Open every file of the data set, one at a time, and report what it holds: sizes, class shares, groups and
classes of each part, the class weights of each scheme, one picture of samples with their masks.
Errors are listed first, and the exit code is then 2. Pictures and page are written to output/name-check.

  python train_seg.py check configs/demo.yaml --html
"""
EVALUATE = """\
Score a trained run on one of its parts, from its best or its last checkpoint. Overrides may set the folders
(data.root, data.cache), how to run (data.workers, train.device) and how to score (scores.grid, scores.flip, …);
each way of scoring has an output folder of its own:

  python train_seg.py evaluate runs/demo
  python train_seg.py evaluate runs/demo --split val --checkpoint last scores.grid=network

Or score the mask files of any other program. Prediction and reference are matched by file name; labels gives the
meaning of their values, ignore those to ignore, background the class that means leave out; name and group are
regular expressions for the part of the name that must match and for the patient of a case:

  python train_seg.py evaluate --pred theirs/ --ref masks/ 'labels={background: 0, gland: [1, 2]}' background=background
"""

ABLATE = """\
Train the arms of an ablation on every fold with every seed, and compare each with the baseline: paired by patient,
with 95 % intervals and p-values. Every cell is an ordinary run, output/name/ARM/seed-S/fold-F. Run the same command
to resume; after an arm or a seed has been added, only what is new is trained.

  python train_seg.py ablate configs/demo_ablation.yaml
  python train_seg.py ablate configs/demo_ablation.yaml --dry-run 'ablation.seeds=[0, 1, 2]' ablation.workers=2

Cells are processes of this machine, or go to a Dask scheduler's workers, or as jobs to SLURM or PBS (docs/scale.md):

  python train_seg.py ablate prostate_ablation.yaml --scheduler tcp://node1:8786
  python train_seg.py ablate prostate_ablation.yaml 'ablation.cluster={name: slurm, cores: 8, memory: 32GB,
      walltime: "24:00:00", gpus: 1}'
"""
COMPARE = """\
Compare two methods patient by patient: runs, folders with the folds of one, arms of an ablation, or any
scores.json, of ours or of another trainer (header.classes; cases: case, group, class, tp, fp, fn):

  python train_seg.py compare runs/prostate-adfl runs/prostate-ce
  python train_seg.py compare runs/demo-ablation/adfl runs/demo-ablation/ce
  python train_seg.py compare runs/prostate-adfl nnunet/ --ref masks/ 'labels={background: 0, prostate: 1}'

Folders of masks are scored against --ref, with the options of `evaluate --pred`. Of two ablations every arm that
both have is compared.
"""
REPORT = """\
Write one HTML file about a run, all folds of one, or an ablation: verdict, tables, curves, cases to look at. It needs
no network and no other file, so it can be sent; of patients it holds pictures and case ids. `train` and `ablate`
write it at their end; `report` writes it again from what is finished so far. Several are joined on one page, such as
the ablations of several data sets:

  python train_seg.py report runs/demo
  python train_seg.py report runs/mri-ablation runs/trus-ablation --out both.html
"""
PREDICT = """\
Predict masks for images that need no reference: out/masks holds them on the images' own grid and in the
data set's own values, out/preview in colour over the image, or as contours on the slices of a scan.
scores.window predicts large images in overlapping windows, scores.flip averages with the mirrored image,
scores.largest_component keeps one part of each class. A run with every fold predicts with all networks.
The mask of a DICOM series is a DICOM SEG that refers to it, with the patient's name unless --anonymous:

  python train_seg.py predict runs/camvid photos/ frame.png --out predicted
  python train_seg.py predict runs/prostate scans/ --out predicted --format nii.gz --probabilities
  python train_seg.py predict runs/trus hospital/ --out segmented --anonymous
  python train_seg.py predict runs/city leftImg8bit/test --out submission 'scores.window=[512, 1024]' scores.flip=true
"""


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


def parser() -> argparse.ArgumentParser:
    """The verbs and their arguments."""
    raw = argparse.RawDescriptionHelpFormatter
    top = Parser(description=__doc__, formatter_class=raw)
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")
    train = verbs.add_parser("train", help="train and score", description=TRAIN, formatter_class=raw)
    train.add_argument("config", type=Path, help="a YAML file")
    train.add_argument("overrides", nargs="*", metavar="key=value", help="overrides, such as train.epochs=3")
    train.add_argument(
        "--exit-with-parent", action="store_true", help=argparse.SUPPRESS
    )  # stop when standard input closes
    train.add_argument("--workers", type=int, metavar="N", help="folds trained at a time, with data.split.fold: all")
    train.add_argument("--find-lr", action="store_true", help="try learning rates, and train nothing")
    again = verbs.add_parser(
        "reproduce", help="run a run again and compare", description=REPRODUCE, formatter_class=raw
    )
    again.add_argument("run", type=Path, help="the run's folder, output/name")
    again.add_argument("overrides", nargs="*", metavar="key=value", help="overrides, such as data.root=/data")
    check = verbs.add_parser("check", help="check the data of a YAML file", description=CHECK, formatter_class=raw)
    check.add_argument("config", type=Path, help="a YAML file")
    check.add_argument("--html", action="store_true", help="write the report as a page too")
    check.add_argument("--clear-cache", action="store_true", help="remove the decoded cases instead")
    check.add_argument("overrides", nargs="*", metavar="key=value", help="overrides, such as data.root=/data")
    evaluate = verbs.add_parser("evaluate", help="score a trained run", description=EVALUATE, formatter_class=raw)
    evaluate.add_argument("run", nargs="?", help="the run's folder, output/name")
    evaluate.add_argument("--split", choices=["train", "val", "test"], help="default: test")
    evaluate.add_argument("--checkpoint", choices=["best", "last"], help="default: best")
    evaluate.add_argument("--pred", type=Path, metavar="DIR", help="score mask files instead of a run")
    evaluate.add_argument("--ref", type=Path, metavar="DIR", help="the reference masks of --pred")
    evaluate.add_argument("--out", type=Path, metavar="DIR", help="where the scores of --pred go; default: its folder")
    evaluate.add_argument("overrides", nargs="*", metavar="key=value", help="folders, how to run, how to score")
    predict = verbs.add_parser("predict", help="masks for images", description=PREDICT, formatter_class=raw)
    predict.add_argument("run", type=Path, help="the run's folder, output/name")
    predict.add_argument("inputs", nargs="+", metavar="INPUT", help="images, or folders of them; key=value overrides")
    predict.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the masks go")
    predict.add_argument("--checkpoint", choices=["best", "last"], default="best", help="default: best")
    predict.add_argument("--probabilities", action="store_true", help="write the probabilities of the classes too")
    predict.add_argument(
        "--format", choices=["nii.gz", "nii", "mha", "mhd"], help="of volumes; default: the scan's own (of DICOM: SEG)"
    )
    predict.add_argument("--anonymous", action="store_true", help="leave patient and visit empty in DICOM SEG")
    ablate = verbs.add_parser("ablate", help="train arms and compare", description=ABLATE, formatter_class=raw)
    ablate.add_argument("config", type=Path, help="a YAML file with a section ablation")
    ablate.add_argument("overrides", nargs="*", metavar="key=value", help="overrides, such as train.epochs=3")
    ablate.add_argument("--dry-run", action="store_true", help="list the cells and estimate the time")
    ablate.add_argument("--scheduler", metavar="ADDRESS", help="train on the workers of this Dask scheduler, tcp://…")
    compare = verbs.add_parser("compare", help="compare two methods", description=COMPARE, formatter_class=raw)
    compare.add_argument("a", type=Path, help="a run, an arm, or a scores.json")
    compare.add_argument("b", type=Path, help="what it is compared with")
    compare.add_argument(
        "--ref", type=Path, metavar="DIR", help="the reference masks, where a or b is a folder of masks"
    )
    compare.add_argument("overrides", nargs="*", metavar="key=value", help="with --ref: what the masks mean")
    compare.add_argument(
        "--smallest", help="the difference that would matter; default: DSC=0.01,IoU=0.01,HD95=1,ASSD=1"
    )
    report = verbs.add_parser("report", help="write a page", description=REPORT, formatter_class=raw)
    report.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a run, or an ablation")
    report.add_argument("--out", type=Path, metavar="FILE", help="default: report.html in the folder")
    verbs.add_parser("schema", help="print the JSON Schema of a YAML file")
    return top


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The arguments; overrides may also stand behind options, where argparse itself does not take them."""
    top = parser()
    options, rest = top.parse_known_args(arguments)
    strange = [argument for argument in rest if argument.startswith("-") or "=" not in argument]
    if strange or (rest and options.verb in ("report", "schema")):
        top.error(f"unrecognized argument {(strange or rest)[0]!r}")
    if rest and options.verb != "predict":
        options.overrides += rest
    if options.verb == "evaluate":
        _sort_out(top, options)
    if options.verb == "predict":
        given = [(text, "=" in text and not Path(text).exists()) for text in options.inputs]
        options.inputs = [Path(text) for text, override in given if not override]
        options.overrides = [*(text for text, override in given if override), *rest]
        if not options.inputs:
            top.error("predict needs an image or a folder of images")
    return options


def _sort_out(top: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """`evaluate RUN` or `evaluate --pred DIR --ref DIR`, with overrides behind either."""
    if options.pred is None and options.ref is None:
        if options.run is None or "=" in options.run:
            top.error("evaluate needs a run's folder, or --pred and --ref")
        if options.out is not None:
            top.error("--out is for --pred and --ref; the scores of a run go into its folder")
        options.run = Path(options.run)
        options.split, options.checkpoint = options.split or "test", options.checkpoint or "best"
        return
    if options.split or options.checkpoint:
        top.error("--split and --checkpoint choose of a run; --pred scores all of its masks")
    if options.pred is None or options.ref is None:
        top.error("--pred and --ref go together: two folders of masks")
    if options.run is not None:
        if "=" not in options.run:
            top.error(f"evaluate scores a run or the masks of --pred, not both: {options.run!r}")
        options.overrides.insert(0, options.run)


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
        with Stop(listens=options.verb == "reproduce" or (options.verb == "train" and not options.find_lr)) as stop:
            if options.verb == "train" and options.exit_with_parent:
                exit_with_parent()
            return _run(options, stop)
    except Stopped:
        if process_info().rank == 0:
            print("stopped by SIGTERM, everything is saved; run the same command to resume", file=sys.stderr)
        return STOPPED if options.verb == "train" and options.exit_with_parent else 0
    except KeyboardInterrupt:
        if process_info().rank == 0:
            print("\nstopped; run the same command to resume from the last checkpoint, if any", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace, stop: Stop) -> int:
    """Run a verb, and say in one line what the user can mend."""
    with stop.interrupts():  # importing the libraries takes seconds
        from datasets import DataError
        from engine.console.display import Display
        from engine.errors import UsageError
        from engine.processes.launcher import refuse_several
        from models import WeightsError

    try:
        if options.verb != "train" or options.find_lr:
            refuse_several("train --find-lr" if options.verb == "train" else options.verb)
        return _call(options, Display(), stop)
    except (UsageError, DataError, WeightsError) as error:
        _tell(str(error))
        return 2
    except OSError as error:
        if error.filename is None:
            raise
        _tell(f"{error.filename}: {error.strerror}; free space or permissions, then the same command again")
        return 2


def _call(options: argparse.Namespace, display: Display, stop: Stop) -> int:
    """Call the verb; its exit code.

    A YAML file is checked before the verb is imported, whose libraries take seconds: mistakes are named at once.
    """
    from engine.configuration.checking import load_config

    match options.verb:
        case "train" if options.find_lr:
            config = load_config(options.config, options.overrides)
            from engine.verbs.find_lr import find_lr

            find_lr(config, options.config, options.overrides, display)
        case "train":
            with stop.interrupts():
                config = load_config(options.config, options.overrides)
                from engine.verbs.train import train

            train(
                config,
                options.config,
                options.overrides,
                display,
                stop,
                options.workers,
                waits=options.exit_with_parent,
            )
        case "reproduce":
            from engine.verbs.reproduce import reproduce

            return 0 if reproduce(options.run, options.overrides, display, stop) else 1
        case "check":
            config = load_config(options.config, options.overrides)
            from engine.verbs.check import check

            return 0 if check(config, options.html, options.clear_cache, display) else 2
        case "evaluate" if options.pred is not None:
            from engine.verbs.evaluate import evaluate_masks

            evaluate_masks(options.pred, options.ref, options.overrides, options.out, display)
        case "evaluate":
            from engine.verbs.evaluate import evaluate

            evaluate(options.run, options.split, options.checkpoint, options.overrides, display)
        case "predict":
            from engine.verbs.predict import predict

            predict(
                options.run,
                options.inputs,
                options.out,
                options.checkpoint,
                options.probabilities,
                options.format,
                options.anonymous,
                options.overrides,
                display,
            )
        case "ablate":
            from engine.ablation.arms import Ablation

            ablation = Ablation.load(options.config, options.overrides)
            from engine.verbs.ablate import ablate

            ablate(ablation, options.dry_run, options.scheduler, display)
        case "compare":
            from engine.verbs.compare import compare

            compare(options.a, options.b, options.ref, options.overrides, options.smallest, display)
        case "report":
            from engine.verbs.report import report

            report(options.paths, options.out, display)
        case "schema":
            from engine.configuration.schema import schema

            print(schema())
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
