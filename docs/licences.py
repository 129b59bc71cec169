"""The licences of the locked packages, as their metadata names them; `make licences` prints them."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, distributions
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "requirements.lock"
UNNAMED = {"cuda-toolkit": "NVIDIA Proprietary Software (an empty package: only its dependencies hold files)"}
"""Of packages whose metadata names none."""
ALLOWED: dict[str, str] = {}
"""Why a package under the GPL or AGPL may be installed by default, by its name."""
GPL = re.compile(r"(?<![A-Za-z])A?GPL|(?<!Lesser )(?<!Library )General Public License", re.IGNORECASE)
"""The GPL and AGPL; the LGPL lets a program be linked to the library under any licence."""


def locked(lock: Path = LOCK) -> set[str]:
    """The names of all packages of a lock file, those of other systems and Pythons among them."""
    return set(re.findall(r"^([a-z0-9][a-z0-9.-]*)==", lock.read_text(), re.MULTILINE))


def licence(package: Distribution) -> str:
    """The licence of an installed package: its SPDX expression, else its classifiers and the line that it gives.

    Returns:
        One line; empty where the metadata says nothing.
    """

    def said(field: str) -> list[str]:
        return package.metadata.get_all(field) or []

    if expressions := said("License-Expression"):
        return expressions[0]
    named = [line.rpartition(" :: ")[2] for line in said("Classifier") if line.startswith("License ::")]
    first = "".join(said("License")[:1]).strip().partition("\n")[0]
    if (
        re.search(r"[A-Za-z]", first)
        and first != "UNKNOWN"
        and not first.startswith(("Copyright", "License agreement"))
    ):
        named.append(first)
    return "; ".join(dict.fromkeys(named))


def licences() -> dict[str, str]:
    """The licence of each package that is locked and installed, by the package's name."""
    names = locked()
    found = {re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower(): package for package in distributions()}
    return {name: licence(found[name]) or UNNAMED.get(name, "") for name in sorted(names & found.keys())}


def refused(licences: dict[str, str]) -> dict[str, str]:
    """The packages that may not be locked: under the GPL or AGPL without a reason in `ALLOWED`, or without a licence."""
    return {name: line for name, line in licences.items() if not line or (GPL.search(line) and name not in ALLOWED)}


def main() -> None:
    """Print a line a package; end with an error that names those that are refused."""
    found = licences()
    width = max(map(len, found))
    for name, line in found.items():
        print(f"{name:{width}}  {line}")
    if wrong := refused(found):
        raise SystemExit(f"under the GPL, or without a licence: {', '.join(wrong)}; see ALLOWED in docs/licences.py")


if __name__ == "__main__":
    main()
