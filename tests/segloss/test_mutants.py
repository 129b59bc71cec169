"""The mutation check of the losses stays usable: every piece it breaks is there, and it sees a break."""

import subprocess
import sys

import pytest

import segloss
from segloss_tests import ROOT
from segloss_tests.mutate_losses import LOSSES, mutants_of


def test_every_loss_has_five_breaks_that_fit_its_source():
    assert set(LOSSES) == set(segloss.LOSSES)
    for loss in LOSSES:
        found = mutants_of(loss)
        assert len(found) >= 5
        assert len(LOSSES[loss]) >= 2
        for mutant in found:
            assert mutant.old in (ROOT / "segloss" / mutant.file).read_text(), (loss, mutant)


@pytest.mark.slow
def test_breaks_are_caught():
    done = subprocess.run(
        [sys.executable, ROOT / "tests/segloss_tests/mutate_losses.py", "mse"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mutants, 0 survived" in done.stdout
