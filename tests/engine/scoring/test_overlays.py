"""Pictures of scored cases: what their files are called."""

from engine.scoring.overlays import file_stem


def test_pictures_of_two_cases_never_share_a_file():
    assert file_stem("a/b", []) == "a_b"
    assert file_stem("a_b", ["a_b"]) not in ("a_b", file_stem("a/b", ["a_b"]))
    long = [file_stem("前" * 84 + end, []) for end in "xy"]
    assert len({*long}) == 2
    assert all(len(stem.encode()) < 220 for stem in long)
