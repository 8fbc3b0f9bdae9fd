import pytest
import torch
from torch import nn

from osum.model.timeline import Timeline


def test_literal_gaps():
    axis = Timeline.of(torch.tensor([3, 2, 1]), gap=1, multiple=2)
    assert axis.real.tolist() == [True, True, True, False, True, True, False, False, True, False]
    assert axis.strided(2).real.tolist() == [True, True, True, False, True]
    spread = axis.spread(torch.arange(1.0, 7.0)[:, None])
    assert spread.tolist() == [[[1, 2, 3, 0, 4, 5, 0, 0, 6, 0]]]
    assert axis.gather(spread)[:, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert torch.equal(axis.clear(spread + 1), (spread + 1) * axis.real)


@pytest.mark.parametrize("gap,multiple", [(1, 2), (4, 4)])
def test_every_start_and_every_gap_is_as_asked(gap, multiple):
    lens = torch.arange(1, 20)
    real = Timeline.of(lens, gap, multiple).real.tolist()
    starts = [i for i, r in enumerate(real) if r and (i == 0 or not real[i - 1])]
    assert all(start % multiple == 0 for start in starts)
    ends = [*starts[1:], len(real)]
    assert [sum(real[a:b]) for a, b in zip(starts, ends, strict=True)] == lens.tolist()
    assert all(not any(real[b - gap : b]) for b in ends)


@torch.no_grad()
def test_a_strided_convolution_sees_one_utterance():
    conv, lens = nn.Conv1d(2, 3, kernel_size=3, stride=2, padding=1), [5, 4, 1, 8]
    packed = torch.randn(sum(lens), 2)
    axis = Timeline.of(torch.tensor(lens), gap=1, multiple=2)
    together = axis.strided(2).gather(conv(axis.spread(packed)))
    alone = torch.cat([conv(own.T[None])[0].T for own in packed.split(lens)])
    torch.testing.assert_close(together, alone)
