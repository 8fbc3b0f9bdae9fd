import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from osum.model.onednn import OnednnLinear, use_onednn


@pytest.fixture
def layers():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 40), nn.Linear(40, 300, bias=False))


@pytest.mark.parametrize("shape", [(24,), (1, 24), (7, 24), (2, 3, 24), (0, 24)])
def test_the_product_is_the_same(layers, shape):
    hidden = torch.randn(shape)
    expected = linear(linear(hidden, layers[0].weight, layers[0].bias), layers[1].weight)
    use_onednn(layers)
    assert all(type(layer) is OnednnLinear for layer in layers)
    with torch.inference_mode():
        torch.testing.assert_close(layers(hidden), expected, rtol=0, atol=1e-5)
        strided = torch.randn(24, 5)
        torch.testing.assert_close(layers[0](strided.T), linear(strided.T, layers[0].weight, layers[0].bias))


def test_gradients_and_names_stay(layers):
    names = [name for name, _ in layers.named_parameters()]
    use_onednn(layers)
    layers(torch.ones(2, 24)).sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in layers.parameters())
    assert [name for name, _ in layers.named_parameters()] == names


def test_other_precisions_are_left_alone(layers):
    layers[0].bfloat16()
    use_onednn(layers)
    assert [type(layer) for layer in layers] == [nn.Linear, OnednnLinear]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert layers(torch.ones(2, 24)).dtype == torch.bfloat16
