"""Which of several DICOM series is read: by its UID, by its description, or by a rule that holds for all patients."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import TYPE_CHECKING, NamedTuple

from .errors import DataError

if TYPE_CHECKING:
    from .dicom_frames import Frame

Rule = str | dict[str, str | float | list[str]]
"""As the configuration has it: a SeriesInstanceUID, a pattern on modality and description, or a mapping."""
ORIENTATIONS = ("axial", "coronal", "sagittal")
PREFERENCES = ("latest", "earliest", "most_slices")
MOMENTS = (
    ("SeriesDate", "SeriesTime"),
    ("AcquisitionDate", "AcquisitionTime"),
    ("ContentDate", "ContentTime"),
    ("StudyDate", "StudyTime"),
)
"""When a series was made: the first pair that all have among which the latest is looked for."""
NUMBER = "SeriesNumber"
_PATIENT = 0x0010
"""The group of the elements about the patient, which no file that this program keeps may hold."""


class Choice(NamedTuple):
    """Which series a rule has chosen.

    Attributes:
        chosen: modality, description, number and frames of the series.
        passed_over: those of the others that fit the rule too.
    """

    chosen: str
    passed_over: tuple[str, ...]


@dataclass(frozen=True)
class SeriesRule:
    """What a series must be, and which of several that are so is taken.

    Attributes:
        text: its SeriesInstanceUID, or a regular expression on modality and description; None for any.
        elements: keywords of DICOM, each with patterns of which one must fit: texts with `*` and `?`, in small letters
            or capitals; numbers for equal ones.
        orientation: axial, coronal or sagittal; frames of other planes are left out.
        prefer: what decides among several, in this order; see `PREFERENCES`.
        stack: the name of a stack of the series, or a pattern with `*`.
    """

    text: str | None = None
    elements: Mapping[str, Sequence[str | float]] = field(default_factory=dict)
    orientation: str | None = None
    prefer: tuple[str, ...] = ()
    stack: str | None = None

    @classmethod
    def of(cls, given: Rule | SeriesRule | None, stack: str | None = None) -> SeriesRule:
        """From what the configuration says.

        Args:
            given: its key `series`; keys of a mapping are `orientation`, `prefer`, `stack` and keywords of DICOM.
            stack: its key `stack`, for a rule that names none.

        Raises:
            ValueError: a text that is no regular expression, a key or value that is not known.
        """
        if isinstance(given, SeriesRule):
            return given
        if given is None or isinstance(given, str):
            try:
                re.compile(given or "")
            except re.error as error:
                raise ValueError(f"series: {given!r} is neither a UID nor a pattern ({error})") from error
            return cls(text=given, stack=stack)
        listed = {key: tuple(value) if isinstance(value, list) else (value,) for key, value in given.items()}
        for key, allowed in (("orientation", ORIENTATIONS), ("prefer", PREFERENCES)):
            if foreign := [value for value in listed.get(key, ()) if value not in allowed]:
                raise ValueError(f"series: {key} is one of {', '.join(allowed)}, got {foreign[0]!r}")
        orientation, named = (listed.pop(key, (None,)) for key in ("orientation", "stack"))
        prefer = listed.pop("prefer", ())
        if len(orientation) != 1 or len(named) != 1:
            raise ValueError("series: orientation and stack are one text each")
        for keyword in listed:
            _refuse_keyword(keyword)
        return cls(
            elements=listed,
            orientation=None if orientation[0] is None else str(orientation[0]),
            prefer=tuple(map(str, prefer)),
            stack=stack if named[0] is None else str(named[0]),
        )

    @property
    def is_rule(self) -> bool:
        """Whether it is a mapping, whose choices are listed."""
        return bool(self.elements or self.orientation or self.prefer)

    @property
    def keywords(self) -> tuple[str, ...]:
        """The elements of a header that it asks for."""
        dated = {"latest", "earliest"} & {*self.prefer}
        return (NUMBER, *self.elements, *(key for pair in MOMENTS for key in pair if dated))

    def fits(self, frame: Frame, said: Mapping[str, str]) -> bool:
        """Whether a series is what is asked for, whatever its orientation.

        Args:
            frame: its first.
            said: the text of each of the `keywords` in its header; values of one element stand between backslashes.
        """
        if self.text is not None:
            return frame.series == self.text or re.search(self.text, frame.described, re.IGNORECASE) is not None
        return all(any(_fits(pattern, said[key]) for pattern in patterns) for key, patterns in self.elements.items())

    def preferred(self, fit: Mapping[str, list[Frame]], said: Mapping[str, Mapping[str, str]]) -> list[str]:
        """The series that come first by `prefer`: one, or several where nothing decides.

        Args:
            fit: the frames of series by their UID.
            said: see `fits`, by the UID.

        Raises:
            DataError: the latest is asked for, and nothing says when they were made.
        """
        left = list(fit)
        for preference in self.prefer:
            if len(left) < 2:
                break
            if preference == "most_slices":
                ranks: Mapping[str, tuple[float, ...]] = {key: (len(fit[key]),) for key in left}
            else:
                ranks = _moments({key: said[key] for key in left})
            best = min(ranks.values()) if preference == "earliest" else max(ranks.values())
            left = [key for key in left if ranks[key] == best]
        return left


def _refuse_keyword(keyword: str) -> None:
    from pydicom.datadict import dictionary_VR, tag_for_keyword  # takes time to import

    tag = tag_for_keyword(keyword)
    if tag is None:
        raise ValueError(
            f"series: {keyword!r} is no keyword of DICOM; expected orientation, prefer, stack or one such as "
            "SeriesDescription, ProtocolName, EchoTime"
        )
    if dictionary_VR(tag) in ("SQ", "OB", "OW", "UN") or tag >> 16 == _PATIENT:
        raise ValueError(f"series: {keyword} does not describe a series; use SeriesDescription or another of its own")


def _fits(pattern: str | float, said: str) -> bool:
    values = [said, *said.split("\\")] if said else []
    if isinstance(pattern, str):
        return any(fnmatch(value.casefold(), pattern.casefold()) for value in values)
    return any(_number(value) == pattern for value in values)


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _moments(said: Mapping[str, Mapping[str, str]]) -> Mapping[str, tuple[float, ...]]:
    """Date, time and number of each series; of dates alone where no time is said."""
    for timed in (True, False):
        for date, time in MOMENTS:
            days = {key: _digits(one[date], 8) for key, one in said.items()}
            times = {key: _digits(one[time], 6) if timed else 0.0 for key, one in said.items()}
            found = {
                key: (day, moment, _number(said[key][NUMBER]) or 0.0)
                for key, day in days.items()
                if day is not None and (moment := times[key]) is not None
            }
            if len(found) == len(said):
                return found
    raise DataError(
        f"{len(said)} series fit, and nothing says which is newest: no SeriesDate, AcquisitionDate, ContentDate or "
        "StudyDate in all of them"
    )


def _digits(text: str, whole: int) -> float | None:
    """A date YYYYMMDD or a time HHMMSS.FFFFFF as a number, with or without points and colons; None for none."""
    digits, _, fraction = re.sub(r"[:-]", "", text).partition(".") if whole == 6 else (text.replace(".", ""), "", "")
    if not re.fullmatch(r"\d+", digits) or len(digits) > whole or (whole == 8 and len(digits) < 8):
        return None
    return float(f"{digits.ljust(whole, '0')}.{fraction if fraction.isdigit() else '0'}")
