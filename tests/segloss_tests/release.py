"""Build what is released and try it where torch alone is installed: `make release`. Nothing is uploaded.

Ends with the two commands that are left to a person, or with what has to be done before them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import segloss

ROOT = Path(__file__).resolve().parents[2]
TRIED = """
import sys
from importlib.metadata import version
import torch, segloss

assert segloss.__version__ == version("segloss") == sys.argv[1], segloss.__version__
assert segloss.__file__.startswith(sys.prefix), segloss.__file__
z, t = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randint(0, 3, (2, 8, 8))
for name in segloss.LOSSES:
    loss = segloss.build_loss(name, num_classes=3, class_counts=[5, 3, 1])(z, t)
    loss.backward()
    assert torch.isfinite(loss), name
print(f"segloss {segloss.__version__} with torch {torch.__version__}: {len(segloss.LOSSES)} losses, value and gradient")
"""


def build(folder: Path) -> list[Path]:
    """The sdist and the wheel, made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "hatchling", "build", "--directory", str(folder)], cwd=ROOT, check=True)
    return sorted(folder.iterdir())


def try_alone(wheel: Path) -> None:
    """Install a wheel, which brings torch alone, and call every loss; a `CalledProcessError` where one fails."""
    with tempfile.TemporaryDirectory() as place:
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        python = f"{place}/bin/python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", str(wheel)], cwd=place, check=True)
        subprocess.run([python, "-W", "ignore", "-c", TRIED, segloss.__version__], cwd=place, check=True)


def missing(version: str, changelog: str, changed: str, tags: list[str]) -> Iterator[str]:
    """What has to be done before a version can be tagged.

    Args:
        version: of the package.
        changelog: the text of CHANGELOG.md.
        changed: what `git status --porcelain` prints.
        tags: that there are.
    """
    first = re.search(r"^## (.*)$", changelog, re.MULTILINE)
    if first is None or not re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", first[1]):
        found = f"it is: {first[1]}" if first else "there is none"
        yield f"the first heading of CHANGELOG.md must be '## {version} (YYYY-MM-DD)', the day of the release; {found}"
    if changed:
        yield f"commit or remove what has changed: {' '.join(line[3:] for line in changed.splitlines()[:3])} …"
    if f"v{version}" in tags:
        yield f"v{version} is tagged already: raise __version__ in segloss/__init__.py"


def main() -> None:
    """Build, try, and say what is left."""
    built = build(ROOT / "dist")
    try_alone(next(path for path in built if path.suffix == ".whl"))

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout

    version = segloss.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    if left := [*missing(version, changelog, git("status", "--porcelain"), git("tag").split())]:
        raise SystemExit("\n".join(["built and tried, but not to be released yet:", *left]))
    print("built and tried; left to you:")
    print(f"  git tag -a v{version} -m 'segloss {version}' && git push origin v{version}")
    print(f"  python -m twine upload {' '.join(str(path.relative_to(ROOT)) for path in built)}")


if __name__ == "__main__":
    main()
