import math
from dataclasses import replace

import torch
from torch import nn

from osum.model.losses import ctc_sum, token_loss
from osum.model.packing import Packing


def literal_loss(collate, weights):
    labels = torch.tensor([-100, 1, 0, -100, 1])
    batch = replace(collate([0]), labels=labels, weights=weights)
    logits = torch.tensor([[9.0, 9.0], [0.0, math.log(3.0)], [0.0, math.log(3.0)], [9.0, 9.0], [0.0, 0.0]])
    return token_loss(logits, nn.Identity(), batch, Packing(torch.tensor([3, 2])))


def test_token_loss_literal(collate):
    labels, weights = torch.tensor([-100, 1, 0, -100, 1]), torch.tensor([9.0, 1.0, 3.0, 9.0, 1.0])
    batch = replace(collate([0]), labels=labels, weights=weights)
    logits = torch.tensor([[9.0, 9.0], [0.0, math.log(3.0)], [0.0, math.log(3.0)], [9.0, 9.0], [0.0, 0.0]])
    loss = token_loss(logits, nn.Identity(), batch, Packing(torch.tensor([3, 2])))
    torch.testing.assert_close(loss.nll, torch.tensor([math.log(4 / 3) + math.log(4), math.log(2)]))
    torch.testing.assert_close(loss.weighted_nll, torch.tensor(math.log(4 / 3) + 3 * math.log(4) + math.log(2)))
    assert loss.num_tokens.tolist() == [2, 1] and loss.num_correct.tolist() == [1, 0] and loss.ctc == 0
    unweighted = token_loss(logits, nn.Identity(), replace(batch, weights=None), Packing(torch.tensor([3, 2])))
    torch.testing.assert_close(unweighted.weighted_nll, loss.nll.sum())


def uniform_ctc(collate, labels, lens, num_frames):
    batch = replace(collate([0]), ctc_labels=torch.tensor(labels), ctc_lens=torch.tensor(lens))
    logits = torch.zeros(sum(num_frames), 3, requires_grad=True)
    loss = ctc_sum(logits, Packing(torch.tensor(num_frames)), batch)
    loss.backward()
    return loss.detach(), logits.grad


def test_ctc_literal(collate):
    # Of 3^2 paths over two frames "1" is spelt by 11, 1-, -1.
    loss, _ = uniform_ctc(collate, [1], [1], [2])
    torch.testing.assert_close(loss, torch.tensor(math.log(9 / 3)))


def test_ctc_leaves_out_what_has_no_units_or_too_few_frames(collate):
    loss, grad = uniform_ctc(collate, [1, 1, 1, 2], [0, 1, 3], [3, 2, 2])
    torch.testing.assert_close(loss, torch.tensor(math.log(3.0)))
    assert not grad[:3].any() and grad[3:5].any() and not grad[5:].any()


def test_without_ctc_labels_there_is_no_ctc_loss(collate):
    batch = replace(collate([0]), ctc_labels=None, ctc_lens=None)
    assert ctc_sum(torch.ones(2, 3), Packing(torch.tensor([2])), batch) == 0
