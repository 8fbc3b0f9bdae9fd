import pytest

from osum.model.convert.whisper_names import openai_name, wenet_name

NAMES = {
    "encoder.conv2.bias": ("encoder.conv2.bias", "encoder.embed.conv.2.bias"),
    "encoder.embed_positions.weight": ("encoder.positional_embedding", "encoder.embed.pos_enc.pe"),
    "encoder.layers.3.self_attn.k_proj.weight": (
        "encoder.blocks.3.attn.key.weight",
        "encoder.encoders.3.self_attn.linear_k.weight",
    ),
    "encoder.layers.0.self_attn_layer_norm.bias": ("encoder.blocks.0.attn_ln.bias", "encoder.encoders.0.norm1.bias"),
    "encoder.layers.0.final_layer_norm.bias": ("encoder.blocks.0.mlp_ln.bias", "encoder.encoders.0.norm2.bias"),
    "encoder.layers.11.fc2.weight": ("encoder.blocks.11.mlp.2.weight", "encoder.encoders.11.feed_forward.w_2.weight"),
    "encoder.layer_norm.weight": ("encoder.ln_post.weight", "encoder.after_norm.weight"),
    "decoder.embed_tokens.weight": ("decoder.token_embedding.weight", "decoder.embed.0.weight"),
    "decoder.embed_positions.weight": ("decoder.positional_embedding", "decoder.embed.1.pe"),
    "decoder.layers.1.self_attn.out_proj.bias": (
        "decoder.blocks.1.attn.out.bias",
        "decoder.decoders.1.self_attn.linear_out.bias",
    ),
    "decoder.layers.1.encoder_attn.v_proj.bias": (
        "decoder.blocks.1.cross_attn.value.bias",
        "decoder.decoders.1.src_attn.linear_v.bias",
    ),
    "decoder.layers.1.encoder_attn_layer_norm.weight": (
        "decoder.blocks.1.cross_attn_ln.weight",
        "decoder.decoders.1.norm2.weight",
    ),
    "decoder.layers.1.final_layer_norm.weight": ("decoder.blocks.1.mlp_ln.weight", "decoder.decoders.1.norm3.weight"),
    "decoder.layer_norm.bias": ("decoder.ln.bias", "decoder.after_norm.bias"),
}


@pytest.mark.parametrize("name", NAMES)
def test_names_are_those_of_openai_and_wenet(name):
    assert (openai_name(name), wenet_name(name)) == NAMES[name]
