import pytest

from osum.model.convert.settings import Settings

TEXT = "width: 16\nrate: 1\nname: gxl\nkey_bias: false\npart:\n  width: 8\n"


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "s.yaml").write_text(TEXT)
    return Settings.read(tmp_path / "s.yaml")


def test_values_are_typed(settings):
    assert (settings.integer("width"), settings.number("rate"), settings.text("name")) == (16, 1.0, "gxl")
    assert settings.section("part").integer("width") == 8


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda s: s.integer("depth"), r"s.yaml: depth is None; give its value"),
        (lambda s: s.integer("name"), r"s.yaml: name is 'gxl'; give its value"),
        (lambda s: s.integer("key_bias"), r"s.yaml: key_bias is False; give its value"),
        (lambda s: s.section("width"), r"s.yaml: no section 'width'"),
        (lambda s: s.section("part").text("name"), r"s.yaml, part: name is None"),
        (lambda s: s.require("name", "a", "b"), r"name is 'gxl'; only 'a' or 'b' can be converted"),
        (lambda s: s.require("absent", "a"), r"absent is None; only 'a' can"),
        (lambda s: s.section("part").agree(s, "width"), r"part: width is 8, but 16 in .*s.yaml; only equal ones"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place(settings, ask, message):
    with pytest.raises(ValueError, match=message):
        ask(settings)


def test_what_may_be_absent_may_be(settings):
    settings.require("absent", "a", None)


def test_numbers_of_json_are_read_as_json(tmp_path):
    (tmp_path / "s.json").write_text('{"eps": 1e-06}')
    assert Settings.read(tmp_path / "s.json").number("eps") == 1e-6


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"s.yaml: no such config"):
        Settings.read(tmp_path / "s.yaml")
