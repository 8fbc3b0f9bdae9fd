import pytest

from osum.model.convert.original_prompts import read_original_prompts


def read(folder, text):
    (folder / "prompts.yaml").write_text(text, encoding="utf-8")
    return read_original_prompts(folder / "prompts.yaml")


def test_tags_become_tasks_and_sentences_keep_their_order(tmp_path):
    text = """\
<TRANSCRIBE>:
  - 写下来。
  - write it down
  - 请写。
<TRANSCRIBE> <ALIGN>: [时间]
<TRANSCRIBE> <S2TCHAT>: [聊天]
<TRANSCRIBE> <CAPTION>: [事件]
<TRANSCRIBE> <EMOTION>: [情感]
<TRANSCRIBE> <STYLE> <AGE> <GENDER>: [三个]
<AGE> <GENDER>: [两个]
"""
    assert read(tmp_path, text) == {
        "asr": {"zh": ["写下来。", "请写。"], "en": ["write it down"]},
        "srwt": {"zh": ["时间"]},
        "sttc": {"zh": ["聊天"]},
        "ved": {"zh": ["事件"]},
        "ser": {"zh": ["情感"]},
        "ssr+sap+sgc": {"zh": ["三个"]},
        "only:sap+sgc": {"zh": ["两个"]},
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<SOT>: [x]", r"prompts.yaml: the tag '<SOT>' is not made of <TRANSCRIBE>, <ALIGN>"),
        ("transcribe: [x]", "the tag 'transcribe' is not made of"),
        ("<TRANSCRIBE>: []", "<TRANSCRIBE> must have a list of sentences"),
        ("<TRANSCRIBE>: [x, '']", "<TRANSCRIBE> must have a list of sentences"),
        ("<TRANSCRIBE> <ALIGN> <AGE>: [x]", "<TRANSCRIBE> <ALIGN> <AGE>: .*only different ones of"),
        ("[x]", "expected keys and values"),
    ],
)
def test_what_is_no_prompt_file_is_named(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)
