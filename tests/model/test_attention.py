from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.functional import scaled_dot_product_attention

from osum.model import attention
from osum.model.packing import Packing


def by_segment(query, key, value, queries, keys, is_causal):
    parts = zip(query.split(queries), key.split(keys), value.split(keys), strict=True)
    attended = (
        scaled_dot_product_attention(*(x.transpose(0, 1) for x in part), is_causal=is_causal, enable_gqa=True)
        for part in parts
    )
    return torch.cat([a.transpose(0, 1) for a in attended])


@pytest.mark.parametrize(
    ("queries", "keys", "is_causal"),
    [([3, 5, 1], [3, 5, 1], True), ([3, 5, 1], [3, 5, 1], False), ([4, 4], [4, 4], False), ([2, 6], [7, 3], False)],
    ids=["causal", "full", "equal lengths", "cross"],
)
def test_segments_see_themselves_only(queries, keys, is_causal):
    torch.manual_seed(0)
    query = torch.randn(sum(queries), 4, 8)
    key, value = torch.randn(2, sum(keys), 2, 8).unbind()
    packings = Packing(torch.tensor(queries)), Packing(torch.tensor(keys))
    expected = by_segment(query, key, value, queries, keys, is_causal)
    torch.testing.assert_close(attention.attend(query, key, value, *packings, is_causal=is_causal), expected)
    # What a GPU takes for float32 gives the same on a CPU.
    sdpa = partial(scaled_dot_product_attention, is_causal=is_causal, enable_gqa=True)
    padded = attention._padded(sdpa, query, key, value, *packings)
    torch.testing.assert_close(padded, expected)


def test_bounds_are_cumulative():
    bounds = Packing(torch.tensor([3, 5])).bounds
    assert bounds.dtype == torch.int32
    assert bounds.tolist() == [0, 3, 8]


def test_the_packed_kernel_of_gpus_takes_our_shapes():
    """Shapes only, on tensors without content: they need no GPU."""
    with FakeTensorMode():
        query, key = (torch.empty(8, heads, 64, device="cuda", dtype=torch.bfloat16) for heads in (4, 2))
        packing = Packing.__new__(Packing)
        packing.max_len, packing.bounds = 5, torch.empty(3, device="cuda", dtype=torch.int32)
        attended = attention._varlen(query, key, key, packing, packing, is_causal=True, scale=None)
        assert (attended.shape, attended.dtype) == (query.shape, torch.bfloat16)
