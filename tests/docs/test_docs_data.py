"""docs/data.md says what the code does."""

import json
import re

import numpy as np
import pytest
from PIL import Image

import datasets
from datasets.camvid701 import COLOURS
from docs import data
from engine.configuration.checking import load_config
from segloss_tests import ROOT

PAGE = (ROOT / "docs/data.md").read_text()
REST = "\nname: a\nmodel: {name: unet}\nloss: {name: ce}\noptim: {name: adam, lr: 1e-3}\n"


def test_every_data_set_split_and_sampler_is_on_the_page():
    for name in datasets.ADAPTERS:
        assert f"](#{name}" in PAGE or f"`{name}`](#" in PAGE, name
        assert re.search(rf"^## .*\b{name}\b", PAGE, re.MULTILINE), name
    for name in datasets.SPLITS:
        assert f"{{kind: {name}" in PAGE, name
    for name in datasets.SAMPLERS:
        assert f"`{name}`" in PAGE or f"{{name: {name}," in PAGE, name


@pytest.mark.parametrize("yaml", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_every_example_is_a_valid_configuration(yaml, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    described = {"channel_names": {"0": "T2"}, "labels": {"background": 0, "gland": 1}}
    for root in re.findall(r"root: (data/\w+)", yaml):
        (tmp_path / root).mkdir(parents=True)
        (tmp_path / root / "dataset.json").write_text(json.dumps(described))
    adapter = datasets.ADAPTERS[re.search(r"name: (\w+)", yaml)[1]]
    of_labels = getattr(adapter, "kind", "") == "label"
    rest = REST.replace("loss: {name: ce}\n", "") if "\nloss:" in yaml else REST
    (tmp_path / "a.yaml").write_text(yaml + (rest.replace("unet", "classifier") if of_labels else rest))
    load_config(tmp_path / "a.yaml")


def test_the_grouping_of_camvid_is_that_of_the_code():
    for name in {group for _, group in COLOURS.values()}:
        listed = ", ".join(original for original, (_, group) in COLOURS.items() if group == name)
        assert f"| {name} | {listed} |" in PAGE


def test_links_lead_to_headings():
    headings = re.findall(r"^## (.*)", PAGE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([\w-]+)\)", PAGE)) <= anchors


@pytest.mark.parametrize("name", data.PICTURES)
def test_pictures_are_current(name):
    """But for the last bit: blurring differs a little between processors."""
    assert f"](data/{name}.png)" in PAGE
    shown = np.asarray(Image.open(ROOT / f"docs/data/{name}.png")).astype(int)
    assert np.abs(shown - data.picture(name)).mean() < 0.5, "run: make docs"
