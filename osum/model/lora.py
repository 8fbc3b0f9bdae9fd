"""Low-rank adaptation of the language model (arXiv 2106.09685) by peft: put in, and taken out again.

Importing peft takes as long as all the rest, and a small model has no LoRA: hence the imports on use.
"""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from osum.model.configs import LoraConfig
from osum.near import near_names


def add_lora(llm: PreTrainedModel, cfg: LoraConfig) -> PreTrainedModel:
    """Return the LLM with adapters, which change nothing yet. ValueError if a target names no linear layer of it."""
    import peft

    layers = [f".{name}" for name, module in llm.named_modules() if isinstance(module, nn.Linear)]
    # peft refuses only if none of the targets is found.
    if missing := [target for target in cfg.targets if not any(name.endswith(f".{target}") for name in layers)]:
        names = sorted({name.rsplit(".", 1)[-1] for name in layers})
        raise ValueError(f"lora.targets: no linear layer is named {missing[0]!r}; {near_names(missing[0], names)}")
    peft_config = peft.LoraConfig(
        r=cfg.rank, lora_alpha=cfg.alpha, lora_dropout=cfg.dropout, target_modules=cfg.targets, use_rslora=False
    )
    return peft.inject_adapter_in_model(peft_config, llm)


def take_lora_out(llm: PreTrainedModel, merge: bool) -> None:
    """Put the base layers back in place, with the LoRA updates added to their weights if `merge`."""
    from peft.tuners.lora import LoraLayer

    for name, module in [(n, m) for n, m in llm.named_modules() if isinstance(m, LoraLayer)]:
        if merge:
            module.merge(safe_merge=True)
        llm.set_submodule(name, module.get_base_layer())
