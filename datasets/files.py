"""Writing files so that a reader sees the old one or the new one, never a part."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path

from .errors import DataError


def write_atomically(path: Path, content: bytes, durable: bool = True) -> None:
    """Write beside, flush, rename.

    Args:
        path: the file; its folder must exist.
        content: all of it.
        durable: wait until the bytes are on the disk, so that a power cut cannot leave an empty file.

    Raises:
        DataError: the disk is full or the folder cannot be written; what was there before is still whole.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise DataError(f"{path}: {cannot_write(error, path.parent, len(content))}") from error


def cannot_write(error: OSError, folder: Path, size: int = 0) -> str:
    """Why nothing could be written to a folder, and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        there = next(parent for parent in (folder, *folder.resolve().parents) if parent.exists())
        free = shutil.disk_usage(there).free / 2**20
        need = f"{size / 2**20:.1f} MiB needed, " if size else ""
        return f"the disk is full ({need}{free:.1f} MiB free); free some space and give the same command again"
    return f"cannot be written ({error.strerror}); check the folder's permissions, or choose another one"
