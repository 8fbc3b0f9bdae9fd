import logging

import pytest
import yaml

from osum.bin import overfit


@pytest.fixture
def options(shards_dir, tokenizer_dir, tmp_path):
    """Of a tiny model on two tasks."""
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "num_heads": 2, "ffn_dim": 32, "dropout": 0.0}
    adaptor = {"num_layers": 1, "num_heads": 2, "ffn_dim": 32, "dropout": 0.0}
    llm = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "num_kv_heads": 1, "ffn_dim": 64, "init_std": 0.1}
    optim = {"lr": 0.003, "muon_lr": 0.01, "warmup_steps": 10, "schedule": "cosine"}
    path = tmp_path / "train_sulm.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "encoder": sizes,
                "model": {"adaptor": adaptor, "llm": llm},
                "data": {"tasks": ["asr", "sgc"], "plan": {"virtual_ranks": 2, "max_tokens": 300, "max_audio_s": 3.0}},
                "train": {"optim": optim},
            }
        )
    )
    return ["--config", str(path), "--shards_dir", str(shards_dir), "--tokenizer_dir", str(tokenizer_dir)]


def test_one_utterance_of_each_task_is_learnt_by_heart(options, monkeypatch, capsys):
    monkeypatch.setattr(logging.getLogger("osum"), "handlers", [])  # one that writes to an earlier test's stderr
    overfit.main([*options, "--max_steps", "120", "--check_every", "30"])
    assert "exact=2/2" in capsys.readouterr().err


def test_what_is_not_reproduced_is_an_error(options):
    with pytest.raises(ValueError, match=r"after 1 steps the targets of \['asr', 'sgc'\] are not reproduced"):
        overfit.main([*options, "--max_steps", "1"])


def test_steps_must_be_some(options, capsys):
    with pytest.raises(SystemExit):
        overfit.main([*options, "--check_every", "0"])
    assert "check_every is 0; it must be at least 1" in capsys.readouterr().err
