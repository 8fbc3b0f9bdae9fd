import numpy as np
import pytest

from osum.data.showing import file_name, spell
from osum.text.template import SulmTemplate
from osum.types import Example


@pytest.mark.parametrize(
    ("key", "name"), [("a/b.c", "a_b.c"), ("../../x", "_._.._x"), (".x", "_x"), ("你 好", "你_好"), ("/x", "_x")]
)
def test_a_file_name_can_not_leave_its_folder(key, name):
    assert file_name(key) == name
    assert len(file_name(300 * "k")) == 120


def test_what_the_model_is_fed_and_what_it_writes(tokenizer):
    example = Example("k", "asr", "en", "do", "hi", np.zeros(16_000, dtype=np.float32))
    # one second is 13 speech embeddings, with speech-begin and speech-end 15
    assert spell(example, SulmTemplate(tokenizer), chr) == "d o [speech x 15] => h i \x00"
