import gzip
import json

import numpy as np
import pytest

from osum.data.corpora.cut_table import read_table
from osum.data.corpora.sharding import shuffled
from osum.data.store.index import key_hash


def write(path, rows):
    with gzip.open(path, "wt", encoding="utf-8") as f:
        f.writelines((row if isinstance(row, str) else json.dumps(row, ensure_ascii=False)) + "\n" for row in rows)
    return path


def row(key, corpus="toy", duration=1.0):
    return {"id": key, "duration": duration, "custom": {"corpus": corpus}, "text": "你好"}


def test_numbers_are_kept_and_lines_are_found_again(tmp_path):
    rows = [row("a", "z", 0.5), row("长", "m"), row("b", "z", 2.00003)]
    table = read_table(write(tmp_path / "a.jsonl.gz", rows), tmp_path / "copy")
    assert table.num_samples.tolist() == [8_000, 16_000, 32_000] and table.corpora.tolist() == [1, 0, 1]
    assert table.key_hashes.tolist() == [key_hash(key) for key in ("a", "长", "b")]
    assert [json.loads(line) for line in table.lines([2, 0, 1])] == [rows[2], rows[0], rows[1]]


def test_a_cut_takes_26_bytes(tmp_path):
    table = read_table(write(tmp_path / "a.jsonl.gz", [row(f"u{i}") for i in range(100)]), tmp_path / "copy")
    columns = [value for value in vars(table).values() if isinstance(value, np.ndarray)]
    assert sum(column.nbytes for column in columns) == 2_600


def test_the_order_knows_neither_lines_nor_other_corpora(tmp_path):
    rows = [row(f"{corpus}{i}", corpus) for corpus in "ba" for i in range(20)]
    keys = []
    for of in (rows, rows[::-1], rows[:20]):
        table = read_table(write(tmp_path / "a.jsonl.gz", of), tmp_path / "copy")
        keys.append([json.loads(line)["id"] for line in table.lines(shuffled(table))])
    assert keys[0] == keys[1] and [key[0] for key in keys[0]] == 20 * ["a"] + 20 * ["b"]
    assert keys[0][20:] == keys[2] != sorted(keys[2])


@pytest.mark.parametrize(
    "bad",
    [
        '{"id": "broken"',
        "[]",
        "null",
        '{"id": "u"}',
        '{"id": 5, "duration": 1.0, "custom": {"corpus": "c"}}',
        '{"id": "u", "duration": -1.0, "custom": {"corpus": "c"}}',
        '{"id": "u", "duration": Infinity, "custom": {"corpus": "c"}}',
        '{"id": "u", "duration": NaN, "custom": {"corpus": "c"}}',
        '{"id": "u", "duration": 1.0, "custom": null}',
        '{"id": "\\ud800", "duration": 1.0, "custom": {"corpus": "c"}}',
    ],
)
def test_a_line_that_is_no_cut_is_named(tmp_path, bad):
    path = write(tmp_path / "a.jsonl.gz", [row("a"), bad])
    with pytest.raises(ValueError, match=r"a\.jsonl\.gz:2: not a cut .*run the annotate stage again"):
        read_table(path, tmp_path / "copy")


def test_an_empty_manifest_is_an_empty_table(tmp_path):
    assert len(read_table(write(tmp_path / "a.jsonl.gz", []), tmp_path / "copy")) == 0
