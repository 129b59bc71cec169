"""Paths of a configuration as people write them: home, variables, Windows, byte order marks."""

import unicodedata

import pytest

from engine.configuration.checking import load_config
from engine.configuration.paths import expanded
from engine.errors import ConfigError
from engine.store.files import read_json

YAML = """\
name: r
data: {{name: folder, root: {root}, labels: {{background: 0, lesion: 1}}, split: {{kind: file, path: {path}}},
  masks: 'masks\\{{name}}.png', size: [16, 16]}}
model: {{name: unet2015, width: 2, depth: 1}}
loss: {{name: ce}}
optim: {{name: adam, lr: 1e-3}}
"""


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SETS", str(tmp_path / "sets"))
    (tmp_path / "home/data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_home_variables_and_backslashes_are_resolved_in_every_path(home):
    (home / "r.yaml").write_text("\ufeff" + YAML.format(root="~/data", path="$SETS/split.json"), encoding="utf-8")
    config = load_config(home / "r.yaml", ["output=${SETS}/runs", "data.cache='~/cache'"])
    assert config.data.root == str(home / "home/data")
    assert config.data.split.path == str(home / "sets/split.json")
    assert (config.output, config.data.cache) == (str(home / "sets/runs"), str(home / "home/cache"))


def test_what_cannot_be_resolved_is_named_with_its_place(home):
    (home / "r.yaml").write_text(YAML.format(root="$NOWHERE/data", path='"C:\\temp"'))
    with pytest.raises(ConfigError) as error:
        load_config(home / "r.yaml")
    assert (
        "r.yaml:2:22: data.root: '$NOWHERE/data': no such path, and the environment variable $NOWHERE is not set"
        in (str(error.value))
    )
    assert "data.split.path: 'C:\\temp' holds a control character; in double quotes a backslash begins one" in (
        str(error.value)
    )


def test_a_backslash_that_is_no_escape_has_a_hint(home):
    (home / "r.yaml").write_text(YAML.format(root='"D:\\data"', path="s.json"))
    with pytest.raises(ConfigError, match="write paths with / or in single quotes"):
        load_config(home / "r.yaml")


@pytest.mark.parametrize("name", ["a$b", "~", "$SETS", "a b"])
def test_what_exists_as_it_is_written_is_meant(home, name):
    (home / name).mkdir()
    assert expanded(name) == name


def test_other_separators_and_forms_of_unicode_are_found(home):
    folder = home / unicodedata.normalize("NFD", "Müller")
    (folder / "scans").mkdir(parents=True)
    assert expanded(unicodedata.normalize("NFC", "Müller\\scans")) == str((folder / "scans").relative_to(home))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_byte_order_mark_is_no_part_of_json(tmp_path, encoding):
    (tmp_path / "a.json").write_text('{"a": "前"}', encoding=encoding)
    assert read_json(tmp_path / "a.json") == {"a": "前"}
