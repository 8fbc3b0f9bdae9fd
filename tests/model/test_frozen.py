from dataclasses import replace

import pytest
import torch

from osum.model.frozen import graph_if, is_trained


@pytest.fixture
def model_with(sulm_record):
    """`model_with("^encoder")` -> a model in training mode, half of whose activations dropout removes."""

    def make(*freeze):
        encoder = replace(sulm_record.encoder, dropout=0.5)
        adaptor = replace(sulm_record.model.adaptor, dropout=0.5)
        model_cfg = replace(sulm_record.model, adaptor=adaptor, freeze=list(freeze))
        torch.manual_seed(5)
        return replace(sulm_record, encoder=encoder, model=model_cfg).build().train()

    return make


def recorded_parts(model, batch):
    """Names of the parts that recorded what they did for a backward pass."""
    found = set()
    for name in ("encoder", "adaptor", "llm.model"):
        note = lambda *_, name=name: found.add(name) if torch.is_grad_enabled() else None  # noqa: E731
        model.get_submodule(name).register_forward_pre_hook(note)
    model(batch)
    return found


def test_what_is_frozen_stays_in_evaluation_mode(model_with):
    model = model_with("^encoder")
    assert {name: part.training for name, part in model.named_children()} == {
        "log_mel": False, "encoder": False, "adaptor": True, "llm": True, "boundaries": True, "ctc_head": True,
    }  # fmt: skip
    assert not any(m.training for m in model.encoder.modules()) and all(m.training for m in model.adaptor.modules())
    assert not any(m.training for m in model.eval().modules())


def test_a_frozen_encoder_drops_nothing_and_records_nothing(model_with, collate):
    model, batch = model_with("^encoder", "^adaptor"), collate([0, 1])
    assert torch.equal(model(batch).nll, model(batch).nll)
    assert recorded_parts(model, batch) == {"llm.model"}
    trained = model_with()
    assert not torch.equal(trained(batch).nll, trained(batch).nll)
    assert recorded_parts(trained, batch) == {"encoder", "adaptor", "llm.model"}


def test_gradients_pass_through_frozen_parts_to_trained_ones(model_with, collate):
    model = model_with("^adaptor", "^llm", "^ctc_head")
    model(collate([0, 1])).weighted_nll.backward()
    assert model.encoder.whisper.conv1.weight.grad.any() and model.boundaries.weight.grad.any()
    assert not is_trained(model.adaptor) and all(p.grad is None for p in model.adaptor.parameters())


def test_a_graph_is_never_turned_on_again():
    with torch.no_grad(), graph_if(True):
        assert not torch.is_grad_enabled()
    with graph_if(False):
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
