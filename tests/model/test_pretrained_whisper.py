"""A pretrained Whisper on real recordings: is the feature extraction right, and is the packed encoder theirs?

OSUM_WHISPER names a folder as for `run.sh --whisper`, OSUM_RAW_DIR one with asterisk_en.jsonl as for `--raw-dir`.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, WhisperFeatureExtractor, WhisperForConditionalGeneration

from osum.audio import io
from osum.audio.features import LogMel
from osum.metrics.wer import error_rate
from osum.model.build import build_encoder
from osum.model.configs import WhisperSizes

FOLDERS = {name: os.environ.get(name) for name in ("OSUM_WHISPER", "OSUM_RAW_DIR")}

pytestmark = pytest.mark.skipif(None in FOLDERS.values(), reason=f"{' and '.join(FOLDERS)} must name folders to read")


@pytest.fixture(scope="module")
def whisper() -> WhisperForConditionalGeneration:
    return WhisperForConditionalGeneration.from_pretrained(FOLDERS["OSUM_WHISPER"], dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def recordings() -> list[tuple[torch.Tensor, str]]:
    """Audio at 16 kHz and transcript of three announcements of 5 to 10 s."""
    raw_dir = Path(FOLDERS["OSUM_RAW_DIR"])
    rows = map(json.loads, (raw_dir / "asterisk_en.jsonl").read_text(encoding="utf-8").splitlines())
    chosen = [row for row in rows if 5 < row["duration"] < 10][:3]
    return [(torch.from_numpy(io.resample(*io.load(raw_dir / row["path"]))), row["text"]) for row in chosen]


@pytest.fixture(scope="module")
def padded(recordings) -> torch.Tensor:
    """(3, n_mels, 3000) as transformers has it."""
    extractor = WhisperFeatureExtractor.from_pretrained(FOLDERS["OSUM_WHISPER"])
    audio = [samples.numpy() for samples, _ in recordings]
    return extractor(audio, sampling_rate=16000, return_tensors="pt").input_features


@torch.no_grad()
def test_transformers_transcribes_the_recordings(whisper, recordings, padded):
    english = {"language": "en", "task": "transcribe"} if whisper.generation_config.is_multilingual else {}
    ids = whisper.generate(padded, **english)
    written = AutoTokenizer.from_pretrained(FOLDERS["OSUM_WHISPER"]).batch_decode(ids, skip_special_tokens=True)
    assert error_rate(zip((text for _, text in recordings), written, strict=True)) < 0.1


@torch.no_grad()
def test_the_packed_encoder_is_theirs_at_30_s(whisper, padded):
    encoder = build_encoder(WhisperSizes(path=FOLDERS["OSUM_WHISPER"])).eval()
    frames, packing = encoder(padded, torch.tensor(3 * [3000]))
    assert packing.lens.tolist() == 3 * [1500]
    theirs = whisper.model.encoder(padded).last_hidden_state
    torch.testing.assert_close(frames.view(3, 1500, -1), theirs, atol=1e-4, rtol=0)


def test_the_features_are_theirs_at_30_s(recordings, padded):
    audio_lens = torch.tensor([len(samples) for samples, _ in recordings])
    found, mel_lens = LogMel(padded.shape[1], pad_to_30s=True)(torch.cat([s for s, _ in recordings]), audio_lens)
    assert mel_lens.tolist() == 3 * [3000]
    torch.testing.assert_close(found, padded, atol=1e-4, rtol=0)
