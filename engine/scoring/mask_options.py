"""What the values in masks mean, and the names in scores of other programs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

import datasets
from datasets import LabelMap, Labels, Values, as_values
from datasets.files import same_name
from segloss.names import unknown

from ..configuration.config import Millimetres
from ..configuration.named import Strict
from ..configuration.source import COMMAND_LINE, parse_overrides
from ..errors import UsageError


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no pattern ({error})") from error
    return text


def _labels(labels: dict[str, Any]) -> dict[str, Any]:
    LabelMap({name: as_values(values) for name, values in labels.items()})
    return labels


Expression = Annotated[str, AfterValidator(_pattern)]
WHOLE = ".*"


class Options(Strict):
    """What the values in the masks mean, and what the files belong to."""

    labels: Annotated[Labels, AfterValidator(_labels)] = Field(default={})
    """A class name to one or more mask values, or RGB colours `[[r, g, b]]`; empty: every value of the references is a
    class."""
    ignore: Annotated[Values, BeforeValidator(as_values)] = Field(default=[datasets.IGNORE])
    """Values of the references that do not count."""
    background: str | Literal[False] | None = None
    """A class left out of the means, or `false` for none; by default the one named background, else of volumes that of
    value 0."""
    name: Expression = WHOLE
    """A pattern on a file's name without suffix, or on what a file of scores calls a case; its first group (or the
    whole match) is the case."""
    group: Expression = WHOLE
    """A pattern on the case that names its group, a patient or a video sequence."""
    copy_affine: bool = False
    """A predicted volume with as many slices, rows and columns as its reference lies on its voxels, whatever place its
    own header gives it."""
    tolerance: Millimetres = 1.0
    """Of the surface DSC of volumes, in mm."""

    @classmethod
    def parse(cls, overrides: Sequence[str]) -> Options:
        """From `key=value` arguments; a `UsageError` that names a key or value at fault."""
        given = parse_overrides(overrides).plain()
        for key in given:
            if key not in cls.model_fields:
                raise UsageError(f"{COMMAND_LINE}: {unknown('key', key, cls.model_fields)}")
        try:
            return cls.model_validate_json(json.dumps(given))
        except ValidationError as error:
            key = str(error.errors()[0]["loc"][0])
            told = [problem["msg"] for problem in error.errors() if problem["type"] == "value_error"]
            why = told[0].removeprefix("Value error, ") if told else f"{given[key]!r}; expected {_EXPECTED[key]}"
            raise UsageError(f"{COMMAND_LINE}: {key}: {why.removeprefix(f'{key}: ')}") from error


_EXPECTED = {
    "labels": "a mapping such as {background: 0, gland: [1, 2]}, to whole numbers or colours [[r, g, b]]",
    "ignore": "whole numbers, or colours [[r, g, b]]",
    "background": "the name of a class, in quotes where it is a number, or false",
    "name": "a regular expression in quotes",
    "group": "a regular expression in quotes",
    "tolerance": "a number of millimetres above 0",
}


def background_name(given: str | Literal[False] | None, classes: Sequence[str], usual: str | None) -> str | None:
    """The class that is left out of the means: the usual one unless another, or none (`False`), is given."""
    if given is None:
        return usual
    if given is not False and given not in classes:
        raise UsageError(f"{COMMAND_LINE}: background: {unknown('class', given, classes)}")
    return given or None


def case_of(written: str, pattern: str, file: bool = False) -> str:
    """The case that a file of scores means: of a path the file's name without suffix, or what a pattern finds.

    Args:
        written: what it says.
        pattern: `name` of the options.
        file: it is a path, whatever its suffix.
    """
    if pattern != WHOLE:
        return same_name(matched(pattern, written))
    name = re.split(r"[\\/]", written)[-1]
    known = datasets.volume_suffix(name) is not None or datasets.is_still(Path(name))
    return same_name(datasets.volume_stem(name) if known else name if file else written)


def matched(pattern: str, text: str) -> str:
    """The first group of a pattern in a text, or the whole match; a `UsageError` where it does not match."""
    found = re.search(pattern, text)
    if found is None:
        raise UsageError(f"{COMMAND_LINE}: the pattern {pattern!r} does not match {text!r}")
    return found.group(1) if found.re.groups and found.group(1) else found.group(0)
