"""YAML files and command-line overrides, merged, with the place of every key.

YAML is 1.2 (`5e-4` is a float, `off` a string) and only data: a tag, a doubled key or an alias that multiplies is an
error, and nothing is ever evaluated.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.scalarbool import ScalarBoolean

from datasets.files import existing

from ..errors import ConfigError
from .config import NULLS

COMMAND_LINE = "command line"
MOST_NODES = 20_000
Key = str | int


@dataclass
class Node:
    """A value of a configuration and the place it comes from.

    Attributes:
        value: a mapping or a list of nodes, or a scalar.
        at: `file:line:column` of its key, or `command line`.
    """

    value: Any
    at: str

    def plain(self) -> Any:
        """The value as plain Python data."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def find(self, path: Sequence[Key]) -> tuple[Node, list[Key]]:
        """The deepest node along the path, and the part of the path that exists; keys that are nowhere are skipped."""
        node, found = self, []
        for key in path:
            if isinstance(node.value, dict) and key in node.value:
                node = node.value[str(key)]
            elif isinstance(node.value, list) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
            else:
                continue
            found.append(key)
        return node, found


def load(path: Path, overrides: Sequence[str] = ()) -> Node:
    """Read a YAML file, what it extends, and overrides `a.b=value`.

    Raises:
        ConfigError: a file that cannot be read, is no mapping or extends itself; an override that is none.
    """
    root = _with_parents(path, [])
    if any(override.split("=")[0] == "extends" for override in overrides):
        raise ConfigError([f"{COMMAND_LINE}: extends: belongs into a file, not on the command line"])
    return Node(merge(root, parse_overrides(overrides)).value, root.at) if overrides else root


def merge(base: Node, top: Node, path: tuple[str, ...] = ()) -> Node:
    """Lay one configuration over another.

    Mappings merge key by key; a nested mapping whose `name` (or `kind`) changes is replaced whole, a list always;
    a null removes what was inherited, but for those keys to which null means something else than their default.

    Args:
        base: what is inherited.
        top: what is laid over it.
        path: the keys that lead to both, and the names of the sections on the way.
    """
    if not (isinstance(base.value, dict) and isinstance(top.value, dict)):
        return top
    if path and any(_changes(base.value, top.value, key) for key in ("name", "kind")):
        return top
    merged, place = dict(base.value), (*path, *_names(base.value | top.value)) if path else ()
    for key, node in top.value.items():
        below = (*place, key)
        if node.value is None and key in merged and below not in NULLS:
            del merged[key]
        else:
            merged[key] = merge(merged[key], node, below) if key in merged else node
    return Node(merged, top.at)


def parse_overrides(overrides: Sequence[str]) -> Node:
    """`a.b=value` arguments as one mapping; the values are YAML.

    Raises:
        ConfigError: an argument without `=`, a value that is no YAML, a key given twice.
    """
    root = Node({}, COMMAND_LINE)
    problems = []
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            problems.append(f"{COMMAND_LINE}: {override}: expected key=value, such as train.epochs=3")
            continue
        if not text.strip():
            problems.append(f"{COMMAND_LINE}: {key}: no value; {key}=null takes the default")
            continue
        try:
            value = _node(_yaml().load(text), COMMAND_LINE, "", [0])
        except (YAMLError, ValueError) as error:
            hint = f"; put text into quotes: \"{key}='{text}'\"" if text[0] in "{[*&!%@`" else ""
            problems.append(f"{COMMAND_LINE}: {key}: {text[:60]!r} is not a YAML value ({_brief(error)}){hint}")
            continue
        problems += _place(root, key.split("."), value, override)
    if problems:
        raise ConfigError(problems)
    return root


def _place(root: Node, keys: list[str], value: Node, override: str) -> list[str]:
    node = root
    for key in keys[:-1]:
        node = node.value.setdefault(key, Node({}, COMMAND_LINE))
        if not isinstance(node.value, dict):
            return [f"{COMMAND_LINE}: {override}: {key} has a value already"]
    if keys[-1] in node.value:
        return [f"{COMMAND_LINE}: {override}: {'.'.join(keys)} is given twice"]
    node.value[keys[-1]] = value
    return []


def _names(section: dict[str, Node]) -> list[str]:
    found = [section[key].value for key in ("name", "kind") if key in section]
    return [name for name in found if isinstance(name, str)]


def _changes(base: dict[str, Node], top: dict[str, Node], key: str) -> bool:
    return key in base and key in top and base[key].value != top[key].value


def _with_parents(path: Path, children: list[Path]) -> Node:
    if path.resolve() in children:
        raise ConfigError([f"{path}: extends: the files extend each other in a circle"])
    root = _read(path)
    extends = root.value.pop("extends", None)
    if extends is None:
        return root
    if not isinstance(extends.value, str):
        raise ConfigError([f"{extends.at}: extends: expected the path of another YAML file, got {extends.plain()!r}"])
    written = os.path.expandvars(os.path.expanduser(extends.value))  # noqa: PTH111
    parent = Path(existing(str(path.parent / written)))
    if not parent.is_file():
        raise ConfigError([f"{extends.at}: extends: {parent}: no such file"])
    return merge(_with_parents(parent, [*children, path.resolve()]), root)


def _read(path: Path) -> Node:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except IsADirectoryError:
        inside = f"; the configuration of a run is {path / 'config.yaml'}" if (path / "config.yaml").is_file() else ""
        raise ConfigError([f"{path}: a folder; expected a YAML file{inside}"]) from None
    except FileNotFoundError:
        folder = path.parent if path.parent.is_dir() else Path()
        near = sorted(str(other) for other in folder.glob("*.yaml"))[:5]
        hint = f"; there is {', '.join(near)}" if near else ""
        raise ConfigError([f"{path}: no such file{hint}"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read as a YAML file ({error})"]) from error
    try:
        root = _node(_yaml().load(text), f"{path}:1:1", str(path), [0])
    except MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{path}:{mark.line + 1}:{mark.column + 1}" if mark else str(path)
        raise ConfigError([f"{place}: {_brief(error)}"]) from error
    except YAMLError as error:
        raise ConfigError([f"{path}: {_brief(error)}"]) from error
    except RecursionError as error:
        raise ConfigError([f"{path}: nested too deeply"]) from error
    except ValueError as error:
        raise ConfigError([f"{path}: a date or number that is none ({_brief(error)}); put text into quotes"]) from error
    if root.value is None:
        root.value = {}
    if not isinstance(root.value, dict):
        raise ConfigError([f"{root.at}: expected a mapping of keys to values, got {type(root.value).__name__}"])
    return root


def _yaml() -> YAML:
    yaml = YAML(typ="rt", pure=True)
    yaml.allow_duplicate_keys = False
    return yaml


def _node(data: Any, at: str, file: str, count: list[int]) -> Node:
    """Plain nodes from what ruamel.yaml gives, with the positions it keeps for keys and items."""
    count[0] += 1
    if count[0] > MOST_NODES:
        raise ConfigError([f"{at}: more than {MOST_NODES} values; are aliases multiplied?"])

    def place(mark: tuple[int, int]) -> str:
        return f"{file}:{mark[0] + 1}:{mark[1] + 1}" if file else at

    if isinstance(data, TaggedScalar) or (isinstance(data, CommentedMap | CommentedSeq) and data.tag.value):
        raise ConfigError([f"{at}: the tag {data.tag.value} is not allowed: a configuration is plain data"])
    if isinstance(data, CommentedMap):
        foreign = [key for key in data if not isinstance(key, str)]
        if foreign:
            raise ConfigError([f"{at}: the key {foreign[0]!r} is not text; put it in quotes"])
        return Node({str(k): _node(v, place(_key_mark(data, k)), file, count) for k, v in data.items()}, at)
    if isinstance(data, CommentedSeq):
        return Node([_node(v, place(data.lc.item(i)), file, count) for i, v in enumerate(data)], at)
    return Node(_scalar(data), at)


def _key_mark(data: CommentedMap, key: str) -> tuple[int, int]:
    """A key's line and column; one that came through a merge key (`<<`) has none of its own."""
    if key not in (data.lc.data or ()):
        return data.lc.line, data.lc.col
    line, column = data.lc.key(key)
    return line, column


def _scalar(data: Any) -> Any:
    """ruamel.yaml's scalars, which remember how they were written, as plain ones."""
    if isinstance(data, ScalarBoolean):  # one with an anchor, which is no bool
        return bool(data)
    for kind in (bool, int, float, str):
        if isinstance(data, kind):
            return kind(data)
    return data.isoformat() if isinstance(data, datetime.date | datetime.datetime) else data


def _brief(error: Exception) -> str:
    if not isinstance(error, MarkedYAMLError):
        return " ".join(str(error).split())
    text = " ".join(str(part) for part in (error.problem, error.context) if part)
    hint = "; write paths with / or in single quotes" if "escape" in text else ""
    return " ".join(text.split()).split(" To suppress")[0] + hint
