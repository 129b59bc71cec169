"""The signature is the schema: pydantic models made from constructors.

A part of the configuration such as `{name: focal, gamma: 2}` names a constructor; its positional parameters are the
keys that YAML may set, its keyword-only ones are given by the engine. A loss, whose parameters are all keyword-only,
names in `given` those of the engine. So a new loss, network or data set is a class and
an entry in a dict; no schema is written twice.
"""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model
from torch import Tensor

from segloss.names import parameters_of


class Strict(BaseModel):
    """No unknown key, no value that would have to be converted."""

    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True, defer_build=True)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """A field that is declared again, with a narrower type, keeps what its base says of it."""
        bases = [base for base in cls.__mro__[1:] if issubclass(base, BaseModel)]
        for name, field in cls.model_fields.items():
            told = (base.model_fields[name].description for base in bases if name in base.model_fields)
            field.description = field.description or next(filter(None, told), None)


Section = TypeVar("Section", bound=Strict)


def section_of(name: str, factory: Callable[..., Any], base: type[Section], key: str = "name") -> type[Section]:
    """The model of one named section: `key`, what `base` has, and the parameters that YAML may set.

    Args:
        name: what selects the factory.
        factory: a class or a function with type hints.
        base: the fields that all sections of this kind have.
        key: the field that holds the name.
    """
    documentation = documentation_of(factory)
    fields: dict[str, Any] = {key: (Literal[name], ...)}
    for parameter in keys_of(factory):
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        described = Field(default, description=description_of(parameter.name, documentation))
        fields[parameter.name] = (yaml_type(parameter.annotation), described)
    return create_model(
        f"{base.__name__}_{name}",
        __base__=base,
        __doc__=" ".join(documentation.split("\n\n")[0].split()),
        __cls_kwargs__={"use_attribute_docstrings": False},  # there is no source to read them from
        **fields,
    )


def keys_of(factory: Callable[..., Any]) -> list[inspect.Parameter]:
    """The parameters of a factory that YAML may set."""
    given = getattr(factory, "given", None)
    found = parameters_of(factory).values()
    if given is None:
        return [parameter for parameter in found if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    return [parameter for parameter in found if parameter.name not in given]


def yaml_type(annotation: Any) -> Any:
    """The part of a type that YAML can hold: no tensor; a sequence is a list, a mapping a dict."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return Union[tuple(yaml_type(part) for part in args if part is not Tensor)]  # noqa: UP007
    if origin in (Sequence, Mapping):
        return types.GenericAlias(list if origin is Sequence else dict, args)
    return annotation


def documentation_of(factory: Callable[..., Any]) -> str:
    """The docstring of a class or function; a class's own first, then those of its bases."""
    described_in = factory.__mro__ if inspect.isclass(factory) else (factory,)
    return "\n\n".join(filter(None, map(inspect.getdoc, described_in)))


def description_of(parameter: str, documentation: str) -> str | None:
    """What the first `Args:` entry says that does not point elsewhere ("see `X`")."""
    told = re.search(rf"^\s+{parameter}: (?!see `)(.*(?:\n {{8}}.*)*)", documentation, re.MULTILINE)
    return " ".join(told[1].split()) if told else None


def one_of(factories: Mapping[str, Callable[..., Any]], base: type[Section], key: str = "name") -> Any:
    """The union of the sections of a dict of factories, told apart by `key`."""
    sections = tuple(section_of(name, factory, base, key) for name, factory in factories.items())
    return Annotated[Union[sections], Field(discriminator=key)] if len(sections) > 1 else sections[0]  # noqa: UP007


def parameters(section: Strict, base: type[Strict], key: str = "name") -> dict[str, Any]:
    """What a section's factory is called with."""
    own = type(section).model_fields.keys() - base.model_fields.keys() - {key}
    return {name: getattr(section, name) for name in type(section).model_fields if name in own}


def sections_in(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a value of a type may be, or the items of a list of it."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Annotated, Union, types.UnionType, list):
        return [section for argument in get_args(annotation) for section in sections_in(argument)]
    return []


def tags_of(section: type[BaseModel]) -> tuple[Any, ...]:
    """The values of `name` or `kind` that tell a section from others; empty where any text may stand there."""
    for key in ("name", "kind"):
        field = section.model_fields.get(key)
        if field is not None and get_origin(field.annotation) is Literal:
            return get_args(field.annotation)
    return ()


def nulls_in(section: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The paths of keys, in a section and those below it, that may be null and have another default.

    That of a section goes on with its name: `("loss", "wce", "class_weights")`.
    """
    for place in [(*path, tag) for tag in tags_of(section)] or [path]:
        for key, field in section.model_fields.items():
            if type(None) in get_args(field.annotation) and not field.is_required() and field.default is not None:
                yield (*place, key)
            for below in sections_in(field.annotation):
                yield from nulls_in(below, (*place, key))


def describe(annotation: Any) -> str:
    """A type in words, for error messages: `int`, `one of a, b`, `list of float`, `float or null`."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return describe(args[0])
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}" if len(args) > 1 else str(args[0])
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(describe(arg) for arg in args))
    if origin in (list, tuple):
        inner = [describe(arg) for arg in args if arg is not ...]
        one = f"({inner[0]})" if " or " in inner[0] else inner[0]
        return f"list of {one}" if origin is list else f"[{', '.join(inner)}]"
    if origin is dict and args[1] is not Any:
        return f"a mapping of names, each to {describe(args[1])}"
    if origin is dict or (inspect.isclass(annotation) and issubclass(annotation, BaseModel)):
        return "a mapping"
    words = {type(None): "null", bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    return words.get(annotation, getattr(annotation, "__name__", str(annotation)))
