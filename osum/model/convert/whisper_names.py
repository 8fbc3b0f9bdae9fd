"""What the tensors of Whisper are called by OpenAI and by WeNet, from their names in transformers' `WhisperModel`."""

from __future__ import annotations

import re

OPENAI = {
    "embed_tokens": "token_embedding",
    "embed_positions.weight": "positional_embedding",
    "layers": "blocks",
    "self_attn_layer_norm": "attn_ln",
    "encoder_attn_layer_norm": "cross_attn_ln",
    "final_layer_norm": "mlp_ln",
    "self_attn.q_proj": "attn.query",
    "self_attn.k_proj": "attn.key",
    "self_attn.v_proj": "attn.value",
    "self_attn.out_proj": "attn.out",
    "encoder_attn.q_proj": "cross_attn.query",
    "encoder_attn.k_proj": "cross_attn.key",
    "encoder_attn.v_proj": "cross_attn.value",
    "encoder_attn.out_proj": "cross_attn.out",
    "fc1": "mlp.0",
    "fc2": "mlp.2",
}
OPENAI_ENCODER = {**OPENAI, "layer_norm": "ln_post"}
OPENAI_DECODER = {**OPENAI, "layer_norm": "ln"}

WENET = {
    "layer_norm": "after_norm",
    "self_attn_layer_norm": "norm1",
    "self_attn.q_proj": "self_attn.linear_q",
    "self_attn.k_proj": "self_attn.linear_k",
    "self_attn.v_proj": "self_attn.linear_v",
    "self_attn.out_proj": "self_attn.linear_out",
    "fc1": "feed_forward.w_1",
    "fc2": "feed_forward.w_2",
}
WENET_ENCODER = {
    **WENET,
    "conv1": "embed.conv.0",
    "conv2": "embed.conv.2",
    "embed_positions.weight": "embed.pos_enc.pe",
    "layers": "encoders",
    "final_layer_norm": "norm2",
}
WENET_DECODER = {
    **WENET,
    "embed_tokens": "embed.0",
    "embed_positions.weight": "embed.1.pe",
    "layers": "decoders",
    "encoder_attn_layer_norm": "norm2",
    "final_layer_norm": "norm3",
    "encoder_attn.q_proj": "src_attn.linear_q",
    "encoder_attn.k_proj": "src_attn.linear_k",
    "encoder_attn.v_proj": "src_attn.linear_v",
    "encoder_attn.out_proj": "src_attn.linear_out",
}


def openai_name(name: str) -> str:
    """`encoder.layers.0.fc1.bias` -> `encoder.blocks.0.mlp.0.bias`."""
    return _renamed(name, OPENAI_ENCODER, OPENAI_DECODER)


def wenet_name(name: str) -> str:
    """`encoder.layers.0.fc1.bias` -> `encoder.encoders.0.feed_forward.w_1.bias`."""
    return _renamed(name, WENET_ENCODER, WENET_DECODER)


def _renamed(name: str, encoder: dict[str, str], decoder: dict[str, str]) -> str:
    side, _, rest = name.partition(".")
    table = {"encoder": encoder, "decoder": decoder}[side]
    if rest in table:
        return f"{side}.{table[rest]}"
    within = re.fullmatch(r"(?P<layer>layers\.\d+\.)?(?P<module>.+)\.(?P<kind>weight|bias)", rest)
    assert within, name
    layer = (within["layer"] or "").replace("layers", table["layers"])
    return f"{side}.{layer}{table.get(within['module'], within['module'])}.{within['kind']}"
