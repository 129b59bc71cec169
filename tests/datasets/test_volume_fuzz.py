"""Hostile volumes, a few hundred of each kind; thousands with `tests/segloss_tests/fuzz_volumes.py --count 5000`."""

import pytest

from segloss_tests.fuzz_volumes import attempt, bases

BASES = bases()


@pytest.mark.parametrize("kind", BASES)
def test_mutants_are_read_or_refused(tmp_path, kind):
    outcomes = [attempt(tmp_path, kind, BASES[kind], seed) for seed in range(300)]
    assert 10 < outcomes.count("read") < 290  # the mutants are neither all harmless nor all nonsense
