import torch

from osum.model.packing import Packing


def test_literal_places():
    packing = Packing(torch.tensor([2, 3, 1]))
    assert packing.positions.tolist() == [0, 1, 0, 1, 2, 0]
    assert packing.segment_ids.tolist() == [0, 0, 1, 1, 1, 2]
    padded = packing.pad(torch.arange(1, 7))
    assert padded.tolist() == [[1, 2, 0], [3, 4, 5], [6, 0, 0]]
    assert packing.mask.tolist() == (padded != 0).tolist()


def test_pack_undoes_pad_for_any_lengths():
    for lens in ([4], [3, 3], [1, 5, 2]):
        packing = Packing(torch.tensor(lens))
        packed = torch.randn(sum(lens), 2, 3)
        assert torch.equal(packing.pack(packing.pad(packed)), packed)
        assert packing.is_full == (len(set(lens)) == 1)
