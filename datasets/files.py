"""Writing files so that a reader sees the old one or the new one, never a part; and their names."""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import shutil
import tempfile
import unicodedata
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import DataError

_JSON_LIMIT = 64 * 2**20
NAME_BYTES = 255
"""Of a file's name at most, on the usual file systems."""
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, and bytes of a name that are no UTF-8."""


def write_atomically(path: Path, content: bytes | memoryview, durable: bool = True) -> None:
    """Write beside, flush, rename, flush the folder.

    Args:
        path: the file; its folder must exist.
        content: all of it.
        durable: wait until bytes and name are on the disk, so that a power cut leaves the old file or the new one.

    Raises:
        DataError: the disk is full or the folder cannot be written; what was there before is still whole.
    """
    beside = beside_of(path)
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        beside.replace(path)
        if durable:
            _flush_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise DataError(f"{path}: {cannot_write(error, path.parent, len(content))}") from error
        raise


def beside_of(path: Path) -> Path:
    """Where a file is written before it is renamed to its own name, of which a long one is cut there."""
    name = path.name.encode(errors="surrogateescape")[: NAME_BYTES - 32].decode(errors="ignore")
    return path.with_name(f".{name}.{os.getpid()}-{secrets.token_hex(4)}")


def refuse_unprintable(path: Path) -> None:
    """Raise a `DataError` where a path holds what no line, page or JSON file can hold."""
    if found := UNPRINTABLE.search(str(path)):
        what = "bytes that are no UTF-8" if "\ud800" <= found[0] <= "\udfff" else "a control character"
        raise DataError(f"{ascii(str(path))[1:-1]}: a name with {what}; rename it")


def is_there(path: str | Path) -> bool:
    """Whether a path exists; false too where it cannot be asked for, as by a name that is too long."""
    with suppress(OSError, ValueError):
        return Path(path).exists()
    return False


def is_file(path: Path) -> bool:
    """Whether a path is that of a file; false too where it cannot be asked for, as `is_there`."""
    return is_there(path) and path.is_file()


def existing(path: str) -> str:
    r"""A path, or one that says the same and exists: with `/` for `\`, composed or decomposed letters (NFC, NFD)."""
    slashed = path.replace("\\", "/")
    variants = (path, slashed, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD")))
    return next(filter(is_there, variants), path)


def same_name(name: str) -> str:
    """A name with composed letters (NFC): file systems and lists of files differ in that."""
    return unicodedata.normalize("NFC", name)


def first_of(names: Collection[object]) -> str:
    """The first three, as a line lists them."""
    return ", ".join(map(str, [*names][:3])) + (", …" if len(names) > 3 else "")


def read_json(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        FileNotFoundError: there is none.
        DataError: it is not JSON, or larger than any that this package reads.
    """
    try:
        if path.stat().st_size > _JSON_LIMIT:
            raise DataError(f"{path}: {path.stat().st_size} bytes; expected at most {_JSON_LIMIT}: is it another file?")
        return json.loads(path.read_bytes())  # UTF-8, or UTF-16 and UTF-32 by their first bytes
    except (FileNotFoundError, DataError):
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a JSON file ({error})") from error


def leftovers(folder: Path, pattern: str) -> list[Path]:
    """What writers that were killed have left beside the files that `pattern` names."""
    return [path for path in folder.glob(f".{pattern}.*") if re.search(r"\.\d+-[0-9a-f]{8}$", path.name)]


def _flush_folder(folder: Path) -> None:
    """Put a rename on the disk, where the system can."""
    with suppress(OSError):  # Windows opens no folder, some network file systems flush none
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def cannot_write(error: OSError, folder: Path, size: int = 0) -> str:
    """Why nothing could be written to a folder, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        there = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
        free = shutil.disk_usage(there).free / 2**20
        need = f"{size / 2**20:.1f} MiB needed, " if size else ""
        return f"the disk is full ({need}{free:.1f} MiB free); free some space and give the same command again"
    return f"cannot be written ({error.strerror}); check the folder's permissions, or choose another one"


@contextmanager
def made_whole(folder: Path) -> Iterator[Path]:
    """A new folder that takes its place once the block has filled it; where another process was first, that stays.

    Args:
        folder: the place; a `DataError` where what it lies in cannot be made.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder.parent}: {cannot_write(error, folder.parent)} (data.root)") from error
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as beside:
        made = Path(beside) / folder.name
        made.mkdir()
        yield made
        try:
            made.replace(folder)
        except OSError:
            if not folder.is_dir():  # else another process has made the same
                raise
            shutil.rmtree(made)
