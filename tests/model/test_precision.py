import torch

from osum.model.precision import autocast, halve


def test_frozen_matrices_are_halved_and_the_rest_is_not(sulm):
    sulm.encoder.requires_grad_(False)
    halve(p for p in sulm.parameters() if not p.requires_grad)
    halved = {name for name, p in sulm.named_parameters() if p.dtype == torch.bfloat16}
    assert halved == {name for name, p in sulm.named_parameters() if name.startswith("encoder.") and p.ndim > 1}
    assert {p.dtype for name, p in sulm.named_parameters() if name not in halved} == {torch.float32}


def test_products_are_what_the_precision_says():
    a = torch.ones(2, 2)
    found = {}
    for precision in ("float32", "bfloat16"):
        with autocast(torch.device("cpu"), precision):
            found[precision] = (a @ a).dtype
    assert found == {"float32": torch.float32, "bfloat16": torch.bfloat16}
