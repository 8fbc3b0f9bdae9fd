import time

import numpy as np
import pytest

from osum import tasks
from osum.data.examples import Item, make_example
from osum.data.plan import lengths
from osum.data.processes import map_fresh
from osum.text.template import SulmTemplate, WhisperTemplate


@pytest.fixture
def index(make_index, toy):
    return make_index(toy(20))


def test_the_table_holds_the_lengths_of_the_sequences(index, task_objects, prompts, tokenizer):
    for template in (SulmTemplate(tokenizer), WhisperTemplate(tokenizer, {t: f"<{t}>" for t in task_objects})):
        table = lengths.build(index, task_objects, prompts, template)
        for row, t in np.argwhere(table.target_lens >= 0).tolist():
            prompt = row % 2
            example = make_example(index, Item(row, table.tasks[t], prompt), task_objects, prompts)
            found = table.positions(np.array([row]), np.array([t]), np.array([prompt]))
            assert found.tolist() == [len(template.encode(example).input_ids)]


def test_tasks_that_a_row_can_not_serve(index, task_objects, prompts, tokenizer):
    table = lengths.build(index, task_objects, prompts, SulmTemplate(tokenizer))
    emotion_known = [index.utterance(row).labels.get("emotion") is not None for row in range(20)]
    assert (table.target_lens[:, table.tasks.index("ser")] >= 0).tolist() == emotion_known
    assert (table.target_lens[:, table.tasks.index("sgc")] > 0).all()


def test_combined_and_tag_only_tasks_need_no_mention_in_the_shards(index, tokenizer):
    chosen = {name: tasks.get(name) for name in ("ser+sgc", "only:sgc")}
    prompts = {name: {"en": ("go",)} for name in chosen}
    table = lengths.build(index, chosen, prompts, SulmTemplate(tokenizer))
    assert (table.target_lens[:, 1] > 0).all()
    assert (table.target_lens[:, 0] > 0).sum() == 10


def test_the_table_is_read_back_and_named_by_what_it_holds(index, task_objects, prompts, tokenizer, tmp_path):
    template = SulmTemplate(tokenizer)
    first = np.array(lengths.build(index, task_objects, prompts, template, tmp_path / "cache").target_lens)
    (file,) = (tmp_path / "cache").iterdir()
    np.save(file, first + 1)
    second = lengths.build(index, task_objects, prompts, template, tmp_path / "cache")
    np.testing.assert_array_equal(second.target_lens, first + 1)
    lengths.build(index, {"asr": task_objects["asr"]}, prompts, template, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("num_procs", [1, 3])
def test_it_is_the_same_file_whoever_makes_it(
    index, task_objects, prompts, tokenizer, tmp_path, monkeypatch, num_procs
):
    template = SulmTemplate(tokenizer)
    rows = [lengths._row_targets(index, row, task_objects, template) for row in range(20)]
    np.save(tmp_path / "at_once.npy", np.array([[-1 if t is None else len(t) for t in of] for of in rows], np.int32))
    monkeypatch.setattr(lengths, "MADE_ROWS", 3)
    made = lengths.build(index, task_objects, prompts, template, tmp_path / "cache", num_procs)
    assert made.cache.read_bytes() == (tmp_path / "at_once.npy").read_bytes()
    assert isinstance(made.target_lens, np.memmap)


def test_one_of_several_processes_makes_it(index, task_objects, prompts, tokenizer, tmp_path, monkeypatch):
    template, write = SulmTemplate(tokenizer), lengths._write

    def slowly(*args):
        with open(tmp_path / "made", "a") as f:
            f.write("once\n")
        time.sleep(0.5)
        write(*args)

    def build(rank):
        return lengths.build(index, task_objects, prompts, template, tmp_path / "cache").target_lens.sum()

    monkeypatch.setattr(lengths, "_write", slowly)
    assert len(set(map_fresh(build, range(4), 4))) == 1
    assert (tmp_path / "made").read_text() == "once\n"
    assert len(list((tmp_path / "cache").iterdir())) == 1


@pytest.mark.parametrize("num_procs", [1, 2])
def test_a_table_that_is_not_finished_is_not_there(
    index, task_objects, prompts, tokenizer, tmp_path, monkeypatch, num_procs
):
    monkeypatch.setattr(lengths, "MADE_ROWS", 5)
    template, find = SulmTemplate(tokenizer), lengths._row_targets
    monkeypatch.setattr(lengths, "NUM_PROBES", 1)

    def failing(index, row, *more):
        if row == 12:
            raise OSError("the disk is away")
        return find(index, row, *more)

    monkeypatch.setattr(lengths, "_row_targets", failing)
    with pytest.raises(OSError, match="the disk is away"):
        lengths.build(index, task_objects, prompts, template, tmp_path / "cache", num_procs)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_folder_that_can_not_be_written_costs_only_time(index, task_objects, prompts, tokenizer, tmp_path):
    (tmp_path / "file").write_text("")
    table = lengths.build(index, task_objects, prompts, SulmTemplate(tokenizer), tmp_path / "file/cache")
    assert table.target_lens.shape == (20, 3)


def test_parts_are_read_from_mapped_files_as_from_memory(index, task_objects, prompts, tokenizer, tmp_path):
    template = SulmTemplate(tokenizer)
    made = lengths.build(index, task_objects, prompts, template, tmp_path)
    mapped = lengths.build(index, task_objects, prompts, template, tmp_path)
    assert isinstance(mapped.target_lens, np.memmap) and isinstance(mapped.rows, np.memmap)
    for _ in range(2):
        part = mapped.part([(3, 5), (11, 20)])
        assert part.target_lens.tolist() == made.target_lens[[3, 4, *range(11, 20)]].tolist()
        assert part.rows.tolist() == index.rows[[3, 4, *range(11, 20)]].tolist()
