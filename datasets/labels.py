"""From the values in a mask file to class indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .case import IGNORE
from .errors import DataError


class LabelMap:
    """Which mask values mean which class.

    Args:
        classes: a class name to its mask values, in the order of the class indices.
        ignore: mask values of pixels that do not count.
    """

    def __init__(self, classes: Mapping[str, Sequence[int]], ignore: Sequence[int] = ()) -> None:
        self.classes = tuple(classes)
        self.values = {value: index for index, name in enumerate(classes) for value in classes[name]}
        self.values.update(dict.fromkeys(ignore, IGNORE))

    def __call__(self, mask: NDArray[Any], path: Path) -> NDArray[np.uint8]:
        """Class indices, uint8, 255 where ignored, of a mask of any integer dtype.

        Args:
            mask: the raw values.
            path: the file they come from, for errors.

        Raises:
            DataError: a value that is neither a class nor ignored.
        """
        present, counts = np.unique(mask, return_counts=True)
        foreign = [
            f"{value} ({count} pixels)"
            for value, count in zip(present.tolist(), counts.tolist(), strict=True)
            if value not in self.values
        ]
        if foreign:
            known = ", ".join(map(str, sorted(self.values)))
            raise DataError(
                f"{path}: label {', '.join(foreign[:5])}, but the {len(self.classes)} classes and void have the values "
                f"{known}; is this the mask of another data set?"
            )
        lowest = int(present[0]) if len(present) else 0
        table = np.full(int(present[-1]) - lowest + 1 if len(present) else 1, IGNORE, dtype=np.uint8)
        for value in present.tolist():
            table[value - lowest] = self.values[value]
        indices: NDArray[np.uint8] = table[mask.astype(np.int64) - lowest]
        return indices
