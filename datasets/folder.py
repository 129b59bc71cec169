"""Any folder of images and masks, and what data sets of stills with a layout of their own share with it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from .case import Case, Decoded, Kind, Pixels
from .formats import ARRAYS, STILLS, is_picture, is_still, without_suffix
from .labels import LabelMap, Labels, Values
from .layers import Overlap, class_map
from .paired import Paired
from .pattern import Pattern, pattern_of, patterns_of
from .still import read_image, with_mask


class Stills(Paired):
    """Images and their masks below a folder; `labels` says what the values or colours of a mask mean."""

    kind: Kind = "still"
    endings = (*STILLS, *ARRAYS)
    reads = "images (.png, .jpg, .tif, .bmp, .gif, .webp, .jp2, .ppm)"
    unites = True

    def __init__(
        self,
        root: str,
        images: Pattern,
        masks: Pattern | Mapping[str | None, Pattern],
        labels: LabelMap,
        channels: int = 3,
        valid: Pattern | None = None,
        overlap: Overlap = "refuse",
    ) -> None:
        by_class: Mapping[str | None, Pattern] = {None: masks} if isinstance(masks, Pattern) else masks
        super().__init__(root, [images], by_class, spare_masks="{name}" not in images.text, valid=valid)
        self.labels, self.overlap = labels, overlap
        self.channels = channels
        self.normalise = "imagenet" if channels == 3 else "percentile"

    def sources(self, case: Case) -> list[Path]:
        """The image and what is drawn of it."""
        return [case.image, *case.references]

    def is_image(self, path: Path) -> bool:
        """Whether a file is an image by its name."""
        return is_still(path)

    def output_name(self, image: Path, relative: str) -> tuple[str, str]:  # noqa: ARG002
        """Its own name."""
        return without_suffix(relative)

    def read_image(self, path: Path) -> Pixels:
        """Decode an image."""
        return Pixels(read_image(path, self.channels))

    def read(self, case: Case) -> Decoded:
        """Decode an image and its mask."""
        return with_mask(self.read_image(case.image), case, self.labels, self.overlap)


class Folder(Stills):
    """Images and masks found by patterns below `root`.

    In a pattern `{name}` stands for the case's id (it may reach over sub-folders), `*` for a part of a file name, and
    `{part}` for the folders `train`, `val` and `test`. Where every id begins with one of these folders, they are the
    official split. A case is an image and its own group; `data.group` groups them by a pattern on the id.

    Args:
        root: the folder that the patterns start from.
        labels: a class name to one or several mask values, or to RGB colours `[[r, g, b], …]`, in the order of the
            class indices.
        images: where images lie; without `{name}` the id is the path below the fixed folders, without suffix.
        masks: where masks lie, with `{name}`; with a `*` besides the ending several of an image are united. Or a
            mapping of classes to such patterns, whose masks are 0 where the class is not.
        ignore: mask values, or colours, of pixels that do not count; 255 is one already where no class has it.
        channels: 1 for grey images, 3 for RGB; grey ones are repeated. Another number: the bands of a TIFF or an array.
        valid: where files lie, with `{name}`, that are 0 where pixels do not count, such as outside a field of view.
        overlap: of two classes that several masks draw at one pixel: refuse, or labels, where the class that stands
            later in `labels` wins.
        to_grey: with `channels: 1`, turn colours into their luminance instead of refusing them.
        exif: turn images and masks as the EXIF orientation in their files says, as viewers show them; otherwise pixels
            are taken as they are stored.
        image_key: of `.npz` and `.mat` files the array that is the image, such as `image`; null: the only one.
        mask_key: of such files the array that is the mask, with the fields of a structure, as
            `groundTruth.Segmentation`; null: the only one.

    Raises:
        ValueError: see `class_map` and `Pattern`; a pattern of masks without `{name}`; `channels` below 1, or `to_grey`
            where they are not 1.
    """

    def __init__(
        self,
        root: str,
        labels: Labels | None = None,
        images: str = "images/{name}.*",
        masks: str | dict[str, str] = "masks/{name}.*",
        ignore: Values | None = None,
        channels: int = 3,
        valid: str | None = None,
        overlap: Overlap = "refuse",
        to_grey: bool = False,
        exif: bool = False,
        image_key: str | None = None,
        mask_key: str | None = None,
    ) -> None:
        if channels < 1:
            raise ValueError(f"channels: {channels}; expected 1 for grey, 3 for RGB, or the number of bands")
        if to_grey and channels != 1:
            raise ValueError(f"to_grey: is for channels: 1, which are {channels}")
        found = pattern_of("images", images, is_picture)
        drawn = patterns_of("masks", masks, is_picture)
        says = None if valid is None else pattern_of("valid", valid, is_picture)
        for pattern in (*drawn.values(), *([] if says is None else [says])):
            if "{name}" not in pattern.text:
                raise ValueError(f"{pattern.key}: {pattern.text!r} does not hold {{name}}, so its files have no names")
            if ("{part}" in images) != ("{part}" in pattern.text):
                raise ValueError(
                    f"{pattern.key}: {pattern.text!r} and images {images!r} must both hold {{part}}, or neither"
                )
        super().__init__(root, found, drawn, class_map(None, masks, labels, ignore), channels, says, overlap)
        self.to_grey, self.exif, self.image_key, self.mask_key = to_grey, exif, image_key, mask_key
        self.one_file = image_key != mask_key

    def is_image(self, path: Path) -> bool:
        """Whether a file is an image by its name: a still, or an array where the pattern names its ending."""
        return self.images[0].accepts(path)

    def read_image(self, path: Path) -> Pixels:
        """Decode an image."""
        return Pixels(read_image(path, self.channels, self.to_grey, self.exif, self.image_key))

    def read(self, case: Case) -> Decoded:
        """Decode an image and its mask."""
        image = self.read_image(case.image)
        return with_mask(image, case, self.labels, self.overlap, self.exif, self.mask_key)
