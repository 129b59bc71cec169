"""The pages say what the code does."""

import inspect
import re

import pytest

import models as networks
import segloss
from docs import losses, models, peers
from segloss_tests import ROOT

DOCS = ROOT / "docs"
COMPARISON = (
    "adjustment",
    "calibration",
    "compare",
    "comparison",
    "multiplicity",
    "networks",
    "random_effects",
    "ranks",
    "sign_flip",
)


def test_the_page_of_the_losses_is_made_from_the_code():
    assert (DOCS / "losses.md").read_text() == losses.page(), "run: make docs"


def test_the_page_of_the_losses_says_what_every_loss_takes():
    table = losses.page().split("What every loss takes in Python")[1].split("## Which one?")[0]
    meanings = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", table, re.MULTILINE))
    assert tuple(meanings) == losses.GIVEN
    assert "None" not in meanings.values()
    assert not re.search(r"\{[A-Z]+\}", losses.page()), "a gap that nothing filled"


def test_every_loss_is_in_one_group_and_has_a_picture():
    assert sorted(name for names in losses.GROUPS.values() for name in names) == sorted(segloss.LOSSES)
    pictures = re.findall(r"\]\((losses/\w+\.png)\)", (DOCS / "losses.md").read_text())
    assert len(pictures) == len(segloss.LOSSES) + 5
    assert all((DOCS / picture).stat().st_size > 2000 for picture in pictures)
    assert {path.name for path in (DOCS / "losses").iterdir()} == {picture.split("/")[1] for picture in pictures}


def test_every_source_is_in_the_references():
    files = [path for path in (ROOT / "segloss").glob("*.py") if path.stem not in COMPARISON]
    text = "".join(path.read_text() for path in files)
    cited = set(re.findall(r"\b([A-Z][a-z]+ 20\d\d)\b", text))
    assert cited <= losses.REFERENCES.keys()
    assert set(losses.REFERENCES) - cited == {"Kato", "ENet, 2016", "SegNet, 2015"}


def test_every_source_of_the_comparison_is_in_its_references():
    text = "".join((ROOT / f"segloss/{name}.py").read_text() for name in COMPARISON)
    cited = set(re.findall(r"\b([A-Z][^\W\d]+ (?:19|20)\d\d)\b", text))
    assert {"Hartigan 1969", "Westfall 1993"} <= cited
    assert all(f"- {source}: " in (DOCS / "ablation.md").read_text() for source in cited)


@pytest.mark.parametrize("name", list(segloss.LOSSES))
def test_every_loss_says_when_and_when_not(name):
    text = " ".join(inspect.getdoc(segloss.LOSSES[name]).split())
    assert re.search(r"\b[Uu]se it\b", text)
    assert re.search(r"\b[Nn]ot\b", text)
    assert ">>>" in text


def test_the_page_of_the_peers_holds_every_pair():
    text = (DOCS / "peers.md").read_text()
    for pair in peers.PAIRS:
        assert f"| {pair.library} `{pair.theirs}` |" in text, "run: make docs"
    for name in peers.TRAPPED:
        assert f"| {name} |" in text


def test_the_page_of_the_networks_is_made_from_the_code():
    assert (DOCS / "models.md").read_text() == models.page(), "run: make docs"


def test_every_source_of_a_network_is_in_the_references():
    text = "".join(path.read_text() for path in (ROOT / "models").glob("*.py"))
    assert set(re.findall(r"\b([A-Z][a-z]+ 20\d\d)\b", text)) == models.REFERENCES.keys()


def test_pages_and_examples_use_public_names_alone():
    public = {*segloss.__all__, *re.findall(r"`segloss\.(\w+)`", segloss.__doc__)}
    assert {"DualFocalLoss", "functional", "compare"} <= public
    for path in [ROOT / "README.md", *DOCS.glob("*.md"), *DOCS.glob("examples/*.py")]:
        text = path.read_text()
        used = re.findall(r"(?<![\w/])segloss\.(\w+)", text)
        used += [name for names in re.findall(r"from segloss import ([\w, ]+)", text) for name in names.split(", ")]
        assert set(used) <= public, path.name


@pytest.mark.parametrize("package", [segloss, segloss.functional, networks], ids=lambda package: package.__name__)
def test_public_names_exist(package):
    assert all(getattr(package, name) is not None for name in package.__all__)
