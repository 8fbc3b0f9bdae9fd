import pytest
from labelled.lists import BadRow, read_list


def rows(path):
    return [(line, str(row) if isinstance(row, BadRow) else row) for line, row in read_list(path)]


def test_json_lines_keep_the_empty_text_and_leave_out_null(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"path": "a.wav", "text": "", "age": null}\n\n{broken\n[1]\n\xff\n{"path": "b.wav"}')
    assert rows(path) == [
        (1, {"path": "a.wav", "text": ""}),
        (3, "not JSON in UTF-8"),
        (4, "not a JSON object"),
        (5, "not JSON in UTF-8"),
        (6, {"path": "b.wav"}),
    ]


def test_tables_leave_out_empty_cells(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffpath,text,age\na.wav,"hello, you",\nb.wav,,7\nc.wav\n'.encode() + b"d\xff.wav,x,1\n")
    assert rows(path) == [
        (2, {"path": "a.wav", "text": "hello, you"}),
        (3, {"path": "b.wav", "age": "7"}),
        (4, "number of cells differs from that of the header"),
        (5, "not UTF-8"),
    ]


def test_tab_separated(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("path\ttext\na.wav\tone, two\n")
    assert rows(path) == [(2, {"path": "a.wav", "text": "one, two"})]


def test_unusable_lists_are_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("path,path\n")
    with pytest.raises(ValueError, match=r"a.csv:1: .*once"):
        rows(path)
    with pytest.raises(FileNotFoundError, match=r"b\.csv"):
        rows(tmp_path / "b.csv")
