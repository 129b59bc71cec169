"""Which kind of file a path is: a still, a volume or DICOM; by its name, and DICOM by its first bytes too."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

USUAL = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
"""Of stills."""
FURTHER = (".gif", ".webp", ".jp2", ".j2k", ".ppm", ".pgm", ".pbm", ".pnm")
"""Of stills too, where none of the same name with a usual ending lies beside them."""
STILLS = (*USUAL, *FURTHER)
ARRAYS = (".npy", ".npz", ".mat")
"""Of arrays, which are stills or volumes only where a pattern names their ending."""
UNPLACED = (*ARRAYS, ".tif", ".tiff")
"""Of files that may be volumes and say nothing of space; volumes only where a pattern names their ending."""
METAIMAGE = (".mhd", ".mha")
NIFTI = (".nii.gz", ".nii")
NIFTI_HEADERS = (".hdr.gz", ".hdr")
NIFTI_IMAGES = (".img.gz", ".img")
NRRD = (".nrrd", ".nhdr")
VOLUMES = (*METAIMAGE, *NIFTI, *NIFTI_HEADERS, *NRRD)
"""Of the files by which the volumes of a folder are found."""
DICOM = (".dcm", ".dicom", ".ima")
"""That DICOM files often have; others have none."""
MARK, MARK_AT = b"DICM", 128


def is_still(path: Path) -> bool:
    """Whether a file is a still image by its name: not one beside another of the same name with a usual ending."""
    suffix = path.suffix.lower()
    if suffix not in STILLS or path.name.startswith(".") or path.is_dir():
        return False
    return suffix in USUAL or not any(path.with_suffix(usual).exists() for usual in USUAL)


def is_picture(path: Path, ending: str = "") -> bool:
    """Whether a file is a still, or an array for one, by its name.

    Args:
        path: the file.
        ending: in lower case; files that end so are taken where it is that of a still or of an array.
    """
    if ending in (*STILLS, *ARRAYS) and path.suffix.lower() == ending:
        return not path.name.startswith(".") and not path.is_dir()
    return is_still(path)


def is_scan(path: Path, ending: str = "") -> bool:
    """Whether a path is a volume's file by its name: the header where header and voxels are two files.

    Args:
        path: the file.
        ending: in lower case; files that end so are taken where it is one of `UNPLACED`.
    """
    if ending in UNPLACED and path.suffix.lower() == ending:
        return not path.name.startswith(".") and not path.is_dir()
    suffix = volume_suffix(path)
    named = suffix is not None and not path.name.startswith(".") and suffix not in NIFTI_IMAGES
    return named and not path.is_dir()


def ending_of(pattern: str) -> str:
    """The ending that a pattern names, in lower case; "" where it names none."""
    return PurePosixPath(pattern.replace("\\", "/")).suffix.lower()


def is_unplaced(path: Path) -> bool:
    """Whether a file, as a volume, says nothing of space: an array or a TIFF, by its name."""
    return path.suffix.lower() in UNPLACED


def is_dicom(path: Path) -> bool:
    """Whether a file bears the mark of DICOM behind its preamble, whatever its name."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(MARK_AT + len(MARK))[MARK_AT:] == MARK
    except OSError:
        return False


def is_volume(path: Path) -> bool:
    """Whether a file is a volume: by its name, and where that is DICOM's by its mark too."""
    return is_scan(path) or (path.suffix.lower() in DICOM and is_dicom(path))


def is_read_as_dicom(path: Path) -> bool:
    """Whether a path is for the reader of DICOM: a folder, or a file with its mark and no suffix of another format."""
    return path.is_dir() or (volume_suffix(path) is None and is_dicom(path))


def volume_suffix(path: str | Path) -> str | None:
    """The suffix by which a file is a volume, ".mhd" or ".nii.gz", in lower case; None where it is none."""
    name = Path(path).name.lower()
    return next((s for s in (*VOLUMES, *NIFTI_IMAGES) if name.endswith(s) and name != s), None)


def volume_stem(path: str | Path) -> str:
    """A file's name without the suffix of a volume, or without its own where it is none."""
    return without_suffix(Path(path).name)[0]


def without_suffix(path: str) -> tuple[str, str]:
    """A path without its suffix, and that suffix: of a volume, such as ".nii.gz" in lower case, or its own."""
    suffix = volume_suffix(path) or Path(path).suffix
    return path[: len(path) - len(suffix)], suffix
