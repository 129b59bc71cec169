"""What the architectures of segmentation-models-pytorch share.

The library takes seconds to import, so it is imported where a network is built or the name of an encoder is looked up.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from segloss.names import check_range

from .network import Network


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


def check_width(name: str, width: int) -> None:
    """Raise a `ValueError` that names a number of channels below one."""
    check_range(name, width, "≥ 1", lambda v: v >= 1)


def check_dropout(name: str, dropout: float) -> None:
    """Raise a `ValueError` that names a probability outside [0, 1)."""
    check_range(name, dropout, "in [0, 1)", lambda v: 0 <= v < 1)


def widths_of(depth: int, decoder_channels: list[int] | None) -> list[int]:
    """The widths of a U-shaped decoder, deepest first; a `ValueError` where they do not fit the depth."""
    check_range("depth", depth, "in 3..5", lambda v: 3 <= v <= 5)
    widths = [256, 128, 64, 32, 16][:depth] if decoder_channels is None else decoder_channels
    if len(widths) != depth or min(widths) < 1:
        raise ValueError(f"decoder_channels must hold {depth} widths ≥ 1 (one a level of depth), got {widths}")
    return widths


def wrapped(
    architecture: str,
    encoder: str,
    pretrained: str | None,
    num_classes: int,
    channels: int,
    pools_image: bool = False,
    smallest: int = 1,
    **parameters: Any,
) -> Network:
    """An architecture without its own last upsampling.

    Args:
        architecture: the name of a class of segmentation-models-pytorch.
        encoder: the name of its encoder.
        pretrained: the name of the encoder's weights, or None.
        num_classes: C.
        channels: of the images.
        pools_image: see `Network`.
        smallest: see `Network`.
        **parameters: of the architecture.

    Raises:
        ValueError: an unknown encoder.
    """
    import segmentation_models_pytorch as smp

    check_encoder(encoder)
    weights = pretrained is not None if encoder.startswith("tu-") else pretrained
    module: Any = getattr(smp, architecture)(
        encoder, encoder_weights=weights or None, in_channels=channels, classes=num_classes, **parameters
    )
    stride: int = module.encoder.output_stride
    return Network(module, stride, ("segmentation_head.0",), "encoder", pools_image, smallest)
