"""CamVid in its original form: 701 frames, 32 classes by colour, grouped to the 11 of SegNet."""

from __future__ import annotations

from pathlib import Path

from .case import Case
from .errors import DataError
from .folder import Stills
from .formats import is_still
from .labels import LabelMap, Labels, Values, label_map
from .listing import Listing
from .pattern import Pattern

COLOURS: dict[str, tuple[tuple[int, int, int], str]] = {
    "Sky": ((128, 128, 128), "sky"),
    "Archway": ((192, 0, 128), "building"),
    "Bridge": ((0, 128, 64), "building"),
    "Building": ((128, 0, 0), "building"),
    "Tunnel": ((64, 0, 64), "building"),
    "Wall": ((64, 192, 0), "building"),
    "Column_Pole": ((192, 192, 128), "pole"),
    "TrafficCone": ((0, 0, 64), "pole"),
    "LaneMkgsDriv": ((128, 0, 192), "road"),
    "LaneMkgsNonDriv": ((192, 0, 64), "road"),
    "Road": ((128, 64, 128), "road"),
    "ParkingBlock": ((64, 192, 128), "pavement"),
    "RoadShoulder": ((128, 128, 192), "pavement"),
    "Sidewalk": ((0, 0, 192), "pavement"),
    "Tree": ((128, 128, 0), "tree"),
    "VegetationMisc": ((192, 192, 0), "tree"),
    "Misc_Text": ((128, 128, 64), "sign"),
    "SignSymbol": ((192, 128, 128), "sign"),
    "TrafficLight": ((0, 64, 64), "sign"),
    "Fence": ((64, 64, 128), "fence"),
    "Car": ((64, 0, 128), "car"),
    "OtherMoving": ((128, 64, 64), "car"),
    "SUVPickupTruck": ((64, 128, 192), "car"),
    "Train": ((192, 64, 128), "car"),
    "Truck_Bus": ((192, 128, 192), "car"),
    "Animal": ((64, 128, 64), "pedestrian"),
    "CartLuggagePram": ((64, 0, 192), "pedestrian"),
    "Child": ((192, 128, 64), "pedestrian"),
    "Pedestrian": ((64, 64, 0), "pedestrian"),
    "Bicyclist": ((0, 128, 192), "bicyclist"),
    "MotorcycleScooter": ((192, 0, 192), "bicyclist"),
    "Void": ((0, 0, 0), "void"),
}
"""Each original class: its colour, and which of SegNet's 11 classes it belongs to; void does not count."""
CLASSES = tuple(dict.fromkeys(name for _, name in COLOURS.values() if name != "void"))
OWN = LabelMap(
    {name: [colour for colour, group in COLOURS.values() if group == name] for name in CLASSES},
    ignore=[COLOURS["Void"][0]],
)
FRAMES, MASKS, LIST = "701_StillsRaw_full", "LabeledApproved_full", "label_colors.txt"


class CamVid701(Stills):
    """`root/701_StillsRaw_full/NAME.png` and `root/LabeledApproved_full/NAME_L.png`, a colour for each class.

    A case is a frame; its group is the video sequence (0001TP, 0006R0, 0016E5, Seq05VD), what stands before the first
    underscore. There is no official split: frames that follow each other are nearly equal, so split by sequence.

    Args:
        root: the folder that holds both; a `label_colors.txt` there is compared with the known colours.
        labels: other classes: a name to one or several RGB colours `[[r, g, b], …]`; null for SegNet's 11 classes.
        ignore: further colours of pixels that do not count.

    Raises:
        ValueError: see `LabelMap`.
    """

    layout = f"{FRAMES} and {MASKS}"

    def __init__(self, root: str, labels: Labels | None = None, ignore: Values | None = None) -> None:
        super().__init__(
            root,
            Pattern("images", f"{FRAMES}/{{name}}.*", is_still, depth=1),
            Pattern("masks", f"{MASKS}/{{name}}_L.*", is_still, depth=1),
            label_map(OWN, labels, ignore),
        )

    def cases(self, listing: Listing | None = None) -> list[Case]:
        """List the frames.

        Raises:
            DataError: a missing folder, frame or mask, a list of colours that is not CamVid's.
        """
        if (self.root / "trainannot").is_dir() and not (self.root / FRAMES).is_dir():
            raise DataError(f"{self.root}: CamVid in SegNet's layout, with trainannot; use data.name: camvid")
        if (self.root / LIST).is_file():
            _check_list(self.root / LIST)
        return super().cases(listing)

    def case(self, name: str, image: Path, mask: Path) -> Case:
        """A frame, of the sequence that its name begins with."""
        return Case(name, name.split("_")[0], image, mask)

    def is_image(self, path: Path) -> bool:
        """Whether a file is a frame by its name."""
        return is_still(path) and not path.stem.endswith("_L")


def _check_list(path: Path) -> None:
    """Compare a list of lines `R G B NAME` with `COLOURS`; a `DataError` that names the first difference."""
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        parts = line.split()
        if not parts:
            continue
        if len(parts) != 4 or not all(part.isdecimal() for part in parts[:3]):
            raise DataError(f"{path}:{number}: {line.strip()!r}; expected a line such as `128 0 0 Building`")
        name, colour = parts[3], tuple(map(int, parts[:3]))
        if name not in COLOURS or COLOURS[name][0] != colour:
            known = f"CamVid's {name} is {list(COLOURS[name][0])}" if name in COLOURS else "no class of CamVid"
            raise DataError(
                f"{path}:{number}: {name} is {list(colour)}, but {known}; name your own classes in data.labels, and "
                "remove this file"
            )
