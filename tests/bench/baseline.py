"""A training step that works as the original's does, on the weights of our own model.

Written from a description of the original. Features are made per utterance with a filterbank built each time and then
padded; encoder, adaptor and LLM run on padded batches with attention in plain matrix products; the encoder's layers
are recomputed in the backward pass; prompt, speech and target are padded each for itself and concatenated; logits are
computed at every position. Each of these can be switched to our way, which splits the gain.

Where the original's result depends on the batch (odd lengths in the encoder, positions that count padding) it follows
our result instead, at the same cost: otherwise the losses could not be compared.

B utterances, T padded length, D width, H heads, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from batching import PaddedBatch
from log_mel import log_mel
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout, gelu, pad, scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from osum.audio.frames import num_adaptor_frames, num_encoder_frames
from osum.model.adaptor import TransformerLayer
from osum.model.onednn import use_fastest_products
from osum.model.speech_llm import SpeechLLM
from osum.text.template import IGNORED


@dataclass(frozen=True)
class Ways:
    """What the baseline does as the original; False switches one thing to our way."""

    features_per_utterance: bool = True
    recompute_encoder: bool = True
    logits_everywhere: bool = True
    unfused_attention: bool = True
    torch_products: bool = True


STEPS = {"features": "features_per_utterance", "recomputation": "recompute_encoder"}
STEPS |= {"lm_head": "logits_everywhere", "attention": "unfused_attention", "products": "torch_products"}


def chain() -> dict[str, Ways]:
    """The baseline with one more thing switched each time; what our step still adds to the last is packing."""
    ways, found = Ways(), {}
    for name, field in STEPS.items():
        ways = replace(ways, **{field: False})
        found[name] = ways
    return found


class Baseline(nn.Module):
    """The padded forward pass over the weights of a SpeechLLM."""

    def __init__(self, model: SpeechLLM, ways: Ways) -> None:
        super().__init__()
        self.model = model
        self.ways = ways
        for config in (model.encoder.whisper.config, model.llm.config):
            config._attn_implementation = "eager" if ways.unfused_attention else "sdpa"
        if not ways.torch_products:
            use_fastest_products(model)

    def forward(self, batch: PaddedBatch) -> Tensor:
        """Return the negative log-likelihood summed over all target tokens, nats."""
        speech, speech_mask = self._adapt(*self._encode(*self._features(batch.audio)))
        embedded, mask, labels = self._concatenate(batch, speech, speech_mask)
        positions = (mask.cumsum(1) - 1).clamp_min(0)
        inputs = {"inputs_embeds": embedded, "attention_mask": mask, "position_ids": positions, "use_cache": False}
        if self.ways.logits_everywhere:
            logits = self.model.llm(**inputs).logits.float()[:, :-1].contiguous().flatten(0, 1)
            return cross_entropy(logits, labels[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum")
        at_target = labels[:, 1:] != IGNORED
        hidden = self.model.llm.model(**inputs).last_hidden_state[:, :-1][at_target]
        return cross_entropy(self.model.llm.lm_head(hidden).float(), labels[:, 1:][at_target], reduction="sum")

    def _features(self, audio: list[Tensor]) -> tuple[Tensor, Tensor]:
        """-> (B, n_mels, T) log-mel and its lengths."""
        if not self.ways.features_per_utterance:
            lens = torch.tensor([len(a) for a in audio], device=audio[0].device)
            return self.model.log_mel(torch.cat(audio), lens)
        mels = [log_mel(a, self.model.encoder.n_mels) for a in audio]
        return pad_sequence(mels, batch_first=True).transpose(1, 2), torch.tensor(list(map(len, mels))).to(
            audio[0].device
        )

    def _encode(self, mel: Tensor, mel_lens: Tensor) -> tuple[Tensor, Tensor]:
        """-> (B, T, D) frames at 50 Hz and their lengths."""
        whisper = self.model.encoder.whisper
        beyond = ~mask_of(mel_lens, mel.shape[2])[:, None]
        hidden = gelu(whisper.conv1(mel.masked_fill(beyond, 0.0)))
        hidden = gelu(whisper.conv2(hidden.masked_fill(beyond, 0.0))).transpose(1, 2)
        hidden = hidden + whisper.embed_positions.weight[: hidden.shape[1]]
        hidden = dropout(hidden, whisper.dropout, self.training)
        lens = num_encoder_frames(mel_lens)
        mask = additive(mask_of(lens, hidden.shape[1]))
        for layer in whisper.layers:
            if self.ways.recompute_encoder and self.training:
                hidden = checkpoint(layer, hidden, mask, use_reentrant=False)
            else:
                hidden = layer(hidden, mask)
        return whisper.layer_norm(hidden), lens

    def _adapt(self, frames: Tensor, lens: Tensor) -> tuple[Tensor, Tensor]:
        """-> (B, T, D) speech embeddings at 12.5 Hz and their mask."""
        adaptor = self.model.adaptor
        hidden = adaptor.embed(adaptor.convs(frames.transpose(1, 2)).transpose(1, 2))
        hidden = dropout(hidden * adaptor.scale + adaptor.positions[: hidden.shape[1]], adaptor.dropout, self.training)
        mask = mask_of(num_adaptor_frames(lens), hidden.shape[1])
        for layer in adaptor.layers:
            hidden = self._adaptor_layer(layer, hidden, additive(mask))
        return adaptor.proj(adaptor.norm(hidden)), mask

    def _adaptor_layer(self, layer: TransformerLayer, hidden: Tensor, mask: Tensor) -> Tensor:
        normed = layer.attn_norm(hidden)
        query, key, value = (
            proj(normed).unflatten(-1, (layer.num_heads, -1)).transpose(1, 2)
            for proj in (layer.q_proj, layer.k_proj, layer.v_proj)
        )
        attend = unfused_attention if self.ways.unfused_attention else scaled_dot_product_attention
        attended = layer.out_proj(attend(query, key, value, mask).transpose(1, 2).flatten(2))
        hidden = hidden + dropout(attended, layer.dropout, self.training)
        inner = dropout(layer.fc1(layer.ffn_norm(hidden)).relu(), layer.dropout, self.training)
        return hidden + dropout(layer.fc2(inner), layer.dropout, self.training)

    def _concatenate(self, batch: PaddedBatch, speech: Tensor, speech_mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[prompt, padded][begin][speech, padded][end][target, padded] -> (B, T, D), mask (B, T), labels (B, T)."""
        embed = self.model.llm.get_input_embeddings()
        begin, end = self.model.boundaries.weight.expand(len(speech), 2, -1).to(speech.dtype).split(1, dim=1)
        prompt_mask = mask_of(batch.prompt_lens, batch.prompts.shape[1])
        target_mask = mask_of(batch.target_lens, batch.targets.shape[1])
        one = torch.ones_like(prompt_mask[:, :1])
        parts = [embed(batch.prompts), begin, speech, end, embed(batch.targets.clamp_min(0))]
        mask = torch.cat([prompt_mask, one, speech_mask, one, target_mask], dim=1)
        labels = pad(batch.targets, (mask.shape[1] - batch.targets.shape[1], 0), value=IGNORED)
        return torch.cat([p.to(speech.dtype) for p in parts], dim=1), mask, labels


def mask_of(lens: Tensor, max_len: int) -> Tensor:
    """(B,) -> (B, T) bool, True on real positions."""
    return torch.arange(max_len, device=lens.device) < lens[:, None]


def additive(mask: Tensor) -> Tensor:
    """(B, T) bool -> (B, 1, T, T) float32: 0 where a key is real, the most negative number elsewhere."""
    lowest = torch.finfo(torch.float32).min
    added = torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, lowest)
    return added[:, None, None, :].expand(-1, 1, mask.shape[1], -1)


def unfused_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """(B, H, T, D) each with an additive mask -> (B, H, T, D), the (T, T) scores being tensors of their own."""
    scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
    return (scores + mask).softmax(-1) @ value
