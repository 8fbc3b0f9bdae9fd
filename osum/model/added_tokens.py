"""Tokens that were added to a pretrained LLM: their rows are trained, also where its embeddings are frozen.

peft's trainable tokens do the same, but copy the whole table in each forward pass and take a gradient as large (1 GB
each for Qwen2-7B in bfloat16), and that of the head once more for every chunk of the loss. Here it is the rows alone.

Letters: V tokens, of which n were added; H width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear
from transformers import PreTrainedModel


class AddedEmbedding(nn.Module):
    """A frozen table of embeddings (V, H), with rows of their own for some tokens."""

    def __init__(self, base: nn.Module, token_ids: Tensor, rows: nn.Parameter) -> None:
        """`token_ids` (n,) in ascending order; `rows` (n, H) stand for those of the table."""
        super().__init__()
        self.base, self.rows = base, rows
        self.register_buffer("token_ids", token_ids, persistent=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        """(...) token ids -> (..., H)."""
        row = torch.searchsorted(self.token_ids, input_ids).clamp(max=len(self.token_ids) - 1)
        is_added = (self.token_ids[row] == input_ids)[..., None]
        embedded = self.base(input_ids)
        return torch.where(is_added, embedding(row, self.rows).to(embedded.dtype), embedded)


class AddedHead(nn.Module):
    """A frozen output layer H -> V, with rows of their own for some tokens."""

    def __init__(self, base: nn.Module, token_ids: Tensor, rows: nn.Parameter) -> None:
        """`token_ids` (n,); `rows` (n, H) stand for those of the layer."""
        super().__init__()
        self.base, self.rows = base, rows
        self.out_features = base.weight.shape[0]
        self.register_buffer("token_ids", token_ids, persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., H) -> logits (..., V)."""
        of_added = linear(hidden, self.rows.to(hidden.dtype))
        return self.base(hidden).index_copy_(-1, self.token_ids, of_added)


def make_room(llm: PreTrainedModel, vocab_size: int, token_ids: Sequence[int]) -> None:
    """Enlarge an LLM without enough spare rows for the added tokens.

    ValueError if the tokenizer has more tokens than the LLM although nothing was added.
    """
    num_rows = llm.get_input_embeddings().weight.shape[0]
    if vocab_size <= num_rows:
        return
    if not token_ids:
        raise ValueError(
            f"{llm.config.name_or_path}: {num_rows} embeddings, but the tokenizer has {vocab_size} tokens; "
            "give annotate the tokenizer of this language model"
        )
    llm.resize_token_embeddings(vocab_size, mean_resizing=False)


def train_rows(llm: PreTrainedModel, token_ids: Sequence[int]) -> None:
    """Give added tokens rows that are trained, in embeddings and output layer as far as these are frozen."""
    table, head = llm.get_input_embeddings(), llm.get_output_embeddings()
    ids = torch.tensor(sorted(token_ids), device=table.weight.device)
    of_table = _rows(table, ids)
    if not table.weight.requires_grad:
        llm.set_input_embeddings(AddedEmbedding(table, ids, of_table))
    if not head.weight.requires_grad:
        of_head = of_table if head.weight is table.weight else _rows(head, ids)
        llm.set_output_embeddings(AddedHead(head, ids, of_head))


def start_from_spelling(llm: PreTrainedModel, token_ids: Sequence[int], spelled: Sequence[Sequence[int]]) -> None:
    """Set the rows of added tokens to the mean of those of the tokens that used to write them."""
    for table in (llm.get_input_embeddings(), llm.get_output_embeddings()):
        weight = _base(table).weight
        values = torch.stack([weight[list(pieces)].float().mean(0) for pieces in spelled])
        _write(table, torch.tensor(list(token_ids), device=weight.device), values)


def put_rows_in(llm: PreTrainedModel) -> None:
    """Put plain embeddings and output layer back in place, with the trained rows written into them."""
    table, head = llm.get_input_embeddings(), llm.get_output_embeddings()
    for layer, put_back in ((table, llm.set_input_embeddings), (head, llm.set_output_embeddings)):
        if isinstance(layer, AddedEmbedding | AddedHead):
            _write(layer.base, layer.token_ids, layer.rows)
            put_back(layer.base)


def _rows(layer: nn.Module, token_ids: Tensor) -> nn.Parameter:
    return nn.Parameter(layer.weight.detach()[token_ids].float())


def _base(layer: nn.Module) -> nn.Module:
    return layer.base if isinstance(layer, AddedEmbedding | AddedHead) else layer


@torch.no_grad()
def _write(layer: nn.Module, token_ids: Tensor, values: Tensor) -> None:
    """Set the rows (n, H) of these tokens, in the layer's own rows if it has such."""
    if isinstance(layer, AddedEmbedding | AddedHead):
        layer.rows[torch.searchsorted(layer.token_ids, token_ids)] = values.to(layer.rows.dtype)
    else:
        layer.weight[token_ids] = values.to(layer.weight.dtype)
