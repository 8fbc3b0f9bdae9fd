import pytest

from osum.data.corpora.ages import age_class


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("6", "child"), ("13", "child"), ("14", None), ("17.9", None), ("18", "adult"), ("59", "adult"), ("60", "old"),
     ("elderly", "elderly"), ("nan", "nan"), ("-1", "-1")],
)  # fmt: skip
def test_years_become_classes_and_words_stay(raw, expected):
    assert age_class(raw) == expected
