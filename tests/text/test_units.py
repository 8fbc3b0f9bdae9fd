"""CTC units."""

from pathlib import Path

import pytest

from osum.text.units import CtcUnits


def test_build_and_encode() -> None:
    units = CtcUnits.build(["ba ab", "好a"])
    assert units.symbols == ("<blank>", "|", "a", "b", "好")
    assert units.encode("ab b好a, a") == [2, 3, 1, 3, 4, 2, 1, 2]
    assert units.decode(units.encode("ab b好a, a")) == "ab b好a a"


def test_unknown_characters_are_dropped() -> None:
    units = CtcUnits.build(["ab"])
    assert units.encode("axb龘") == [2, 3]


def test_save_and_load(tmp_path: Path) -> None:
    units = CtcUnits.build(["it's 好"])
    units.save(tmp_path / "units.txt")
    assert (tmp_path / "units.txt").read_text(encoding="utf-8") == "<blank> 0\n| 1\n' 2\ni 3\ns 4\nt 5\n好 6\n"
    assert CtcUnits.load(tmp_path / "units.txt") == units


def test_load_names_the_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "units.txt"
    path.write_text("<blank> 0\n| 1\na 7\n")
    with pytest.raises(ValueError, match=r"units.txt:3: expected 'symbol 2'"):
        CtcUnits.load(path)
