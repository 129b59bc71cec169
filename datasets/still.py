"""Still images and their masks: PNG, JPEG and what else Pillow reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")


def find_images(folder: Path) -> dict[str, Path]:
    """The images of a folder by their name without suffix, sorted.

    Raises:
        DataError: the folder is missing or holds no image, or two files share a name.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; is data.root right?")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith("."):
            continue
        if path.stem in found:
            raise DataError(f"{path}: {found[path.stem].name} has the same name; keep one of them")
        found[path.stem] = path
    if not found:
        raise DataError(f"{folder}: no image here; expected files ending in {', '.join(SUFFIXES)}")
    return found


def read_rgb(path: Path) -> NDArray[np.uint8]:
    """An image as `(1, rows, columns, 3)` uint8 RGB; a `DataError` when it cannot be read or has more than 8 bits."""
    image = _open(path)
    if image.mode[0] in "IF":
        raise DataError(f"{path}: more than 8 bits a channel (mode {image.mode}); convert it to 8 bits")
    return np.asarray(image.convert("RGB"), dtype=np.uint8)[np.newaxis]


def read_labels(path: Path) -> NDArray[Any]:
    """A mask's raw values as `(1, rows, columns)`, palette indices rather than colours.

    Raises:
        DataError: the file cannot be read, or has colour channels instead of labels.
    """
    image = _open(path)
    if image.mode not in ("L", "P", "1", "I", "I;16", "I;16B"):
        raise DataError(f"{path}: a {image.mode} image; expected a mask of labels (8 or 16 bit, or palette)")
    return np.asarray(image)[np.newaxis]


def same_size(image: NDArray[Any], mask: NDArray[Any], image_path: Path, mask_path: Path) -> None:
    """Raise a `DataError` naming both files where image and mask differ in slices, rows or columns."""
    if image.shape[:3] != mask.shape:
        raise DataError(
            f"{mask_path}: {_size(mask)} pixels, but its image {image_path} has {_size(image)}; "
            "a mask must lie on the grid of its image"
        )


def _size(array: NDArray[Any]) -> str:
    slices, rows, columns = array.shape[:3]
    return f"{columns}x{rows}" if slices == 1 else f"{columns}x{rows}x{slices}"


def _open(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: not a readable image, damaged or cut short ({reason}); replace the file") from error
    return image
