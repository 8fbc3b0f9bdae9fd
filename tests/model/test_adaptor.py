import torch

from osum.model.adaptor import Adaptor, CausalConv, sinusoids
from osum.model.configs import AdaptorConfig
from osum.model.packing import Packing


def adaptor():
    torch.manual_seed(0)
    return Adaptor(16, 24, AdaptorConfig(num_layers=2, num_heads=2, ffn_dim=32)).eval()


@torch.no_grad()
def test_no_utterance_depends_on_its_batch():
    model, lens = adaptor(), [30, 17, 50, 1]
    frames = torch.randn(sum(lens), 16)
    together, packing = model(frames, Packing(torch.tensor(lens)))
    assert packing.lens.tolist() == [8, 5, 13, 1] and together.shape == (27, 24)
    for own, embeds in zip(frames.split(lens), together.split(packing.lens.tolist()), strict=True):
        torch.testing.assert_close(embeds, model(own, Packing(torch.tensor([len(own)])))[0], atol=1e-5, rtol=0)


@torch.no_grad()
def test_convolutions_see_the_past_only():
    conv, hidden = CausalConv(4, stride=2), torch.randn(1, 4, 9)
    changed = hidden.clone()
    changed[:, :, 5:] += 1
    before, after = conv(hidden), conv(changed)
    assert before.shape == (1, 4, 5)
    assert torch.equal(before[:, :, :3], after[:, :, :3]) and not torch.equal(before[:, :, 3], after[:, :, 3])


def test_positions_alternate_sine_and_cosine():
    table = sinusoids(3, 4)
    angles = torch.tensor([[0.0, 0.0], [1.0, 0.01], [2.0, 0.02]])
    torch.testing.assert_close(table[:, 0::2], angles.sin())
    torch.testing.assert_close(table[:, 1::2], angles.cos())


def test_the_size_at_the_papers_widths():
    model = Adaptor(1024, 3584, AdaptorConfig())
    assert sum(p.numel() for p in model.parameters()) == 51_963_392
