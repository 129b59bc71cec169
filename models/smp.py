"""Networks of segmentation-models-pytorch (smp), each made from a row of a table; internal.

The library takes seconds to import, so it is imported where a network is built or the name of an encoder is looked up.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from inspect import Parameter
from typing import Any, NamedTuple

import torch

from segloss.names import check_range

from .network import Network
from .ranges import Range
from .unused import leave_out_unused

ENCODER = "an encoder of segmentation-models-pytorch, such as resnet18, resnet50, timm-efficientnet-b0."
DEEPEST = 5
"""How often every encoder can halve an image."""
TRIED = 64
"""Pixels in height and width on which any encoder works."""
GIVEN = {"num_classes": (int, "C."), "channels": (int, "of the images.")}
"""The keyword-only parameters of every factory, with their types and descriptions."""


class Option(NamedTuple):
    """A parameter of an architecture that YAML may set.

    Attributes:
        name: the key.
        annotation: its type.
        default: of that type.
        description: what the parameter is, for documentation and the JSON Schema.
        argument: smp's name for it; None where `Architecture.arguments` makes smp's arguments of it.
        allowed: the range of its values; None where the type says all.
    """

    name: str
    annotation: Any
    default: Any
    description: str
    argument: str | None = None
    allowed: Range | None = None


class Architecture(NamedTuple):
    """A row of the table: a class of smp, and how it becomes a `Network`.

    Attributes:
        smp: the name of the class.
        documentation: a sentence, and after an empty line what differs from the paper.
        options: besides the encoder.
        encoder: the default encoder.
        encoders: the description of the parameter `encoder`.
        arguments: from the values of all options to further arguments of the class; raises a `ValueError` where the
            values do not fit together. By default the class leaves its logits as small as they are.
        finish: changes the network once it is built.
        pools_image: see `Network`.
        least_strides: the least H and W that the network works with, in strides.
    """

    smp: str
    documentation: str
    options: Sequence[Option]
    encoder: str = "resnet18"
    encoders: str = ENCODER
    arguments: Callable[[Mapping[str, Any]], dict[str, Any]] = lambda _: {"upsampling": 1}
    finish: Callable[[Network], Network] = lambda network: network
    pools_image: bool = False
    least_strides: int = 0


def factory(name: str, row: Architecture) -> Callable[..., Network]:
    """A function that builds the network of a row, with the signature and the docstring that the row describes.

    Args:
        name: of the function.
        row: the architecture.
    """
    options = [Option("encoder", str, row.encoder, row.encoders), *row.options]
    keys = [Parameter(o.name, Parameter.POSITIONAL_OR_KEYWORD, default=o.default) for o in options]
    given = [Parameter(key, Parameter.KEYWORD_ONLY) for key in GIVEN]
    pretrained = Parameter("pretrained", Parameter.KEYWORD_ONLY, default=None)
    signature = inspect.Signature([*keys, *given, pretrained])

    def build(*values: Any, **keywords: Any) -> Network:
        bound = signature.bind(*values, **keywords)
        bound.apply_defaults()
        return _network(row, **bound.arguments)

    described: Any = build
    described.__name__ = described.__qualname__ = name
    described.__doc__ = "\n".join(_docstring(row, options))
    described.__signature__ = signature
    described.__annotations__ = {option.name: option.annotation for option in options}
    described.__annotations__ |= {key: annotation for key, (annotation, _) in GIVEN.items()}
    described.__annotations__ |= {"pretrained": str | None, "return": Network}
    return build


def _docstring(row: Architecture, options: Sequence[Option]) -> Iterator[str]:
    yield f"{row.documentation}\n\nArgs:"
    yield from (f"    {option.name}: {option.description}" for option in options)
    yield from (f"    {key}: {description}" for key, (_, description) in GIVEN.items())
    yield "    pretrained: the name of the encoder's weights, or None."
    yield "\nRaises:\n    ValueError: an unknown encoder, or one that does not fit; a parameter out of its range."


def _network(
    row: Architecture, *, encoder: str, num_classes: int, channels: int, pretrained: str | None, **values: Any
) -> Network:
    for option in row.options:
        if option.allowed is not None:
            check_range(option.name, values[option.name], *option.allowed)
    arguments = {option.argument: values[option.name] for option in row.options if option.argument is not None}
    arguments |= row.arguments({"encoder": encoder, **values})
    check_encoder(encoder)

    import segmentation_models_pytorch as smp

    module: Any = getattr(smp, row.smp)(
        encoder,
        encoder_weights=weights_argument(encoder, pretrained),
        in_channels=channels,
        classes=num_classes,
        **arguments,
    )
    stride: int = module.encoder.output_stride
    smallest = max(1, row.least_strides * stride)
    if values.get("depth", DEEPEST) < DEEPEST:
        leave_out_unused(module, module.encoder, torch.zeros(1, channels, TRIED, TRIED))
    return row.finish(Network(module, stride, ("segmentation_head.0",), "encoder", row.pools_image, smallest))


def encoders() -> list[str]:
    """The names of the encoders, without the `tu-…` ones of timm."""
    import segmentation_models_pytorch as smp

    return sorted(smp.encoders.get_encoder_names())


def check_encoder(encoder: str) -> None:
    """Raise a `ValueError` with the nearest names where there is no such encoder."""
    import timm

    if encoder in encoders() or (encoder.startswith("tu-") and timm.is_model(encoder[3:])):
        return
    near = get_close_matches(encoder, encoders(), n=3)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(f"encoder {encoder!r} is none of segmentation-models-pytorch{hint}")


def weights_of(encoder: str) -> list[str]:
    """The names of the pretrained weights of an encoder; fetches nothing."""
    from segmentation_models_pytorch.encoders import encoders as settings

    known = settings.get(encoder)
    return ["imagenet"] if known is None else list(known["pretrained_settings"])


def weights_argument(encoder: str, pretrained: str | None) -> str | bool | None:
    """The name of an encoder's weights as smp takes it: timm's encoders have one set of weights, or none."""
    return (pretrained is not None or None) if encoder.startswith("tu-") else pretrained
