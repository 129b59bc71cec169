"""What libraries warn of does not reach the screen."""

import io
import logging
import sys
import warnings

import pytest


@pytest.fixture
def streams(monkeypatch):
    """Standard output and error that take ASCII alone; all that quiet changes is changed back."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    monkeypatch.setattr(warnings, "showwarning", warnings._showwarning_orig)
    monkeypatch.setattr(sys, "warnoptions", [])
    monkeypatch.setenv("OPENCV_LOG_LEVEL", "INFO")
    levels = {name: logging.getLogger(name).level for name in ("pydicom", "nibabel.global", "PIL", "highdicom")}
    yield sys.stdout, sys.stderr
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def written(stream):
    stream.flush()
    return stream.buffer.getvalue().decode()


def warn():
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("Invalid value for VR UI", UserWarning, stacklevel=1)
    logging.getLogger("pydicom").warning("no transfer syntax")


def test_warnings_of_libraries_are_not_shown(door, streams):
    door._quiet()
    warn()
    assert written(streams[1]) == ""
    with pytest.warns(UserWarning, match="VR UI"):  # but can be listened to
        warn()
