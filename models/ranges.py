"""What the parameters of networks may be, for `segloss.names.check_range`; internal."""

from collections.abc import Callable
from typing import Any

Range = tuple[str, Callable[[Any], bool]]
"""The range in words, and whether a value lies in it."""

WIDTH: Range = ("≥ 1", lambda width: width >= 1)
DROPOUT: Range = ("in [0, 1)", lambda probability: 0 <= probability < 1)
DEPTH: Range = ("in 3..5", lambda depth: 3 <= depth <= 5)
UNPUBLISHED: Range = ("null or a .safetensors file", lambda pretrained: pretrained is None)
"""The `pretrained` of a network without published weights; files are read elsewhere."""
