import math

import pytest
import torch
from torch import nn

from osum.train.configs import OptimConfig
from osum.train.optim import Optimizer, lr_share


def groups(model, **options):
    parts = Optimizer(model, OptimConfig(**options))._parts
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    return parts, names


def test_inverse_sqrt_literal():
    cfg = OptimConfig(warmup_steps=4, schedule="inverse_sqrt")
    assert [lr_share(s, 100, cfg) for s in (0, 1, 2, 3)] == [0.25, 0.5, 0.75, 1.0]
    assert lr_share(15, 100, cfg) == 0.5 and lr_share(63, 100, cfg) == 0.25


def test_cosine_literal():
    cfg = OptimConfig(warmup_steps=2, schedule="cosine", final_lr_share=0.1)
    assert [round(lr_share(s, 12, cfg), 6) for s in (0, 1, 6, 11)] == [0.5, 1.0, 0.55, 0.1]
    assert lr_share(50, 12, cfg) == pytest.approx(0.1)


def test_adamw_literal():
    layer = nn.Linear(1, 1)
    optimizer = Optimizer(layer, OptimConfig(lr=0.1, weight_decay=0.5, warmup_steps=1))
    with torch.no_grad():
        layer.weight.fill_(2.0), layer.bias.fill_(2.0)
    (layer.weight + layer.bias).sum().backward()
    optimizer.step(0.5)
    # The first Adam step is lr * sign(gradient); decay is decoupled, and biases have none.
    assert layer.weight.item() == pytest.approx(2.0 * (1 - 0.05 * 0.5) - 0.05, abs=1e-6)
    assert layer.bias.item() == pytest.approx(2.0 - 0.05, abs=1e-6)
    assert layer.weight.grad is None


def test_eps_bounds_the_step_of_a_small_gradient():
    layer = nn.Linear(1, 1, bias=False)
    optimizer = Optimizer(layer, OptimConfig(lr=0.1, weight_decay=0.0, eps=1.0))
    before = layer.weight.item()
    (layer.weight * 0.25).sum().backward()
    optimizer.step(1.0)
    assert layer.weight.item() == pytest.approx(before - 0.1 * 0.25 / (0.25 + 1.0), abs=1e-6)


def test_muon_gets_the_matrices_between_hidden_states_and_nothing_else(sulm):
    optimizer = Optimizer(sulm, OptimConfig(muon_lr=0.1))
    names = {id(p): n for n, p in sulm.named_parameters()}
    adamw, muon = ({names[id(p)] for group in part.param_groups for p in group["params"]} for part in optimizer._parts)
    assert adamw | muon == {n for n, p in sulm.named_parameters() if p.requires_grad} and not adamw & muon
    assert {"llm.model.layers.0.self_attn.q_proj.weight", "adaptor.proj.weight"} <= muon
    assert {"encoder.whisper.layers.0.fc1.weight", "adaptor.layers.0.q_proj.weight"} <= muon
    assert {"llm.model.embed_tokens.weight", "boundaries.weight", "ctc_head.weight", "llm.model.norm.weight"} <= adamw
    assert {"encoder.whisper.conv1.weight", "adaptor.convs.0.conv.weight"} <= adamw  # three axes
    assert all(dict(sulm.named_parameters())[n].ndim == 2 for n in muon)


def test_without_muon_all_is_adamw(sulm):
    parts, names = groups(sulm)
    assert len(parts) == 1 and sum(len(g["params"]) for g in parts[0].param_groups) == len(names)


def test_frozen_parameters_are_not_optimised(sulm):
    sulm.encoder.requires_grad_(False)
    parts, names = groups(sulm)
    assert sum(len(g["params"]) for g in parts[0].param_groups) == len(names)


def test_learning_rates_scale_by_name(sulm):
    cfg = OptimConfig(lr=0.1, lr_scales={r"^encoder\.": 0.25, "norm": 9.0}, warmup_steps=1)
    optimizer = Optimizer(sulm, cfg)
    names = {id(p): n for n, p in sulm.named_parameters()}
    optimizer.step(0.5)
    for group in optimizer._parts[0].param_groups:
        for name in (names[id(p)] for p in group["params"]):
            wanted = 0.0125 if name.startswith("encoder.") else 0.45 if "norm" in name else 0.05
            assert math.isclose(group["lr"], wanted), name  # the first pattern that matches counts


def test_a_scale_without_a_match_is_an_error_with_near_names(sulm):
    with pytest.raises(ValueError, match=r"lr_scales: nothing is left for \['adapter.proj'\].*adaptor.proj"):
        Optimizer(sulm, OptimConfig(lr_scales={"adapter.proj": 0.1}))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_what_is_trained_must_be_float32(dtype):
    with pytest.raises(ValueError, match="must be float32; weight is not"):
        Optimizer(nn.Linear(2, 2).to(dtype), OptimConfig())


def test_the_state_of_a_parameter_goes_by_its_name():
    layer, other = nn.Linear(2, 1), nn.Linear(2, 1)
    optimizer = Optimizer(layer, OptimConfig(lr=0.1))
    assert optimizer.state() == {}
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step(1.0)
    state = optimizer.state()
    assert {n: v.tolist() for n, v in state.items() if n.startswith("bias/")} == {
        "bias/step": 1.0, "bias/exp_avg": [pytest.approx(0.1)], "bias/exp_avg_sq": [pytest.approx(0.01)],
    }  # fmt: skip
    other_optimizer = Optimizer(other, OptimConfig(lr=0.1))
    other_optimizer.load_state(state)
    assert other_optimizer.state().keys() == state.keys()


def test_a_state_of_other_optimizers_or_parameters_is_refused(sulm):
    state = {"adaptor.proj.weight/momentum_buffer": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"keep optim.muon_lr"):
        Optimizer(sulm, OptimConfig()).load_state(state)
    sulm.adaptor.requires_grad_(False)
    with pytest.raises(ValueError, match=r"state of adaptor.proj.weight, which is not trained"):
        Optimizer(sulm, OptimConfig(muon_lr=0.1)).load_state(state)


@pytest.mark.parametrize("name", ["lr", "muon_lr", "max_grad_norm", "warmup_steps"])
def test_options_must_be_positive(name):
    with pytest.raises(ValueError, match=f"optim.{name} is -1; it must be positive"):
        OptimConfig(**{name: -1})
