"""Small runs without what takes most of their time: figures are built and not rendered, t-SNE takes few points."""

from engine.pictures import chart

RENDERED = chart.rendered
BLANK = {
    ".png": bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c636000000002000148afa471"
        "0000000049454e44ae426082"
    ),
    ".svg": b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 400"/>',
}


def without_rendering(patch):
    patch.setattr(chart, "rendered", lambda figure, suffix, dpi, **options: BLANK[suffix])


def with_few_points(patch):
    """tests/engine/scoring/test_inside.py tests t-SNE of more."""
    patch.setattr("engine.scoring.features.EMBEDDED", 40)
