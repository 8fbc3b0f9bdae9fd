import gzip
import json
import shutil

import pytest


@pytest.fixture
def stage(tmp_path):
    """Return a function that writes cuts as the annotate stage does and gives a config for the shard stage."""
    from osum.bin.shard import ShardConfig

    (tmp_path / "audio").mkdir()

    def make(cuts, **options):
        cuts_dir = tmp_path / "cuts"
        cuts_dir.mkdir(exist_ok=True)
        with gzip.open(cuts_dir / "train.jsonl.gz", "wt", encoding="utf-8") as f:
            f.writelines(json.dumps(c.to_dict(), ensure_ascii=False) + "\n" for c in cuts)
        (cuts_dir / ".done.json").write_text(json.dumps({"fingerprint": f"{len(cuts)}"}))
        return ShardConfig(**{"cuts_dir": cuts_dir, "out_dir": tmp_path / "shards", "shard_size": 4, **options})

    return make


@pytest.fixture
def cuts(tmp_path, stage):
    """Ten tones of 0.5 to 1.4 s."""
    from tests.bin.shard_stage import make_cut

    return [make_cut(tmp_path / "audio", f"toy/u{i}", seconds=0.5 + 0.1 * i) for i in range(10)]


@pytest.fixture
def undisturbed(stage, cuts, tmp_path):
    """Config of the stage, and what it writes at once: three tars."""
    from osum.bin.shard import shard
    from tests.bin.shard_stage import contents

    config = stage(cuts)
    shard(config)
    whole = contents(tmp_path / "shards")
    shutil.rmtree(tmp_path / "shards")
    return config, whole
