import pytest
import torch

from osum.train.muon import Muon, orthogonalise


def test_singular_values_come_near_one_and_directions_stay():
    matrices = torch.randn(3, 16, 24, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    result = orthogonalise(matrices)
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    singular = u.mT @ result @ vt.mT
    diagonal = torch.diagonal(singular, dim1=1, dim2=2)
    assert diagonal.min() > 0.4 and diagonal.max() < 1.4
    torch.testing.assert_close(singular, torch.diag_embed(diagonal), atol=1e-9, rtol=0)


def test_a_tall_matrix_is_the_transpose_of_a_wide_one():
    wide = torch.randn(2, 8, 20, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(orthogonalise(wide.mT), orthogonalise(wide).mT)


def test_the_steps_are_those_of_torch_but_for_its_bfloat16():
    generator = torch.Generator().manual_seed(2)
    start = [torch.randn(shape, generator=generator) for shape in ((16, 16), (16, 16), (24, 16))]
    ours, theirs = ([torch.nn.Parameter(w.clone()) for w in start] for _ in range(2))
    groups = [{"params": ours[:2], "weight_decay": 0.01}, {"params": ours[2:], "weight_decay": 0.0}]
    their_groups = [{"params": theirs[:2], "weight_decay": 0.01}, {"params": theirs[2:], "weight_decay": 0.0}]
    optimizers = Muon(groups, lr=0.02), torch.optim.Muon(their_groups, lr=0.02, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        for parameters in zip(ours, theirs, strict=True):
            grad = torch.randn(parameters[0].shape, generator=generator)
            for p in parameters:
                p.grad = grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for w, p, q in zip(start, ours, theirs, strict=True):
        moved = (q - w).norm()
        assert moved > 0.1 and (p - q).norm() < 0.02 * moved  # bfloat16 has three digits


def test_without_gradient_nothing_moves():
    parameter = torch.nn.Parameter(torch.ones(4, 4))
    optimizer = Muon([{"params": [parameter]}], lr=0.1)
    optimizer.step()
    assert torch.equal(parameter, torch.ones(4, 4)) and not optimizer.state


def test_only_matrices_are_trained():
    with pytest.raises(ValueError, match=r"matrices.*\(4,\)"):
        Muon([{"params": [torch.nn.Parameter(torch.ones(4))]}], lr=0.1)
