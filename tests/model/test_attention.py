import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from osum.model.attention import attend
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
    together = attend(query, key, value, *packings, is_causal=is_causal)
    torch.testing.assert_close(together, by_segment(query, key, value, queries, keys, is_causal))
