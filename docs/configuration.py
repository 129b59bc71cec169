"""Makes docs/configuration.md from the schema of a configuration: `make docs`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from docs.losses import as_yaml, escaped, prose
from engine.configuration.schema import document

FOLDER = Path(__file__).parent
Schema = Mapping[str, Any]
INTRODUCTION = """\
# Configuration

Every key of a YAML file, made from the schema that checks it by `make docs`. `train_seg.py schema` prints the same as JSON Schema, for the
completion of an editor. A file that trains, with the least it can say:

```yaml
name: demo                                   # the run's folder is runs/demo
data: {name: phantom, root: data/phantom, size: [96, 96], split: {kind: holdout}}
model: {name: unet}
loss: {name: dfl}
optim: {name: adam}
```

- **A part with a name** (`name`, of a split `kind`) takes the keys that all of its kind take, and its own.
- **Any key** can be given on the command line too, by its dots: `loss.gamma=1 data.split.fold=all`. The value is YAML.
- **`extends`** lays a file over another: mappings merge, one whose `name` or `kind` changes is replaced whole, lists are replaced, and
  `key: null` removes what was inherited.
- **YAML is 1.2**: `5e-4` is a number, `off` a word, a doubled key an error.
- Keys without a default must be given. Unknown keys, wrong types and values out of their range are refused before any data is touched.
"""
MORE = {
    "data": "Layouts on disk, with examples: [data.md](data.md).",
    "data.split": "What a split promises: [data.md](data.md#splits).",
    "data.sampler": "Examples: [data.md](data.md#samplers).",
    "model": "What the networks are: [models.md](models.md).",
    "model.acw": "What the layer is: [losses.md](losses.md#the-adaptive-class-weight-layer).",
    "data.augment": "Every other key is a parameter of the transform.",
    "loss": "Formulas, sources and pictures, and the schemes of `class_weights`: [losses.md](losses.md).",
    "ablation": "How arms are compared: [ablation.md](ablation.md).",
}
"""What to read on, by section."""


def page() -> str:
    """The text of docs/configuration.md."""
    whole = document()
    return "\n".join([INTRODUCTION, "## The file\n", *_table(whole, "", whole), *_sections(whole, "", whole)])


def _sections(node: Schema, path: str, whole: Schema) -> Iterator[str]:
    """The sections below the keys of one."""
    for key, value in node["properties"].items():
        references = list(dict.fromkeys(_references(value)))
        if references:
            below = [whole["$defs"][reference] for reference in references]
            yield from _section(f"{path}{key}", value, below, whole)


def _section(path: str, value: Schema, kinds: list[Schema], whole: Schema) -> Iterator[str]:
    """One section: the keys that all of its kinds take, then each kind with its own."""
    yield f"## {path}\n"
    yield f"{_sentence(value.get('description') or kinds[0]['description'])} {MORE.get(path, '')}".rstrip() + "\n"
    selector = next((key for key in ("name", "kind") if "const" in kinds[0]["properties"].get(key, {})), None)
    if selector is None:
        yield from _table(kinds[0], f"{path}.", whole)
        yield from _sections(kinds[0], f"{path}.", whole)
        return
    first, *others = [kind["properties"] for kind in kinds]
    shared = [key for key in first if all(other.get(key) == first[key] for other in others)]
    names = {kind["properties"][selector]["const"]: kind for kind in kinds}
    listed = ", ".join(f"[`{name}`](#{slug(f'{path}: {name}')})" for name in names)
    choice = {selector: {"type": "string", "description": f"One of {listed}."}}
    common = {**kinds[0], "properties": choice | {key: first[key] for key in shared}}
    yield from _table(common, f"{path}.", whole)
    for name, kind in names.items():
        own = {key: each for key, each in kind["properties"].items() if key not in shared and key != selector}
        yield f"### {path}: {name}\n"
        yield f"{_sentence(kind['description'])}\n"
        yield from _table({**kind, "properties": own}, f"{path}.", whole) if own else ()
    yield from _sections(common, f"{path}.", whole)


def _table(node: Schema, path: str, whole: Schema) -> Iterator[str]:
    yield "| key | values | default | meaning |"
    yield "|---|---|---|---|"
    for key, value in node["properties"].items():
        below = [whole["$defs"][reference] for reference in _references(value)]
        told = value.get("description") or next((one["description"] for one in below), "")
        default = "" if key in node.get("required", ()) else _default(value)
        yield f"| `{key}` | {escaped(_values(value, path + key))} | {default} | {escaped(_sentence(told))} |"
    yield ""


def _values(node: Schema, path: str) -> str:
    """What a value may be, in words; a section is a link."""
    if "$ref" in node or "discriminator" in node:
        return f"[a mapping](#{slug(path)})"
    if "const" in node or "enum" in node:
        return ", ".join(f"`{value}`" for value in node.get("enum", [node.get("const")]))
    if "anyOf" in node:
        return " or ".join(dict.fromkeys(_values(one, path) for one in _without_integers(node["anyOf"])))
    kind = node.get("type")
    if kind == "array" and "prefixItems" in node:
        return f"[{', '.join(_values(one, path) for one in node['prefixItems'])}]"
    if kind == "array":
        inner = _values(node["items"], path)
        return f"list of ({inner})" if " or " in inner else f"list of {inner.replace('number', 'numbers')}"
    if kind == "object":
        inner = node.get("additionalProperties", True)
        return "mapping" if isinstance(inner, bool) else f"names, each to {_values(inner, path)}"
    words = {"integer": "whole number", "boolean": "`true`, `false`", "string": "text", "null": "`null`"}
    return f"{words.get(kind, kind)}{_bounds(node)}" if kind else ""


def _bounds(node: Schema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    powers = {2**15: "2¹⁵", 2**32: "2³²"}
    found = [f" {sign} {powers.get(node[key], f'{node[key]:g}')}" for key, sign in signs.items() if key in node]
    return " and".join(found) + (f" like `{node['pattern']}`" if "pattern" in node else "")


def _default(node: Schema) -> str:
    value = node.get("default")
    return "its own defaults" if isinstance(value, dict) else f"`{as_yaml(value)}`"


def _without_integers(kinds: list[Schema]) -> list[Schema]:
    """A number may be whole, so that is not said twice."""
    plain = [kind for kind in kinds if kind.get("type") != "integer"]
    return plain if any(kind.get("type") == "number" for kind in kinds) else kinds


def _references(node: Any) -> Iterator[str]:
    """The names of the sections that a value may be, in order."""
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict) and "$ref" in node:
        yield node["$ref"].rsplit("/", 1)[-1]
    elif isinstance(node, dict):
        yield from _references([node[key] for key in ("oneOf", "anyOf", "items") if key in node])


def _sentence(text: str) -> str:
    """On one line, with a capital and a full stop."""
    text = prose(text)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ")")) or not text else ".")


def slug(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def main() -> None:
    """Write the page."""
    (FOLDER / "configuration.md").write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
