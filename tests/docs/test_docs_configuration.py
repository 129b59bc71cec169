"""docs/configuration.md holds every key that a YAML file may have."""

import json
import re

import pytest

from docs import configuration
from engine.configuration.schema import schema
from segloss_tests import ROOT

PAGE = (ROOT / "docs/configuration.md").read_text()
SCHEMA = json.loads(schema())
ROWS = {
    heading: dict(re.findall(r"^\| `(\w+)` \|.*\| (.*) \|$", text, re.MULTILINE))
    for heading, text in re.findall(r"^##+ (.*)\n((?:(?!^##).*\n?)*)", PAGE, re.MULTILINE)
}


def headings(path, node):
    """Under which headings the keys of each section of the schema belong."""
    for key, value in node.get("properties", {}).items():
        for name in dict.fromkeys(re.findall(r'"#/\$defs/(\w+)"', json.dumps(value))):
            section = SCHEMA["$defs"][name]
            kind = next(
                (p["const"] for k, p in section["properties"].items() if k in ("name", "kind") and "const" in p), None
            )
            shared = f"{path}{key}"
            yield (shared, *([f"{shared}: {kind}"] if kind else [])), section
            yield from headings(f"{shared}.", section)


SECTIONS = {"The file": (("The file",), SCHEMA)} | {where[-1]: (where, node) for where, node in headings("", SCHEMA)}


def test_the_page_is_made_from_the_schema():
    assert configuration.page() == PAGE, "run: make docs"


@pytest.mark.parametrize("where", SECTIONS)
def test_every_key_is_on_the_page_and_says_what_it_is_for(where):
    places, section = SECTIONS[where]
    listed = {}
    for place in places:
        listed |= ROWS[place]
    assert listed.keys() == section["properties"].keys()
    assert all(len(meaning) > 3 for meaning in listed.values()), listed


def test_every_section_of_the_page_is_one_of_the_schema():
    assert len(SECTIONS) > 80
    assert ROWS.keys() == {place for places, _ in SECTIONS.values() for place in places}


@pytest.mark.parametrize(
    ("section", "row"),
    [
        ("train", "| `batch_size` | whole number ≥ 1 | `4` | Samples a micro-batch, of all devices together. |"),
        ("scores", "| `overlap` | number ≥ 0 and < 1 | `0.25` | How much of a window its neighbour covers too. |"),
        ("optim.schedule: step", "| `every` | whole number |  | Epochs, ≥ 1. |"),
        ("data", "| `split` | [a mapping](#datasplit) |  | How cases are divided"),
        ("data.split: kfold", "| `fold` | whole number or `all` | `0` | Which one is the test, from 0"),
        ("model", "| `head` | `linear`, `cosine` | `linear` |"),
    ],
)
def test_rows_by_hand(section, row):
    text = re.search(rf"^##+ {re.escape(section)}\n(.*?)(?=^##|\Z)", PAGE, re.MULTILINE | re.DOTALL)[1]
    assert row in text


def test_a_field_that_is_declared_again_keeps_what_is_said_of_it():
    split = SCHEMA["$defs"]["_Data_camvid"]["properties"]["split"]
    assert split["description"].startswith("How cases are divided")
