"""The mutation check stays usable: every piece it breaks is there, and it sees a break."""

import ast
import subprocess
import sys

import pytest

import segloss
from segloss_tests import ROOT
from segloss_tests.mutate import EXPLAINED, LOSSES, TARGETS, breakable, drawn, mutants_of, replaced


def test_every_loss_has_five_breaks_that_fit_its_source():
    assert set(LOSSES) == set(segloss.LOSSES)
    for loss in LOSSES:
        found = mutants_of(loss)
        assert len(found) >= 5
        assert len(LOSSES[loss]) >= 2
        for mutant in found:
            assert mutant.old in (ROOT / mutant.file).read_text(), (loss, mutant)


def test_every_module_has_breaks_and_every_explanation_is_of_one():
    names = {f"{file}: {mutant.what}" for file in TARGETS for mutant in drawn(file)}
    assert len(names) > 1000
    assert EXPLAINED.keys() <= names
    for options in TARGETS.values():
        for option in options:
            assert not option.startswith("tests/") or (ROOT / option.partition("::")[0]).is_file()


def test_what_is_broken_by_hand():
    body = "if not x < 1 and g(x, True):\n        raise ValueError(f'{x + 1}')\n    return min(-x, 2.5)"
    source = f"def f(x: int = 3):\n    {body}"
    found = [
        ast.unparse(broken)
        for where, node in breakable(ast.parse(source))
        if where == "f" and (broken := replaced(node))
    ]
    assert [line for line in found if "\n" not in line] == [
        "4", "not x < 1 or g(x, True)", "x < 1", "x <= 1", "2", "False", "max", "x", "3.5"
    ]  # fmt: skip
    assert "if not (not x < 1 and g(x, True)):" in "\n".join(found)


@pytest.mark.slow
def test_breaks_are_caught():
    done = subprocess.run(
        [sys.executable, ROOT / "tests/segloss_tests/mutate.py", "mse", "segloss/calibration.py", "--count", "5"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mutants, 0 survived" in done.stdout
