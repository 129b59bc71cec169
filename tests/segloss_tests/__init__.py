"""What the tests share.

A package of its own, and so named: a helper module `runs` would be looked for in the folder that a process starts in,
where `runs` is what the demo writes.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""
