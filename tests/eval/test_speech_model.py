import subprocess
import sys
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

import osum
from osum.audio import io
from osum.eval.configs import DecodingConfig
from osum.eval.speech_model import SpeechModel
from osum.model.configs import LoraConfig
from osum.model.folder import save_sulm
from osum.types import Example

CFG = DecodingConfig(max_new_tokens=6)


def noise(seed, num_samples):
    return (0.1 * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


@pytest.fixture
def experiment(sulm, sulm_record, tokenizer_dir, tmp_path):
    save_sulm(tmp_path / "exp/sulm", sulm, sulm_record, tokenizer_dir)
    return tmp_path / "exp"


def test_load_gives_model_tokenizer_and_features(experiment, sulm, bpe, sulm_record):
    for folder in (experiment, experiment / "sulm", str(experiment)):
        loaded = osum.load(folder, device="cpu")
        assert not loaded.model.training and loaded.device == torch.device("cpu")
        assert loaded.tokenizer.get_vocab() == bpe.get_vocab() and loaded.prompts == sulm_record.prompts
        for ours, theirs in zip(loaded.model.parameters(), sulm.parameters(), strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    mel, lens = loaded.model.log_mel(torch.from_numpy(noise(0, 16_000)), torch.tensor([16_000]))
    assert mel.shape == (1, 80, 100) and lens.tolist() == [100]


@torch.no_grad()
def test_lora_is_merged_in_float32_and_the_texts_stay(sulm_record, bpe, tokenizer_dir, tmp_path):
    torch.manual_seed(5)
    record = replace(sulm_record, model=replace(sulm_record.model, lora=LoraConfig(rank=2, alpha=8)))
    model = record.build().eval()
    audio = [noise(1, 9_000), noise(2, 17_000)]
    without = SpeechModel(model, bpe, record.prompts).decode(*audio, cfg=CFG)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.normal_(std=0.2)
    save_sulm(tmp_path, model, record, tokenizer_dir)
    texts = SpeechModel(model, bpe, record.prompts).decode(*audio, cfg=CFG)
    merged, kept = (osum.load(tmp_path, "cpu", precision) for precision in ("float32", "bfloat16"))
    assert not any("lora" in name for name, _ in merged.model.named_parameters())
    assert any("lora" in name for name, _ in kept.model.named_parameters())
    assert merged.decode(*audio, cfg=CFG) == texts != without


def test_files_and_arrays_are_decoded_in_any_company(experiment, tmp_path):
    loaded = osum.load(experiment, device="cpu")
    short, long = noise(1, 9_000), io.load(io.encode(noise(2, 17_000), "wav"))[0]
    (tmp_path / "a.wav").write_bytes(io.encode(noise(2, 17_000), "wav"))
    texts = loaded.decode(short, tmp_path / "a.wav", long, task="sgc", language="zh", cfg=CFG)
    assert texts[1] == texts[2]
    assert texts == [loaded.decode(a, task="sgc", language="zh", cfg=CFG)[0] for a in (short, long, long)]
    prompt = loaded.prompts["sgc"]["zh"][0]
    assert texts[:1] == loaded.decode(short, task="asr", prompt=prompt, cfg=CFG), "only the prompt names the task"
    assert loaded.decode(task="asr") == []


def test_a_file_at_another_rate_is_resampled(experiment, tmp_path):
    loaded = osum.load(experiment, device="cpu")
    tone = np.sin(np.arange(8_000) * 0.1).astype(np.float32) / 2
    (tmp_path / "8k.wav").write_bytes(io.encode(tone, "wav", rate_hz=8_000))
    heard = io.resample(*io.load(tmp_path / "8k.wav"))
    assert len(heard) == 16_000
    assert loaded.decode(tmp_path / "8k.wav", cfg=CFG) == loaded.decode(heard, cfg=CFG)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros(399, dtype=np.float32), r"audio 0: 0.025 s .* cut or leave it out"),
        (np.zeros(480_001, dtype=np.float32), r"audio 0: 30.000 s .* cut or leave it out"),
        (np.zeros(16_000, dtype=np.int16), r"audio 0: int16 of shape \(16000,\)"),
        (np.zeros((16_000, 2), dtype=np.float32), r"shape \(16000, 2\); give one channel"),
        (np.full(16_000, np.nan), r"audio 0: NaN"),
        ("none.wav", r"none.wav: unreadable audio \(no such file\)"),
    ],
)
def test_audio_that_can_not_be_heard_is_named(sulm, bpe, sulm_record, audio, message):
    with pytest.raises(ValueError, match=message):
        SpeechModel(sulm, bpe, sulm_record.prompts).decode(audio)


def test_what_is_missing_is_named(experiment, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds neither model.yaml nor sulm/model.yaml"):
        osum.load(tmp_path)
    loaded = osum.load(experiment, device="cpu")
    with pytest.raises(ValueError, match="task 'ser' has no prompts"):
        loaded.decode(noise(0, 9_000), task="ser")
    with pytest.raises(ValueError, match=r"stop_tokens: \['<none>'\] are no tokens"):
        loaded.decode(noise(0, 9_000), cfg=DecodingConfig(stop_tokens=["<|im_end|>", "<none>"]))
    with pytest.raises(AttributeError, match="no attribute 'save'"):
        _ = osum.save


def test_stop_tokens_end_a_text_and_are_no_part_of_it(sulm, bpe, sulm_record):
    model, audio = SpeechModel(sulm, bpe, sulm_record.prompts), noise(3, 12_000)
    example = Example("u", "asr", "en", "do it", "", audio)
    ((_, free),) = model.write([[example]], CFG, lambda _: 6)
    token_id = free.ids[2]
    cfg = DecodingConfig(stop_tokens=bpe.convert_ids_to_tokens([token_id]))
    ((_, stopped),) = model.write([[example]], cfg, lambda _: 6)
    assert stopped.ids == free.ids[: free.ids.index(token_id)] and not stopped.truncated
    assert model.stop_ids(CFG) == {bpe.eos_token_id}


def test_the_audio_of_a_group_is_gone_before_the_next_is_drawn(sulm, bpe, sulm_record):
    model, alive, left = SpeechModel(sulm, bpe, sulm_record.prompts), weakref.WeakValueDictionary(), []

    def draw(group):
        left.append(len(alive))
        examples = [Example(f"{group}.{n}", "asr", "en", "do it", "", noise(n, 9_000)) for n in range(4)]
        alive.update({example.key: example.audio for example in examples})
        return examples

    cfg = DecodingConfig(max_new_tokens=3, batch_size=1)
    written = dict(model.write(map(draw, range(3)), cfg))
    assert sorted(written) == list(range(12)) and written[1] == written[5] == written[9]
    assert left[0] == 0 and max(left) <= cfg.batch_size + 1, "but for what is being written or read ahead"


def test_bfloat16_is_near_float32_in_any_company(sulm_record, bpe):
    # Keeps 8 bits of each number: embeddings of size 1 to 10 differ by some hundredths.
    audio = [noise(seed, num_samples) for seed, num_samples in enumerate((9_000, 17_000, 5_001))]
    embedded = {}
    for precision in ("float32", "bfloat16"):
        torch.manual_seed(5)
        model = SpeechModel(sulm_record.build(), bpe, sulm_record.prompts, precision=precision)
        embedded[precision] = torch.cat(model.embed(audio)).float()
        alone = torch.cat([model.embed([a])[0] for a in audio]).float()
        bound = {"float32": 1e-5, "bfloat16": 0.05}[precision] * float(alone.abs().max())
        torch.testing.assert_close(embedded[precision], alone, rtol=0, atol=bound)
        assert model.model.encoder.whisper.conv1.weight.dtype == getattr(torch, precision)
        assert model.model.log_mel.filters.dtype == model.model.adaptor.norm.weight.dtype == torch.float32
    scale = float(embedded["float32"].abs().max())
    torch.testing.assert_close(embedded["bfloat16"], embedded["float32"], rtol=0, atol=0.05 * scale)
    assert len(model.decode(*audio, cfg=CFG)) == 3


def test_osum_itself_is_light():
    code = "import sys, osum; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_readmes_example_runs(experiment, repo_root, tmp_path, monkeypatch, capsys):
    example = (repo_root / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    (tmp_path / "egs/osum/exp").mkdir(parents=True)
    experiment.rename(tmp_path / "egs/osum/exp/mini")
    for seed, name in enumerate(("first.wav", "second.wav")):
        (tmp_path / name).write_bytes(io.encode(noise(seed, 9_000), "wav"))
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert capsys.readouterr().out.count("transcript") == 2
