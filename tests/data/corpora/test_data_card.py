"""The data card."""

from osum.data.corpora.data_card import DataCard
from osum.data.drops import Drops
from osum.types import Utterance


def test_card_counts_by_split_task_and_label() -> None:
    card = DataCard()
    card.add(
        "train", Utterance("a", "toy", "en", "x", 16000 * 1800, "s", labels={"age": "old"}, tasks=("asr", "sap")), "MIT"
    )
    card.add("train", Utterance("b", "toy", "en", "", 16000 * 1800, "s", labels={"age": "old"}, tasks=("sap",)))
    card.add("test", Utterance("c", "toy", "zh", None, 16000 * 3600, labels={"answer": "x"}))
    drops = Drops(read=4, used=3)
    drops.add("too | long", "d")
    lines = card.render(drops, {"toy": 2, "other": 0}).splitlines()
    for line in (
        "| train | 2 | 1.00 | 1 |",
        "| test | 1 | 1.00 | 0 |",
        "| toy | zh | test | 1 | 1.00 | 0 |",
        "| asr | train | 1 | 0.50 | 1 |",
        "| verified: no speech | 1 |",
        "| unknown | 1 |",
        "| old | 2 |",
        "| toy | MIT | 1 |",
        "| toy | 2 |",
        "4 read = 3 used + 1 dropped (ids in drops.json).",
        "| too / long | no | 1 |",
    ):
        assert line in lines, line
    assert not any("answer" in line for line in lines)
