"""The errors of pydantic in the words of a YAML file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from segloss.elsewhere import unknown_loss, unknown_parameter
from segloss.names import unknown

from .config import FullConfig
from .named import describe, sections_in, tags_of
from .source import Key, Node


def explain(root: Node, section: str, error: ValidationError) -> Iterator[str]:
    """The errors of pydantic as lines; those of the branches of one union are one problem."""
    for problem in error.errors(include_url=False):
        location: tuple[Key, ...] = (section, *problem["loc"])
        model, annotation, known = _field_at(location)
        node, keys = root.find(known)
        dotted = ".".join(map(str, keys))
        kind, context = problem["type"], problem.get("ctx", {})
        if kind == "extra_forbidden":
            foreign, _ = root.find(location)
            message = (unknown_parameter if section == "loss" else unknown)("key", location[-1], _keys(model))
            yield f"{foreign.at}: {dotted}: {message}"
        elif kind == "missing" and isinstance(location[-1], str):
            yield f"{node.at}: {dotted}: missing {location[-1]}; expected {expected(_annotation(model, location[-1]))}"
        elif kind == "union_tag_not_found":
            name = context["discriminator"].strip("'")
            yield f"{node.at}: {dotted}: missing {name}; {_tags(annotation, name)}"
        elif kind == "union_tag_invalid":
            name = context["discriminator"].strip("'")
            allowed = [tag.strip("' ") for tag in context["expected_tags"].split(",")]
            if section == "loss":
                allowed.append("adfl")
            tag, _ = root.find((*keys, name))
            noun = next((str(key) for key in reversed(keys) if isinstance(key, str)), section)
            message = (unknown_loss if section == "loss" else unknown)(noun, context["tag"], allowed)
            yield f"{tag.at}: {dotted}.{name}: {message}"
        elif kind in ("bool_type", "float_type") and isinstance(node.value, dict) and sections_in(annotation):
            continue  # a mapping where a plain value may stand too: what is wrong inside it is reported by itself
        elif kind == "model_type" and isinstance(node.value, int | float) and _has_number(annotation):
            continue  # a number where a mapping may stand too: that it is out of range is reported by itself
        elif kind == "string_type" and isinstance(node.value, int | float) and _has_number(annotation):
            continue  # the same where text may stand
        elif kind == "int_type" and isinstance(node.value, str) and _holds(annotation, str):
            continue  # text where a number may stand too: that it is none of the known texts is reported by itself
        elif kind == "literal_error" and isinstance(node.value, dict) and sections_in(annotation):
            continue  # the same where a word may stand
        elif kind == "model_type" and isinstance(node.value, str) and _literals(annotation):
            continue  # a word where a mapping may stand too: that it is none of the known words is reported by itself
        elif kind in ("literal_error", "json_invalid") and isinstance(node.value, str) and not _has_number(annotation):
            yield f"{node.at}: {dotted}: {unknown('value', node.value, _literals(annotation))}"
        elif kind == "string_pattern_mismatch":
            got = location[-2] if location[-1] == "[key]" else node.plain()
            yield f"{node.at}: {dotted}: use letters, digits and . _ - (a letter or digit first), got {got!r}"
        elif kind == "too_short":
            yield f"{node.at}: {dotted}: at least {context['min_length']} needed, got {_shown(node)}"
        elif kind in ("missing", "too_long") or kind.endswith(("_type", "_parsing", "_error")):
            if isinstance(node.value, str) and (word := _selector(annotation)) is not None:
                yield f"{node.at}: {dotted}: expected a mapping, such as {{{word}: {node.value}}}; got {_shown(node)}"
            else:
                yield f"{node.at}: {dotted}: expected {describe(annotation)}, got {_shown(node)}"
        else:
            yield f"{node.at}: {dotted}: {problem['msg'].replace('Input should', 'must')}, got {_shown(node)}"


def expected(annotation: Any) -> str:
    """A type in words; of a section that has a name, also which there are."""
    tag = _selector(annotation)
    return describe(annotation) if tag is None else f"a mapping whose {_tags(annotation, tag)}"


def _selector(annotation: Any) -> str | None:
    """What tells the sections of a type apart, `name` or `kind`; None for sections that have neither."""
    return next((key for key in ("name", "kind") if any(key in m.model_fields for m in sections_in(annotation))), None)


def _shown(node: Node) -> str:
    value = node.plain()
    return "nothing" if value is None else json.dumps(value, default=str)


def _field_at(location: Sequence[Key]) -> tuple[type[BaseModel], Any, list[Key]]:
    """The model, the annotation and the path of the deepest field along a pydantic location.

    A location also holds the tags of unions and the names of their branches, which are no keys.
    """
    model: type[BaseModel] = FullConfig
    annotation: Any = FullConfig
    path: list[Key] = []
    candidates: list[type[BaseModel]] = [FullConfig]
    for key in location:
        tagged = [candidate for candidate in candidates if key in tags_of(candidate)]
        if len(candidates) == 1 and key in candidates[0].model_fields:
            model, annotation = candidates[0], candidates[0].model_fields[str(key)].annotation
            candidates, path = sections_in(annotation), [*path, key]
        elif tagged:
            candidates = tagged
            model = annotation = tagged[0]
        elif isinstance(key, int) and candidates:
            path.append(key)
    if len(candidates) == 1 and issubclass(candidates[0], BaseModel):
        model = candidates[0]
    return model, annotation, path


def _has_number(annotation: Any) -> bool:
    """Whether a number, or true or false, may stand where a word does."""
    return _holds(annotation, int, float, bool)


def _holds(annotation: Any, *kinds: type) -> bool:
    """Whether a type is one of some kinds, or made of one."""
    return annotation in kinds or any(_holds(argument, *kinds) for argument in get_args(annotation))


def _keys(model: type[BaseModel]) -> list[str]:
    return [*model.model_fields]


def _annotation(model: type[BaseModel], key: Key) -> Any:
    field = model.model_fields.get(str(key))
    return None if field is None else field.annotation


def _tags(annotation: Any, key: str) -> str:
    tags = [str(tag) for model in sections_in(annotation) for tag in tags_of(model)]
    return f"{key} is one of {', '.join(tags)}"


def _literals(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(value) for value in get_args(annotation)]
    return [value for argument in get_args(annotation) for value in _literals(argument)]
