import json

import pytest
import soundfile

from osum.bin.index import IndexConfig, main
from osum.data import licences
from osum.data.store.index import Index
from tests.data.foreign import speech, write_list, write_tar


@pytest.fixture
def argv(tmp_path, repo_root):
    """The command for a train split of two corpora and a test split, ten utterances in all; one has no audio."""
    (tmp_path / "a.wav").write_bytes(speech())
    tar = {}
    for i in range(6):
        tar |= {f"t{i}.txt": f"hello {i}", f"t{i}.wav": speech(seed=i)}
    rows = [{"key": f"r{i}", "wav": str(tmp_path / "a.wav"), "txt": "你好", "gender": "F"} for i in range(3)]
    rows.append({"key": "gone", "wav": "gone.wav", "txt": "hi"})
    sources = [
        {"corpus": "one", "format": "wenet_shard", "path": "one.list", "language": "en"},
        {"corpus": "two", "format": "wenet_raw", "path": "two.list", "language": "zh"},
        {"corpus": "one", "format": "wenet_shard", "path": "one.list", "split": "test"},
    ]
    write_list(tmp_path / "one.list", write_tar(tmp_path / "one.tar", tar))
    write_list(tmp_path / "two.list", *rows)
    for source in sources:
        source["path"] = str(tmp_path / source["path"])
    labels = repo_root / "local/labels"
    return ["--sources", json.dumps(sources), f"--out_dir={tmp_path / 'out'}", f"--labels_dir={labels}"]


def test_training_reads_what_it_writes(argv, tmp_path, bpe):
    from osum import tasks
    from osum.data.load.loader import PackDataset, TrainLoader
    from osum.data.plan import lengths
    from osum.data.plan.config import PlanConfig
    from osum.text.template import SulmTemplate

    main([*argv, "--max_defect_rate=0.1", "--num_procs=2"])
    index = Index.open(tmp_path / "out/train")
    assert index.header.corpora == ["one", "two"] and index.header.languages == ["en", "zh"] and len(index) == 9
    served, prompts, template = {"asr": tasks.get("asr")}, tasks.load_prompts(None, ["asr"]), SulmTemplate(bpe)
    table = lengths.build(index, served, prompts, template, tmp_path / "cache")
    cfg = PlanConfig(virtual_ranks=2, max_tokens=400)
    loader = TrainLoader(PackDataset(index, served, prompts, template), table, cfg, seed=0)
    step = next(loader.steps())
    keys = [key for batch in step.batches for key in batch.keys]
    assert sorted(keys) == [*(f"r{i}" for i in range(3)), *(f"t{i}" for i in range(6))]
    assert all(len(batch.audio) == 16_000 * len(batch.keys) for batch in step.batches)


def test_a_tokenizer_is_made_of_the_train_split_if_asked_for(argv, tmp_path):
    from osum.text import tokenizer
    from osum.text.units import CtcUnits

    main([*argv, "--max_defect_rate=0.1", "--tokenizer.vocab_size=300", "--tokenizer.max_time_s=0.1", "--tasks=[asr]"])
    made = tokenizer.load(tmp_path / "out/tokenizer")
    assert len(made) == 300 and made.decode(made.encode("hello 你好")) == "hello 你好"
    units = CtcUnits.load(tmp_path / "out/tokenizer/units.txt")
    assert len(units.encode("你好")) == 2


def test_drops_are_listed_and_too_many_stop(argv, tmp_path):
    with pytest.raises(ValueError, match=r"1 of 16 utterances are defective .*two\.list:4: gone"):
        main(argv)
    assert not (tmp_path / "out").exists()
    main([*argv, "--max_defect_rate=0.1"])
    ledger = json.loads((tmp_path / "out/drops.json").read_text())
    assert (ledger["read"], ledger["used"]) == (16, 15)
    assert ledger["dropped"]["audio file can't be opened (FileNotFoundError)"]["count"] == 1


def test_a_second_run_does_nothing_and_a_changed_list_counts(argv, tmp_path):
    argv = [*argv, "--max_defect_rate=0.1"]
    main(argv)
    made = (tmp_path / "out/train/index.npy").stat().st_mtime_ns
    main(argv)
    assert (tmp_path / "out/train/index.npy").stat().st_mtime_ns == made
    rows = (tmp_path / "two.list").read_text().splitlines()
    (tmp_path / "two.list").write_text("\n".join(rows[:2]))
    main(argv)
    assert len(Index.open(tmp_path / "out/train")) == 8


def test_audio_that_changed_after_indexing_is_named(argv, tmp_path):
    main([*argv, "--max_defect_rate=0.1"])
    soundfile.write(tmp_path / "a.wav", [0.0] * 500, 16_000)
    index = Index.open(tmp_path / "out/train")
    with pytest.raises(ValueError, match=r"a\.wav: r0: .* ends inside this member"):
        index.audio(index.find("r0"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": []}, "at least one"),
        ({"tasks": ["sing"]}, "unknown task 'sing'"),
        ({"max_defect_rate": 2.0}, "max_defect_rate is 2.0"),
        ({"num_procs": 0}, "num_procs is 0"),
    ],
)
def test_wrong_options_are_refused(tmp_path, options, message):
    from osum.data.sources.config import SourceConfig

    source = SourceConfig("c", "wenet_raw", tmp_path / "a.list")
    with pytest.raises(ValueError, match=message):
        IndexConfig(**{"sources": [source], "out_dir": tmp_path / "out", **options})


def test_a_missing_source_and_a_hostile_split_are_named(tmp_path, capsys):
    with pytest.raises(ValueError, match=r"gone\.list: no such file"):
        main(["--sources=[{corpus: c, format: wenet_raw, path: gone.list}]", f"--out_dir={tmp_path / 'out'}"])
    with pytest.raises(SystemExit):
        main(["--sources=[{corpus: c, format: wenet_raw, path: x, split: ../up}]", f"--out_dir={tmp_path / 'out'}"])
    assert "can't be the name of a folder" in capsys.readouterr().err


def test_a_source_may_serve_fewer_tasks_and_name_its_licence(argv, tmp_path):
    sources = json.loads(argv[1])
    sources[1] |= {"tasks": ["sgc"], "licence": "CC BY 4.0"}
    sources[0]["licence"], sources[2]["licence"] = "CC0", "MIT"
    main(["--sources", json.dumps(sources), *argv[2:], "--max_defect_rate=0.1", "--tasks=[asr,sgc]"])
    index = Index.open(tmp_path / "out/train")
    served = {u.corpus: u.tasks for u in map(index.utterance, range(len(index)))}
    assert served == {"one": ("asr",), "two": ("sgc",)}
    assert licences.read(tmp_path / "out", ["one", "two"]) == {"one": "CC0; MIT", "two": "CC BY 4.0"}
    sources[1]["tasks"] = ["srwt"]
    with pytest.raises(SystemExit):
        main(["--sources", json.dumps(sources), *argv[2:], "--tasks=[asr,sgc]"])
