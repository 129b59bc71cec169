"""Small runs without what takes most of their time: figures are built and not rendered, t-SNE takes few points."""

import io
from pathlib import Path

from matplotlib.figure import Figure

SAVEFIG = Figure.savefig
BLANK = {
    ".png": bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c636000000002000148afa471"
        "0000000049454e44ae426082"
    ),
    ".svg": b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 400"/>',
}


def without_rendering(patch):
    def write(figure, path, **options):
        if isinstance(path, io.BytesIO):
            SAVEFIG(figure, path, **options)
        else:
            suffix = f".{options['format']}" if "format" in options else Path(path).suffix
            Path(path).write_bytes(BLANK[suffix])

    patch.setattr(Figure, "savefig", write)


def with_few_points(patch):
    """tests/engine/scoring/test_inside.py tests t-SNE of more."""
    patch.setattr("engine.scoring.features.EMBEDDED", 40)
