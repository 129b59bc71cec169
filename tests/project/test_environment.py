"""The lock file: complete, of no machine's own, and free of licences that bind what is built on it."""

import re
import tomllib
from types import SimpleNamespace

import pytest
from packaging.requirements import Requirement

from docs import licences
from segloss_tests import ROOT

LOCK = (ROOT / "requirements.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
PIN = re.compile(
    r"^([a-z0-9][a-z0-9.-]*)==([^ ]+)(?: ; .+)? \\(?:\n    --hash=sha256:[0-9a-f]{64}(?: \\)?)+$", re.MULTILINE
)
PINS = PIN.findall(LOCK)


def declared(names):
    """The requirements of extras and of the extras in them, without those of segloss on itself."""
    for line in [line for name in names for line in EXTRAS[name]]:
        requirement = Requirement(line)
        if requirement.name == "segloss":
            yield from declared(requirement.extras)
        else:
            yield requirement


def test_every_line_is_a_pin_with_hashes_or_a_comment():
    rest = [line for line in LOCK.splitlines() if line and not line.lstrip().startswith(("#", "--hash=sha256:"))]
    assert len(rest) == len(PINS) > 100
    assert not re.search(r"https?:|file:|/tmp|/opt|/home|/work|--index|--find", LOCK)


def test_the_lock_holds_what_is_declared():
    """In versions of the declared ranges; on every Python of those that are supported."""
    for requirement in [*map(Requirement, PROJECT["dependencies"]), *declared(["train", "dev"])]:
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        pins = [pin for found, pin in PINS if found == name]
        assert pins, f"{name} is not locked: make lock"
        assert all(requirement.specifier.contains(pin) for pin in pins), f"{name}: {pins}; make lock"


def test_no_package_is_under_the_gpl_or_without_a_licence():
    found = licences.licences()
    assert len(found) > 80
    assert licences.refused(found) == {}


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("MIT", True),
        ("LGPL-2.1-or-later", True),
        ("GNU Lesser General Public License v3 (LGPLv3)", True),
        ("GNU Library or Lesser General Public License (LGPL)", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-2.0-or-later", False),
        ("AGPLv3", False),
        ("GNU Affero General Public License v3", False),
        ("GNU General Public License v2 or later (GPLv2+)", False),
        ("", False),
    ],
)
def test_licences_that_are_refused(line, allowed):
    assert (licences.refused({"it": line}) == {}) is allowed


def test_the_licence_of_a_package_by_hand():
    def said(classifiers=(), **fields):
        fields = {"Classifier": list(classifiers)} | {name: [value] for name, value in fields.items()}
        return licences.licence(SimpleNamespace(metadata=SimpleNamespace(get_all=fields.get)))

    osi = "License :: OSI Approved :: "
    assert said([f"{osi}BSD License"], **{"License-Expression": "0BSD"}) == "0BSD"
    assert said([f"{osi}MIT License", "Topic :: Art"], License="GPLv3\nwith much text") == "MIT License; GPLv3"
    assert said([f"{osi}BSD License"], License="=====\nThe licence of a library") == "BSD License"
    assert said([f"{osi}BSD License"], License="Copyright (c) 2001") == "BSD License"
    assert said(License="UNKNOWN") == ""
