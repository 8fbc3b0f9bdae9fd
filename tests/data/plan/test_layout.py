from types import SimpleNamespace

import numpy as np
import pytest

from osum.data.plan.config import PlanConfig
from osum.data.plan.layout import Shape, draw_line, shape, visit_lens

CFG = PlanConfig(virtual_ranks=48, max_tokens=1000, max_audio_s=100.0, shuffle_block_shards=10)


def surveyed(num_runs=240, num_visits=1, variance=0.0, seed=0):
    """What the layout reads of a survey: two corpora, whose runs take and cost differently."""
    rng = np.random.default_rng(seed)
    corpora = np.repeat([0, 1], [num_runs // 4, num_runs - num_runs // 4])
    tokens = rng.uniform(9e4, 1.1e5, (num_runs, num_visits))
    samples = tokens * 16_000 * np.where(corpora, 0.05, 0.08)[:, None]
    sums = np.stack([tokens, samples, tokens + samples / 800])
    return SimpleNamespace(sums=sums, corpora=corpora, variances=np.array([variance, 0.0]), efficiency=1.0)


def cells(found):
    return [(w, lane) for w in range(found.num_windows) for lane in range(found.num_lanes)]


@pytest.mark.parametrize("found", [Shape(48, 7, 3, 513), Shape(7, 2, 3, 33), Shape(2, 1, 1, 5)])
def test_steps_and_shares_are_cut_without_a_gap(found):
    firsts = [found.first_step(w) for w in range(found.num_windows + 1)]
    assert firsts[0] == 0 and firsts[-1] == found.num_steps
    assert [found.window_of(s) for s in range(found.num_steps)] == [
        w for w in range(found.num_windows) for _ in range(firsts[w], firsts[w + 1])
    ]
    assert sum(found.ranks_in(lane) for lane in range(found.num_lanes)) == found.virtual_ranks
    shares = [found.share_before(w, lane) for w, lane in cells(found)] + [1.0]
    ends = [found.share_before(w, lane + 1) for w, lane in cells(found)]
    assert shares[0] == 0.0 and shares[1:] == ends
    for (w, lane), size in zip(cells(found), np.diff(shares), strict=True):
        packs = (firsts[w + 1] - firsts[w]) * found.ranks_in(lane)
        assert size == pytest.approx(packs / found.num_steps / found.virtual_ranks)


def test_the_shape_follows_the_corpus_and_leaves_room_for_chance():
    found = shape(surveyed(), CFG)
    assert (found.num_lanes, found.num_windows) == (3, 8)
    packs = visit_lens(surveyed(), CFG).sum()
    assert 1.0 <= found.num_steps * 48 / packs < 1.003
    # 24 cells of 1,000 packs: a deviation of 20,000 tokens in each, three and a half times, is 7 % of what they take.
    uneven = shape(surveyed(variance=24 * 20_000.0**2), CFG)
    assert uneven.num_steps / found.num_steps == pytest.approx(1.07, abs=0.01)
    assert shape(surveyed(num_runs=8), CFG).is_one_cell


def test_visits_lie_on_the_line_once_and_are_cut_at_the_same_place():
    found, survey = shape(surveyed(num_visits=2), CFG), surveyed(num_visits=2)
    line = draw_line(survey, CFG, found, seed=1, epoch=4)
    assert sorted(zip(line.runs.tolist(), line.copies.tolist(), strict=True)) == [
        (r, c) for r in range(240) for c in (0, 1)
    ]
    covered: dict[tuple[int, int], list[tuple[float, float]]] = {}
    for w, lane in cells(found):
        for part in line.parts(found.share_before(w, lane), found.share_before(w, lane + 1)):
            covered.setdefault((part.run, part.copy), []).append((part.lower, part.upper))
    assert len(covered) == 480
    for ranges in covered.values():
        assert [0.0, *(upper for _, upper in ranges)] == [*(lower for lower, _ in ranges), 1.0]


def test_every_window_and_lane_is_alike():
    survey = surveyed()
    found = shape(survey, CFG)
    line = draw_line(survey, CFG, found, seed=1, epoch=0)
    lens = visit_lens(survey, CFG)[:, 0]
    dearness = survey.sums[2][:, 0] / lens
    costs = []
    for w, lane in cells(found):
        parts = list(line.parts(found.share_before(w, lane), found.share_before(w, lane + 1)))
        taken = np.array([(p.upper - p.lower) * lens[p.run] for p in parts])
        assert len(parts) <= 10 + 3
        assert (taken[survey.corpora[[p.run for p in parts]] == 0].sum() / taken.sum()) == pytest.approx(0.25, abs=0.1)
        costs.append((taken * dearness[[p.run for p in parts]]).sum() / taken.sum())
    assert max(costs) / np.mean(costs) < 1.03


def test_the_line_is_another_in_another_epoch():
    survey, found = surveyed(), shape(surveyed(), CFG)
    lines = [draw_line(survey, CFG, found, seed=1, epoch=e).runs.tolist() for e in (0, 0, 1)]
    assert lines[0] == lines[1] != lines[2]
