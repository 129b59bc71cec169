"""Every command and every example of the pages works.

The commands of the quick start are run, on little data. All others are read by the parser of the program they call,
and the configuration they name is checked with their overrides. A block of commands that can be neither, since it is
another program's, says so on the line before it: `<!-- not run: why -->`.
"""

import functools
import importlib
import re
import shlex
import subprocess
import sys
import textwrap
import tomllib
from argparse import ArgumentParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from ruamel.yaml import YAML

import segloss
from engine.ablation.arms import Ablation
from engine.configuration.checking import load_config
from engine.errors import UsageError
from engine.scoring.mask_options import Options
from segloss_tests import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<why>[^\n]+) -->\n+)?(?P<indent> *)```(?P<kind>\w*)[^\n]*\n(?P<text>.*?)^ *```$", re.M | re.S
)
SHELL = ("bash", "console", "sh", "shell")
PROGRAMS = r"(?:\S*/)?(?:python3?|pip|make|pytest|torchrun|srun|sbatch|dask|mkdocs)"
LINE = re.compile(rf"^ *(?:\$ )?(?:{PROGRAMS}|train_seg\.py) \S")
SPAN = re.compile(r"`((?:\S*/)?(?:(?:python3?|pip|make|pytest|torchrun) |train_seg\.py)[^`\n]*)`")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
REST = {"name": "a", "model": {"name": "unet"}, "loss": {"name": "ce"}, "optim": {"name": "adam"}}
REST["data"] = {"name": "camvid", "root": "data", "split": {"kind": "official"}}
GIVEN = {"losses.md": {"loss": segloss.build_loss("ldam", num_classes=2, class_counts=[9, 1]), "epochs": 1}}
"""What an example takes from the reader's own program."""
GIVEN["losses.md"]["class_accuracy"] = None


def blocks(page, *kinds):
    for block in BLOCK.finditer(page.read_text()):
        if block["kind"] in kinds:
            yield block, textwrap.dedent(block["text"])


def commands(text):
    """The commands of a block, each a list of words; of a console those behind a prompt."""
    lines = text.replace("\\\n", " ").splitlines()
    prompted = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
    every = (shlex.split(line, comments=True) for line in prompted or lines)
    return [words[: words.index(">")] if ">" in words else words for words in every if words]


def recipe(*arguments):
    """What make would run."""
    command = ["make", "-n", "--no-print-directory", *arguments]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    return found.stdout


IN_BLOCKS = {
    shlex.join(words): words
    for page in PAGES
    for block, text in blocks(page, *SHELL)
    if not block["why"]
    for words in commands(text)
}
IN_PROSE = {span: shlex.split(span) for page in PAGES for span in SPAN.findall(page.read_text())}
YAMLS = [
    pytest.param(text, id=f"{page.name}-{number}")
    for page in PAGES
    if page.name not in ("data.md", "models.md")  # test_docs_data.py has those; the other is made from signatures
    for number, (block, text) in enumerate(blocks(page, "yaml", "yml"))
    if not block["why"]
]


class Parsed(Exception):  # noqa: N818
    """A program has read its arguments."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a reader works: the configurations that ship, and those of the pages that have a name."""
    path = tmp_path_factory.mktemp("reader")
    (path / "configs").symlink_to(ROOT / "configs")
    for page in PAGES:
        for _, text in blocks(page, "yaml"):
            if named := re.match(r"# (\w+\.yaml)\n", text):
                (path / named[1]).write_text(text)
    return path


@pytest.fixture
def check(folder, door, monkeypatch):
    """Refuse a command that would not run."""
    monkeypatch.chdir(folder)

    def checked(words, prose=False):
        while re.fullmatch(r"[A-Z_0-9]+=.*", words[0]):
            words = words[1:]
        if words[0] == "srun":
            words = words[next(index for index, word in enumerate(words) if index and not word.startswith("-")) :]
        program, *rest = Path(words[0]).name, *words[1:]
        if program == "train_seg.py":
            _verb(door, rest, prose)
        elif program.startswith("python") and rest[:1] == ["-W"]:
            checked([program, *rest[2:]])
        elif program.startswith("python") and rest[0] == "train_seg.py":
            _verb(door, rest[1:], prose)
        elif program.startswith("python") and rest[0] == "-m":
            _module(rest[1], rest[2:], prose, monkeypatch)
        elif program.startswith("python") and Path(rest[0]).suffix == ".py":
            _module(".".join(Path(rest[0]).with_suffix("").parts), rest[1:], prose, monkeypatch)
        elif program == "torchrun":
            from torch.distributed.run import get_args_parser

            options = get_args_parser().parse_args(rest)
            assert options.training_script == "train_seg.py"
            _verb(door, options.training_script_args, prose)
        elif program == "dask":
            command = importlib.import_module(f"distributed.cli.dask_{rest[0]}").main
            command.make_context(rest[0], rest[1:]).close()
        elif program == "make":
            for line in commands(recipe(*rest)):
                if any(word.endswith("bin/python") for word in line):
                    checked(line)
        elif program == "pip":
            assert rest[0] == "install"
            wanted = re.fullmatch(r"(?:\.|segloss)(?:\[([\w,-]+)\])?", rest[-1])
            assert wanted, rest
            assert {*filter(None, (wanted[1] or "").split(","))} <= EXTRAS.keys(), rest
        elif program == "pytest":
            assert all((ROOT / word).is_file() for word in rest if word.endswith(".py"))
        else:
            pytest.fail(f"no test reads {program!r}: teach this one, or write <!-- not run: why --> above the block")

    return checked


@functools.cache
def loaded(load, path, *overrides):
    """A configuration; several pages name the same."""
    return load(path, overrides)


def _verb(door, arguments, prose):
    """`train_seg.py`: its own parser, the configuration that is named, its overrides."""
    if prose and len(arguments) <= 1:  # the name of a verb
        assert not arguments or f"{arguments[0]} " in door.parser().format_help() + " ", arguments
        return
    options = door.parse(arguments)
    overrides, reads = options.overrides, door.VERBS[options.verb].reads
    config = options.path if reads else None
    if config is not None and prose and not config.is_file():  # any file of the reader's
        assert config.stem.isupper() or config.name == "run.yaml"
    elif reads == "ablation":
        loaded(Ablation.load, config, *overrides)
    elif config is not None:
        loaded(load_config, config, *overrides)
    elif getattr(options, "reference", None) is not None or options.verb == "compare":
        Options.parse(overrides)
    else:
        loaded(load_config, Path("configs/demo.yaml"), *overrides)


def _module(name, arguments, prose, monkeypatch):
    """A module of ours: the parser of its `main`, and a configuration if it takes one."""
    if name in ("pytest", "mkdocs", "pip"):
        return
    if not (ROOT / name.replace(".", "/")).with_suffix(".py").is_file():  # a package that runs
        name = f"{name}.__main__"
        assert (ROOT / name.replace(".", "/")).with_suffix(".py").is_file(), name
    module = importlib.import_module(name)
    if prose and not arguments:  # the name of a program
        assert callable(module.main)
        return

    read = ArgumentParser.parse_known_args

    def parsed(parser, *given):
        raise Parsed(*read(parser, *given[:1]))

    if "argparse" not in vars(module):
        assert not arguments
        assert callable(module.main)
        return
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", [name, *arguments])
        patch.setattr(ArgumentParser, "parse_known_args", parsed)
        with pytest.raises(Parsed) as found:
            module.main()
    options, rest = found.value.args
    assert all(re.match(r"[\w.]+=", word) for word in rest), rest
    if hasattr(options, "config"):
        loaded(load_config, options.config, *options.overrides, *rest)
    else:
        assert not rest


@pytest.mark.parametrize("words", IN_BLOCKS.values(), ids=IN_BLOCKS)
def test_every_command_of_a_block_is_one(words, check):
    check(words)


@pytest.mark.parametrize("words", IN_PROSE.values(), ids=IN_PROSE)
def test_every_command_in_prose_is_one(words, check):
    check(words, prose=True)


@pytest.mark.parametrize(
    "command",
    [
        "train_seg.py trian configs/demo.yaml",
        "python train_seg.py train configs/demo.yaml loss.gama=1",
        "python train_seg.py train configs/demo.yaml --find-lrs",
        "python train_seg.py check configs/no.yaml",
        "python train_seg.py evaluate --pred a --ref b 'label={a: 0}'",
        "python -m benchmarks.losses --shapely 1",
        "python -m benchmarks.nothing",
        "make nothing",
        "pip install '.[nothing]'",
        "conda install segloss",
    ],
)
def test_a_command_that_is_none_is_seen(command, check):
    with pytest.raises((SystemExit, UsageError, AssertionError, pytest.fail.Exception)):
        check(shlex.split(command))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_command_hides_in_a_block_of_another_kind(page):
    """Untagged, or indented, where nothing above would look at it."""
    text = BLOCK.sub(lambda block: "" if block["kind"] in SHELL else block["text"], page.read_text())
    hidden = [line for line in text.splitlines() if LINE.match(line) and re.match(r" {4}|\$", line)]
    others = "".join(text for _, text in blocks(page, "", "text"))
    assert not hidden + [line for line in others.splitlines() if LINE.match(line)]


@pytest.mark.parametrize("text", YAMLS)
def test_every_configuration_is_valid(text, folder, monkeypatch):
    monkeypatch.chdir(folder)
    said = YAML(typ="safe", pure=True).load(text)
    path = folder / "example.yaml"
    if "extends" not in said:
        said = REST | said
    with path.open("w") as file:
        YAML(typ="safe", pure=True).dump(said, file)
    (Ablation.load if "ablation" in said else load_config)(path)


@pytest.mark.parametrize(
    ("page", "text"),
    [pytest.param(page, text, id=page.name) for page in PAGES for _, text in blocks(page, "python")],
)
def test_every_example_in_python_runs(page, text):
    exec(compile(text, str(page), "exec"), dict(GIVEN.get(page.name, {})))


@pytest.fixture
def reader(folder):
    """The folder of a reader who has a few images of their own: discs on noise."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / "data/mine" / kind).mkdir(parents=True)
    for index in range(8):
        mask = cv2.circle(np.zeros((40, 40), np.uint8), (20, 20), 6 + index, 255, -1)
        image = rng.integers(0, 100, (40, 40, 3)).astype(np.uint8) + (mask // 2)[..., None]
        cv2.imwrite(str(folder / f"data/mine/images/{index}.png"), image)
        cv2.imwrite(str(folder / f"data/mine/masks/{index}.png"), mask)
    return folder


LITTLE = ["train.epochs=1", "data.size=[32, 32]", "data.workers=0", "train.device=cpu"]
DEMO = [*LITTLE, "data.patients=8", "data.split.val=1", "model.decoder_channels=[16, 8, 8, 8]"]
MORE = {
    "data/mine": ("--out", "made.yaml"),
    "configs/demo.yaml": [*DEMO, "data.split.test=4"],
    "configs/demo_ablation.yaml": [*DEMO, "--dry-run", "ablation.arms.acw_ce=null", "ablation.arms.dfl=null"],
    "mine.yaml": LITTLE,
}
"""What is added to the commands of the quick start: little data, and an ablation is only planned."""


@pytest.mark.slow
def test_the_quick_start_runs(reader, module_program):
    """Its commands in their order, up to the list of what else there is, on 8 patients of 32×32 and as many images."""
    page, told = (ROOT / "docs/index.md").read_text(), {}
    for block, text in blocks(ROOT / "docs/index.md", "sh"):
        assert not block["why"]
        if block.start() > page.index("## 6. Whatever else"):
            break
        for words in commands(text):
            if words[0] == "make":
                words = commands(recipe(*words[1:]))[-1]
            assert words[:2] == [".venv/bin/python", "train_seg.py"]
            verb, *arguments = words[2:]
            told[verb] = module_program(verb, *arguments, *MORE.get(arguments[0], ()), check=0, cwd=reader).stdout
    assert told.keys() == {"init", "check", "train", "compare", "ablate", "evaluate", "predict"}
    assert "Fewer than 6" in told["compare"]
    paths = re.findall(r"`(runs/[\w./-]+)`", page)
    files = re.findall(r"`([^`]+)`", " ".join(re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)))
    assert (len(paths), len(files)) == (2, 9)
    assert all((reader / path).exists() for path in [*paths, *(f"runs/demo/{file}" for file in files)])
    assert len([*(reader / "predicted/masks").iterdir()]) == 8
