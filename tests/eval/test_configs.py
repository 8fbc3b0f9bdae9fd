import pytest
import yaml

from osum import config
from osum.bin.decode import DecodeConfig
from osum.eval.configs import DecodingConfig

FOLDERS = ["--model_dir", "m", "--shards_dir", "s", "--out_dir", "o"]


def test_a_task_has_the_common_limit_unless_it_has_its_own(tmp_path):
    (tmp_path / "decode.yaml").write_text(yaml.safe_dump({"max_new_tokens": 60, "task_max_new_tokens": {"srwt": 400}}))
    cfg = config.load(
        DecodeConfig, ["--config", str(tmp_path / "decode.yaml"), *FOLDERS, "--stop_tokens", "[<|im_end|>]"]
    )
    assert (cfg.limit("srwt"), cfg.limit("asr"), cfg.stop_tokens) == (400, 60, ["<|im_end|>"])
    assert config.load(DecodeConfig, [*FOLDERS, "--task_max_new_tokens", "{ser: 9}"]).limit("ser") == 9
    assert DecodingConfig().limit("ser") == 200


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 0}, "num_beams is 0; it must be at least 1"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"task_max_new_tokens": {"ser": 0}}, r"task_max_new_tokens of \['ser'\] must be at least 1"),
        ({"max_repeats": 1}, r"max_repeats is 1; it must be 0 \(off\) or at least 2"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"max_batch_audio_s": 0.0}, "max_batch_audio_s is 0.0; it must be positive"),
    ],
)
def test_what_can_not_be_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DecodingConfig(**options)
