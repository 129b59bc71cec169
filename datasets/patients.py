"""Whose scans cases are: by the PatientID of DICOM, of which digests are compared, and by how names begin."""

from __future__ import annotations

import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from .case import Adapter, Case, Part
from .notes import Note

BEGINNINGS = ("^[^/]+", "^[^_]+", "^[^-]+", "^[^_]+_[^_]+", "^[^-]+-[^-]+")
"""Patterns on a name that may give a patient or a sequence: up to a separator."""
NUMBERED = r"^\D*\d+"
"""The same where letters follow the patient's number, as in p00pre."""


def patients_of(adapter: Adapter, cases: Sequence[Case]) -> dict[str, str]:
    """By case a digest of its patient, where its files name one; empty where they name the same in all cases."""
    named = {case.id: patient for case in cases if (patient := adapter.patient(case)) is not None}
    if len(cases) > 1 and len(named) == len(cases) and len({*named.values()}) == 1:
        for case in cases:
            note = Note("case(s) have one PatientID, which is taken for a placeholder", case.id, "see data.group")
            warnings.warn(note, stacklevel=2)
        return {}
    return named


def note_shared(part: Part, cases: Iterable[Case], patients: Mapping[str, str]) -> None:
    """Note the groups of a part whose cases are of one patient; in different parts they are leaks.

    Args:
        part: for the note.
        cases: those of the part.
        patients: by case what is equal for scans of one patient, where it is known.
    """
    groups: dict[str, dict[str, None]] = {}
    for case in cases:
        if case.id in patients:
            groups.setdefault(patients[case.id], {})[case.group] = None
    for names in groups.values():
        for name in names if len(names) > 1 else ():
            what = f"group(s) in the {part} part have the PatientID of another one, and count as if they were patients"
            remedy = "one group a patient by data.group, a pattern on what their names share, such as '^[^_]+'"
            warnings.warn(Note(what, name, remedy), stacklevel=2)


def note_beginnings(cases: Sequence[Case]) -> None:
    """Note cases whose names begin alike and that are groups of their own; nothing where the data set groups them."""
    ids = [case.id for case in cases]
    if [case.group for case in cases] != ids or (pattern := beginning(ids)) is None:
        return
    shared = _shared(ids, pattern)
    for name in ids:
        if shared[group_by(pattern, name)] > 1:
            what = "case(s) have names that begin alike, as scans of one patient or frames of one sequence do"
            remedy = f"data.group: '{pattern}' keeps those that belong together in one part"
            warnings.warn(Note(what, name, remedy), stacklevel=2)


def beginning(names: Sequence[str]) -> str | None:
    """A pattern on names whose match two or more of them share, in several such groups; None where there is none.

    What is shared must hold a digit, as the number of a patient does and the name of a class does not, and at least
    half of the names must share it with another.
    """
    for pattern in (*BEGINNINGS, NUMBERED):
        if pattern == NUMBERED and any(re.search(r"\d", name.removeprefix(group_by(pattern, name))) for name in names):
            continue
        several = {group: count for group, count in _shared(names, pattern).items() if count > 1}
        numbered = all(re.search(r"\d", group) for group in several)
        if len(several) > 1 and numbered and 2 * sum(several.values()) >= len(names):
            return pattern
    return None


def dicom_patient(path: Path) -> str | None:
    """A digest of the PatientID of a DICOM file; None where it has none, or cannot be read."""
    from pydicom import dcmread  # takes time to import
    from pydicom.errors import InvalidDicomError

    try:
        found = dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"])
        patient = str(found.get("PatientID") or "").strip()
    except (InvalidDicomError, OSError, ValueError, AttributeError, LookupError, TypeError):
        return None  # whoever reads the file says what is wrong with it
    return hashlib.sha256(patient.encode(errors="replace")).hexdigest() if patient else None


def _shared(names: Sequence[str], pattern: str) -> Mapping[str, int]:
    return Counter(group_by(pattern, name) for name in names)


def group_by(pattern: str, name: str) -> str:
    """What of a name a pattern matches: its group; the whole name where it does not match."""
    found = re.search(pattern, name)
    return name if found is None else found[0]
