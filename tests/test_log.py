"""One event a line, errors as one line with a place, progress bars left whole."""

import io
import logging
import re

import pytest
from tqdm import tqdm

from osum import log


@pytest.fixture
def osum_logger():
    logger = logging.getLogger("osum")
    saved = (list(logger.handlers), logger.level, logger.propagate)
    logger.handlers = []
    yield logger
    logger.handlers, logger.propagate = saved[0], saved[2]
    logger.setLevel(saved[1])


def test_a_record_is_one_line_with_time_and_level(osum_logger, capsys):
    log.setup()
    log.setup()
    log.get("osum.data").info("data skip cut=%s reason=%s", "a", "too_long")
    line = capsys.readouterr().err
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO data skip cut=a reason=too_long\n", line)


def test_other_ranks_report_errors_only(osum_logger, capsys):
    log.setup(rank=1)
    log.get("train").info("step")
    log.get("train").error("lost")
    assert capsys.readouterr().err.endswith("ERROR lost\n")
    assert osum_logger.level == logging.ERROR


@pytest.mark.parametrize(
    "error", [ValueError("x.json:3: no key;\nadd one"), FileNotFoundError("x.json:3: no key; add one")]
)
def test_a_mistake_of_the_user_becomes_one_line_and_status_1(osum_logger, capsys, error):
    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        log.run_main(main)
    assert caught.value.code == 1
    assert re.search(r"ERROR x\.json:3: no key; add one \[test_log\.py:\d+\]\n$", capsys.readouterr().err)


def test_a_bug_of_ours_keeps_its_traceback(osum_logger):
    with pytest.raises(AssertionError):
        log.run_main(lambda: (_ for _ in ()).throw(AssertionError("invariant")))


def test_a_line_does_not_end_up_inside_a_progress_bar():
    stream = io.StringIO()
    handler = log.BarFriendlyHandler(stream)
    bar = tqdm(total=2, file=stream, desc="bar", mininterval=0)
    bar.update()
    handler.emit(logging.LogRecord("osum", logging.INFO, "", 0, "event", None, None))
    bar.close()
    printed = [line.rsplit("\r", 1)[-1] for line in stream.getvalue().split("\n")]
    assert printed[0] == "event"
    assert printed[1].startswith("bar:")


@pytest.mark.parametrize(("rank", "shown"), [(0, "work: 100%"), (1, "")])
def test_the_main_rank_shows_progress(rank, shown, capsys):
    assert list(log.progress(range(3), desc="work", unit="utt", rank=rank)) == [0, 1, 2]
    printed = capsys.readouterr().err
    assert shown in printed and (rank == 0 or printed == "")
