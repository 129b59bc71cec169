"""CIFAR-10 and CIFAR-100 in their published binary files: records of labels and 32×32 RGB pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from .case import Case, Decoded, Part, Pixels
from .errors import DataError
from .listing import Listing
from .pictures import Labelled, labelled

SIDE = 32
PIXELS = 3 * SIDE * SIDE
TEN = "airplane automobile bird cat deer dog frog horse ship truck"
COARSE = """aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices
household_furniture insects large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes
large_omnivores_and_herbivores medium_mammals non-insect_invertebrates people reptiles small_mammals trees vehicles_1
vehicles_2"""
FINE = """apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant
flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree
motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy
porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel
streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale
willow_tree wolf woman worm"""
"""The names of the classes, in the order of their numbers."""


class Binary(Labelled):
    """Files of records: some bytes of labels, then 3,072 of pixels, a channel after the other, row by row.

    Args:
        root: the folder with the files, or the one above it.
        archive: what that folder is called in the published archive.
        files: by part.
        names: of the classes, with spaces between them.
        labels: bytes before the pixels.
        label: which of them is the class.
    """

    def __init__(
        self, root: str, archive: str, files: dict[Part, Sequence[str]], names: str, labels: int, label: int
    ) -> None:
        super().__init__(3)
        self.root, self.archive, self.files, self.names = Path(root), archive, files, tuple(names.split())
        self.record, self.label = labels + PIXELS, label

    @property
    def classes(self) -> tuple[str, ...]:
        """As they were published."""
        return self.names

    def cases(self, listing: Listing | None = None) -> list[Case]:
        """List the records, file by file; the published parts are the official split.

        Args:
            listing: see `Adapter`.

        Raises:
            DataError: a file that is missing, pickled, cut short, or holds another label than there are classes.
        """
        folder, listing = self._folder(), listing or Listing()
        cases = [case for part, names in self.files.items() for name in names for case in self._of(folder / name, part)]
        return [case for case in cases if listing.takes(case.id)]

    def read(self, case: Case) -> Decoded:
        """Decode a record."""
        start = int(case.id.rpartition("/")[2]) * self.record
        record = np.fromfile(case.image, np.uint8, self.record, offset=start)
        if len(record) < self.record:
            raise DataError(f"{case.image}: ends within record {case.id}; get the file again")
        planes = record[-PIXELS:].reshape(1, 3, SIDE, SIDE)
        return labelled(Pixels(np.ascontiguousarray(np.moveaxis(planes, 1, -1))), case, len(self.names))

    def _folder(self) -> Path:
        inner = self.root / self.archive
        return inner if inner.is_dir() else self.root

    def _of(self, path: Path, part: Part) -> Iterator[Case]:
        """The cases of a file."""
        if not path.is_file():
            pickled = path.with_suffix("")
            what = (
                f"{pickled.name} is the pickled version, which is never opened" if pickled.is_file() else "no such file"
            )
            raise DataError(f"{path}: {what}; get the binary version of the data set, and set data.root to its folder")
        size = path.stat().st_size
        if not size or size % self.record:
            raise DataError(
                f"{path}: {size} bytes; expected a multiple of {self.record}, the bytes of a record of the binary "
                "version; cut short, or of another data set?"
            )
        labels = np.memmap(path, np.uint8, "r").reshape(-1, self.record)[:, self.label].tolist()
        stem = path.stem
        for number, label in enumerate(labels):
            if label >= len(self.names):
                raise DataError(
                    f"{path}: record {number} has the label {label}; expected 0 to {len(self.names) - 1}; "
                    "is it of another data set?"
                )
            id_ = f"{part}/{stem}/{number:05d}"
            yield Case(id_, id_, path, path, part, label=label)


class Cifar10(Binary):
    """CIFAR-10 (Krizhevsky 2009), binary version: 50,000 training and 10,000 test pictures of 10 classes.

    Args:
        root: the folder `cifar-10-batches-bin`, or the one above it.
    """

    def __init__(self, root: str) -> None:
        train = [f"data_batch_{number}.bin" for number in range(1, 6)]
        super().__init__(root, "cifar-10-batches-bin", {"train": train, "test": ["test_batch.bin"]}, TEN, 1, 0)


class Cifar100(Binary):
    """CIFAR-100 (Krizhevsky 2009), binary version: 50,000 training and 10,000 test pictures.

    Args:
        root: the folder `cifar-100-binary`, or the one above it.
        label: `fine` for 100 classes, `coarse` for 20.
    """

    def __init__(self, root: str, label: Literal["fine", "coarse"] = "fine") -> None:
        files: dict[Part, Sequence[str]] = {"train": ["train.bin"], "test": ["test.bin"]}
        fine = label == "fine"
        super().__init__(root, "cifar-100-binary", files, FINE if fine else COARSE, 2, int(fine))
