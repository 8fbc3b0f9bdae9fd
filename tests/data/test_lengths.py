import numpy as np
import pytest

from osum import tasks
from osum.data import lengths
from osum.data.examples import Item, make_example
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
    first = lengths.build(index, task_objects, prompts, template, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    np.save(file, first.target_lens + 1)
    second = lengths.build(index, task_objects, prompts, template, tmp_path / "cache")
    np.testing.assert_array_equal(second.target_lens, first.target_lens + 1)
    lengths.build(index, {"asr": task_objects["asr"]}, prompts, template, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2


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
