"""Problems of one kind are one line."""

from engine.data_check.problems import kinds_of


def test_the_same_of_many_files_is_one_line_with_three_names():
    missing = [f"data/a {i}/images/s ({i}).png: no mask data/masks/s{i}.png; add it or remove it" for i in range(786)]
    other = "data/masks/s4.png: label 9 (480 pixels), but the 3 classes have the values 0, 1, 2"
    kinds = kinds_of([*missing[:400], other, *missing[400:]])
    assert [len(kind.messages) for kind in kinds] == [786, 1]
    assert kinds[0].line == (
        f"786 of a kind: {missing[0]} (also data/a 1/images/s (1).png, data/a 2/images/s (2).png, …)"
    )
    assert kinds[1].line == other


def test_numbers_and_quoted_cases_make_no_kinds():
    kinds = kinds_of(
        [
            "m/a.png: label 9 (480 pixels), but the classes have the values 0, 1",
            "m/b.png: label 17 (3 pixels), but the classes have the values 0, 1",
            "the cases 'p0' (train) and 'p1' (test) have equal pixels; leave one out, data.exclude: ['p1']",
            "the cases 'p2' (val) and 'x/y z' (test) have equal pixels; leave one out, data.exclude: ['x/y z']",
            "the train part is empty; see data.split",
            "the test part is empty; see data.split",
        ]
    )
    assert [kind.names for kind in kinds] == [
        ["m/a.png", "m/b.png"],
        ["p0 and p1", "p2 and x/y z"],
        ["the train part is empty; see data.split"],
        ["the test part is empty; see data.split"],
    ]
    assert kinds[0].line.endswith("the values 0, 1 (also m/b.png)")


def test_a_problem_that_is_said_twice_is_one():
    assert [kind.line for kind in kinds_of(["a.png: gone", "a.png: gone"])] == ["a.png: gone"]
