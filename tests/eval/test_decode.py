import shutil

import numpy as np
import pytest
import torch

from osum.data.drops import Drops
from osum.data.store.index import Index
from osum.data.store.storage import StalledError
from osum.eval.configs import DecodingConfig
from osum.eval.decode import Decoder
from osum.eval.requests import plain, swapped
from osum.eval.speech_model import SpeechModel


@pytest.fixture
def test_set(shards_dir):
    """Seven utterances."""
    return Index.open(shards_dir / "test")


@pytest.fixture
def damaged(shards_dir, tmp_path):
    """The same with the audio of row 2 overwritten."""
    shutil.copytree(shards_dir / "test", tmp_path / "test")
    index = Index.open(tmp_path / "test")
    with open(tmp_path / "test" / index.header.shards[int(index.rows[2]["shard"])], "r+b") as tar:
        tar.seek(int(index.rows[2]["audio_offset"]))
        tar.write(b"\0" * 2000)
    return index


@pytest.fixture
def speech_model(sulm, bpe, sulm_record):
    with torch.no_grad():
        sulm.adaptor.proj.weight.mul_(4)  # random models listen little
    return SpeechModel(sulm, bpe, sulm_record.prompts)


@pytest.fixture
def decode(speech_model):
    def decode(index, requests, drops=None, **options):
        cfg = DecodingConfig(**{"max_new_tokens": 6, "batch_size": 3} | options)
        return Decoder(speech_model, cfg).decode(index, requests, Drops() if drops is None else drops)

    return decode


def test_hypotheses_are_in_the_order_of_the_requests_and_complete(decode, test_set, sulm_record):
    drops = Drops()
    found = decode(test_set, plain([5, 0, 3, 6, 1], "sgc"), drops)
    assert [h.key for h in found] == [test_set.key(row) for row in (5, 0, 3, 6, 1)]
    assert all(h.audio_key == h.key and h.task == "sgc" and h.utterance.key == h.key for h in found)
    assert (drops.read, drops.used, drops.num_dropped) == (5, 5, 0)
    first = {language: prompts[0] for language, prompts in sulm_record.prompts["sgc"].items()}
    assert all(h.prompt == first[h.utterance.language] for h in found)
    assert all(h.num_tokens == 6 if h.truncated else h.num_tokens < 6 for h in found)


def test_neither_batches_nor_company_change_anything(decode, test_set):
    asr, sgc = plain(range(7), "asr"), plain(range(7), "sgc")
    other = swapped(range(7), "sgc", 1)
    together = decode(test_set, [*asr, *sgc, *other], batch_size=5)
    assert together == [*decode(test_set, asr, batch_size=1), *decode(test_set, sgc), *decode(test_set, other)]
    assert together == decode(test_set, [*asr, *sgc, *other], max_batch_audio_s=0.1)
    backwards = decode(test_set, [*asr, *sgc, *other][::-1], batch_size=64)
    assert together == backwards[::-1]


def test_each_audio_is_read_and_encoded_once_for_all_tasks(decode, test_set, speech_model, monkeypatch):
    read, encoded = [], []
    audio, embed = test_set.audio, speech_model.embed
    monkeypatch.setattr(test_set, "audio", lambda row: (read.append(row), audio(row))[1])
    monkeypatch.setattr(speech_model, "embed", lambda audio: (encoded.extend(map(len, audio)), embed(audio))[1])
    decode(test_set, [*plain(range(7), "asr"), *plain(range(7), "sgc"), *swapped(range(7), "sgc", 1)])
    assert sorted(read) == list(range(7))
    assert sorted(encoded) == sorted(test_set.rows["num_samples"].tolist())


def test_swapped_audio_is_anothers_and_heard(decode, test_set):
    own, other = decode(test_set, plain(range(7), "sgc")), decode(test_set, swapped(range(7), "sgc", 1))
    assert [h.key for h in other] == [h.key for h in own]
    assert all(h.audio_key != h.key for h in other)
    assert sorted(h.audio_key for h in other) == sorted(h.key for h in own)
    assert [h.utterance for h in other] == [h.utterance for h in own]
    assert [h.hypothesis for h in other] != [h.hypothesis for h in own]
    # What is written belongs to the audio: the same prompt with the audio of u is what u itself got.
    by_key = {h.key: h for h in own}
    same_prompt = [h for h in other if by_key[h.audio_key].prompt == h.prompt]
    assert same_prompt and all(h.hypothesis == by_key[h.audio_key].hypothesis for h in same_prompt)


def test_every_task_has_its_own_limit(decode, test_set):
    found = decode(
        test_set, [*plain(range(7), "asr"), *plain(range(7), "sgc")], task_max_new_tokens={"asr": 9}, batch_size=64
    )
    assert {(h.task, h.num_tokens) for h in found if h.truncated} == {("asr", 9), ("sgc", 6)}


def test_a_loop_is_marked_and_counted(decode, test_set):
    drops = Drops()
    found = decode(test_set, plain(range(7), "sgc"), drops, max_new_tokens=60, max_repeats=3)
    looped = [h.key for h in found if h.repeated]
    assert looped and not any(h.truncated for h in found if h.repeated)
    noted = drops.to_json()["notes"]["repeated"]
    assert noted["count"] == len(looped) and sorted(noted["ids"]) == sorted(looped)
    assert (drops.used, drops.num_dropped) == (7, 0)


def test_damaged_audio_is_dropped_wherever_it_is_heard(decode, damaged):
    drops, asked = Drops(), [*plain(range(7), "sgc"), *swapped(range(7), "sgc", 1)]
    found = decode(damaged, asked, drops)
    assert [h is None for h in found] == [request.audio_row == 2 for request in asked]
    assert (drops.read, drops.used) == (14, 12)
    reason = drops.reasons["corrupt"]
    hears_it = next(request.row for request in asked[7:] if request.audio_row == 2)
    assert reason.defect and sorted(reason.ids) == sorted([damaged.key(2), damaged.key(hears_it)])


@pytest.mark.parametrize("what", ["audio", "utterance"])
def test_a_read_that_stalls_is_dropped_and_counted(decode, test_set, monkeypatch, what):
    read = getattr(test_set, what)

    def stalling(row):
        if row == 2:
            raise StalledError("s3://bucket/a.tar: no answer in 4 attempts")
        return read(row)

    monkeypatch.setattr(test_set, what, stalling)
    drops = Drops()
    found = decode(test_set, plain(range(7), "sgc"), drops)
    assert [h is None for h in found] == [row == 2 for row in range(7)]
    assert {name: (r.ids, r.defect) for name, r in drops.reasons.items()} == {"stalled": ([test_set.key(2)], True)}


def test_audio_beyond_the_position_table_is_a_counted_filter(decode, test_set, monkeypatch):
    audio = test_set.audio
    monkeypatch.setattr(
        test_set, "audio", lambda row: np.zeros(480_001 if row == 4 else 399) if row > 3 else audio(row)
    )
    drops = Drops()
    found = decode(test_set, plain(range(7), "sgc"), drops)
    assert [h is None for h in found] == [False] * 4 + [True] * 3
    assert {name: (len(r.ids), r.defect) for name, r in drops.reasons.items()} == {
        "too_long": (1, False),
        "too_short": (2, False),
    }


def test_nothing_that_can_be_heard_gives_no_hypotheses(decode, test_set, monkeypatch):
    monkeypatch.setattr(test_set, "audio", lambda row: np.zeros(399, dtype=np.float32))
    assert decode(test_set, plain([0, 1], "sgc")) == [None, None]
