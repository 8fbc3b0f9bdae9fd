import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from osum.model import onednn
from osum.model.onednn import PLAIN, Avx2Linear, OnednnLinear, use_fastest_products, use_onednn


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


@pytest.mark.parametrize("rows", [15, 16, 64, 96, 97])
@torch.inference_mode()
def test_few_rows_are_multiplied_the_other_way_round_to_the_same_end(rows):
    torch.manual_seed(0)
    layer, hidden = nn.Linear(24, 300), torch.randn(rows, 1, 24)
    expected = layer(hidden)
    use_onednn(layer)
    found = layer(hidden)
    assert found.is_contiguous() and found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("rows", "large", "is_onednns"), [(1, 9e9, 1), (9, 9e9, 1), (10, 9e9, 0), (10, 9600, 1)])
def test_few_rows_and_large_products_without_gradient_are_onednns_where_there_is_avx2_only(
    layers, monkeypatch, rows, large, is_onednns
):
    hidden, multiplied = torch.randn(rows, 1, 24), []
    expected = layers(hidden)
    monkeypatch.setattr(onednn, "MANY", 9)
    monkeypatch.setattr(onednn, "LARGE", large)
    monkeypatch.setattr(onednn, "multiply", lambda *product: multiplied.append(product) or linear(*product))
    use_onednn(layers, Avx2Linear)
    torch.testing.assert_close(layers(hidden), expected)
    assert layers(hidden).requires_grad and not multiplied
    with torch.inference_mode():
        torch.testing.assert_close(layers(hidden), expected)
    assert len(multiplied) == 2 * is_onednns


@pytest.mark.parametrize(
    ("is_available", "is_faster", "layer"),
    [(True, True, OnednnLinear), (True, False, Avx2Linear), (False, False, nn.Linear)],
)
def test_a_model_gets_what_fits_the_processor(layers, monkeypatch, is_available, is_faster, layer):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: is_available)
    monkeypatch.setattr(onednn, "is_faster", lambda: is_faster)
    use_fastest_products(layers)
    assert {type(each) for each in layers} == {layer}


def test_what_a_layer_returns_can_be_changed_in_place(layers):
    use_onednn(layers)
    hidden = torch.randn(64, 24)
    for context in (torch.enable_grad(), torch.inference_mode()):
        with context:
            layers(hidden).index_copy_(-1, torch.tensor([3]), torch.zeros(64, 1))


@pytest.mark.parametrize("frozen", ["nothing", "hidden", "weights", "bias"])
def test_gradients_are_the_same(layers, frozen):
    hidden = torch.randn(2, 3, 24, requires_grad=frozen != "hidden")
    layers[0].weight.requires_grad_(frozen != "weights")
    layers[0].bias.requires_grad_(frozen != "bias")
    wanted = gradients(layers, hidden)
    use_onednn(layers)
    found = gradients(layers, hidden)
    assert found.keys() == wanted.keys() and len(found) == (3 if frozen != "nothing" else 4)
    for name, grad in found.items():
        torch.testing.assert_close(grad, wanted[name], rtol=0, atol=1e-4)


def gradients(layers, hidden):
    """By name, of what is trained, under an upstream gradient that is strided."""
    named = dict(layers.named_parameters()) | {"hidden": hidden}
    trained = {name: tensor for name, tensor in named.items() if tensor.requires_grad}
    found = layers(hidden).transpose(0, 2)
    weights = torch.linspace(-1, 1, found.numel()).view(found.shape)
    return dict(zip(trained, torch.autograd.grad((found * weights).sum(), list(trained.values())), strict=True))


def test_a_frozen_layer_keeps_no_activations(layers):
    use_onednn(layers.requires_grad_(False))
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        layers(torch.randn(5, 24, requires_grad=True))
    assert kept == [layer.weight.shape for layer in layers]


def test_names_stay(layers):
    names = [name for name, _ in layers.named_parameters()]
    use_onednn(layers)
    assert [name for name, _ in layers.named_parameters()] == names


def test_other_precisions_are_left_alone(layers):
    layers[0].bfloat16()
    use_onednn(layers)
    assert [type(layer) for layer in layers] == [nn.Linear, OnednnLinear]
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert layers(torch.ones(2, 24)).dtype == torch.bfloat16


@pytest.mark.parametrize("layer", PLAIN)
@pytest.mark.parametrize("trained", [True, False])
def test_a_compiler_is_left_to_choose_its_own_products(layers, layer, trained):
    use_onednn(layers, layer)
    hidden, graphs = torch.randn(5, 24), []
    compiled = torch.compile(layers, backend=lambda graph, _: graphs.append(graph) or graph.forward, fullgraph=True)
    with torch.set_grad_enabled(trained):
        torch.testing.assert_close(compiled(hidden), layers(hidden))
    assert graphs and "mkldnn" not in str(graphs[0].graph) and "autograd_function" not in str(graphs[0].graph)
