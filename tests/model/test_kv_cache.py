import pytest
import torch

from osum.model.kv_cache import GROWTH, KvCache
from osum.model.packing import Packing

HEADS, WIDTH = 2, 3


@pytest.fixture
def draw():
    generator = torch.Generator().manual_seed(0)
    return lambda *shape: torch.randn(*shape, generator=generator)


def filled(lens, draw):
    """A cache of two layers, and what each row of each layer holds: [keys, values], (G, length, D) each."""
    cache, rows = KvCache(Packing(torch.tensor(lens))), [[] for _ in lens]
    for layer in range(2):
        packed = [draw(1, HEADS, sum(lens), WIDTH) for _ in range(2)]
        assert all(back is given for back, given in zip(cache.update(*packed, layer), packed, strict=True))
        for row, kept in zip(rows, zip(*(x[0].split(lens, 1) for x in packed), strict=True), strict=True):
            row.append(list(kept))
    return cache, rows


def step(cache, rows, draw):
    """Append a column to all rows and compare everything that queries may see."""
    mask = cache.add_column()
    for layer in range(2):
        new = [draw(len(rows), HEADS, 1, WIDTH) for _ in range(2)]
        for number, row in enumerate(rows):
            row[layer] = [torch.cat([old, x[number]], 1) for old, x in zip(row[layer], new, strict=True)]
        seen = cache.update(*new, layer)
        longest = max(row[layer][0].shape[1] for row in rows)
        for number, row in enumerate(rows):
            for all_rows, wanted in zip(seen, row[layer], strict=True):
                assert all_rows.shape == (len(rows), HEADS, longest, WIDTH), "no column that nobody uses"
                start = longest - wanted.shape[1]
                assert torch.equal(all_rows[number, :, start:], wanted)
                assert all_rows[number, :, :start].isfinite().all()
                assert mask is None or mask[number, 0, 0].tolist() == [False] * start + [True] * wanted.shape[1]
        assert mask is not None or len({row[layer][0].shape[1] for row in rows}) == 1


def test_rows_keep_what_is_theirs_while_others_take_the_places_of_others(draw):
    cache, rows = filled([2, 4, 3], draw)
    for _ in range(3):
        step(cache, rows, draw)
    for place, lens, number in ((0, [4, 30], 1), (1, [5, 1], 1), (2, [2], 0), (0, [6, 7], 0)):
        other, theirs = filled(lens, draw)
        cache.put(place, other, number)
        rows[place] = theirs[number]
        for _ in range(GROWTH - 20):
            step(cache, rows, draw)


def test_rows_leave_and_change_their_order(draw):
    cache, rows = filled([9, 2, 4, 2], draw)
    step(cache, rows, draw)
    for order in ([3, 2, 1], [2, 0]):
        cache.select(torch.tensor(order))
        rows = [[list(layer) for layer in rows[place]] for place in order]
        for _ in range(GROWTH + 1):
            step(cache, rows, draw)


def test_what_is_not_finite_leaves_with_its_row(draw):
    cache, rows = filled([6, 3], draw)
    cache.add_column()
    for layer in range(2):
        new = torch.full((2, HEADS, 1, WIDTH), torch.nan)
        new[1] = 0.0
        cache.update(new, new, layer)
        rows[1][layer] = [torch.cat([old, new[1]], 1) for old in rows[1][layer]]
    other, theirs = filled([2], draw)
    cache.put(0, other, 0)
    step(cache, [theirs[0], rows[1]], draw)
