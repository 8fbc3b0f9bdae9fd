"""The original OSUM's checkpoint as a model folder of ours, with the LLM as a Hugging Face folder in it."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from huggingface_hub import save_torch_state_dict
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase

from osum import log
from osum.model.configs import LlmSizes, SpeechLlmConfig
from osum.model.convert.account import Account, shapes_of
from osum.model.convert.checkpoint import State, read_state
from osum.model.convert.original_config import OriginalConfig
from osum.model.convert.original_prompts import Prompts
from osum.model.convert.whisper import transformers_name
from osum.model.convert.whisper_names import wenet_name
from osum.model.folder import BASE_LLM, OWN_LLM, TOKENIZER, SulmRecord, save_sulm
from osum.model.speech_llm import SpeechLLM
from osum.model.store import fill, parameters_of
from osum.text import tokenizer as text_tokenizer

SPEECH_TOKENS = "speech_token_emded.weight"
UNUSED = r"^(ln_speech|speaker_head)\."
POSITIONS = "speech_transformer.embed.pos_enc.pe"
ADAPTOR = (
    (r"convs\.0\.conv", "down_sample_2.conv.1"),
    (r"convs\.1\.conv", "down_sample_2.conv.4"),
    (r"convs\.2\.conv", "down_sample_2.conv.7"),
    (r"embed\.(\d)", r"speech_transformer.embed.out.\1"),
    (r"norm", "speech_transformer.after_norm"),
    (r"proj", "speech_llama_proj"),
    (r"layers\.(\d+)\.attn_norm", r"speech_transformer.encoders.\1.norm1"),
    (r"layers\.(\d+)\.ffn_norm", r"speech_transformer.encoders.\1.norm2"),
    (r"layers\.(\d+)\.([qkv])_proj", r"speech_transformer.encoders.\1.self_attn.linear_\2"),
    (r"layers\.(\d+)\.out_proj", r"speech_transformer.encoders.\1.self_attn.linear_out"),
    (r"layers\.(\d+)\.fc(\d)", r"speech_transformer.encoders.\1.feed_forward.w_\2"),
)
"""Modules of our adaptor and what the original calls them."""

logger = log.get(__name__)


class OriginalNames:
    """What the original calls our parameters; with LoRA its LLM is wrapped by peft."""

    def __init__(self, has_lora: bool) -> None:
        """`has_lora` as in its settings."""
        self._llm = "llama_model.base_model.model." if has_lora else "llama_model."

    def __call__(self, ours: str) -> str:
        """`adaptor.proj.bias` -> `speech_llama_proj.bias`."""
        part, _, rest = ours.partition(".")
        if part == "llm":
            return self._llm + rest
        if part == "boundaries":
            return SPEECH_TOKENS
        return wenet_name(transformers_name(ours)) if part == "encoder" else _adaptor_name(rest)


def convert_original(
    checkpoint: Path,
    cfg: OriginalConfig,
    out: Path,
    prompts: Prompts,
    tokenizer: PreTrainedTokenizerBase | None,
    leave_out: str | None = None,
) -> None:
    """Write the model folder `out`; without a tokenizer it can't decode before `tokenizer` is added to it.

    ValueError if a tensor is missing, of another size, or not accounted for.
    """
    state = read_state(checkpoint)
    names = OriginalNames(cfg.lora is not None)
    account = Account(_only_boundaries(state, cfg.num_speech_tokens, checkpoint), str(checkpoint))
    if leave_out is not None:
        account.unused(leave_out, "asked for")
    end_token_id = _end_token(cfg, tokenizer)
    _write_llm(account, cfg, names, end_token_id, out / OWN_LLM)
    record = _record(cfg, end_token_id, prompts)
    model = record.located(out).build().eval()
    parameters = account.take(shapes_of(parameters_of(model, BASE_LLM)), names)
    fill(model, parameters, str(checkpoint), BASE_LLM)
    _settle_the_rest(account, names, model)
    save_sulm(out, model, record, tokenizer_dir=None)
    if tokenizer is not None:
        text_tokenizer.save(tokenizer, out / TOKENIZER)


def _adaptor_name(ours: str) -> str:
    module, kind = ours.rsplit(".", 1)
    renamed = [re.sub(pattern, theirs, module) for pattern, theirs in ADAPTOR if re.fullmatch(pattern, module)]
    assert len(renamed) == 1, (ours, renamed)
    return f"{renamed[0]}.{kind}"


def _only_boundaries(state: State, num_speech_tokens: int, checkpoint: Path) -> State:
    """Keep speech-begin and speech-end of the table of speech tokens; its other rows are for speech output."""
    table = state.get(SPEECH_TOKENS)
    if table is None:
        return state
    if table.dim() != 2 or len(table) != num_speech_tokens + 2:
        raise ValueError(
            f"{checkpoint}: {SPEECH_TOKENS} is {tuple(table.shape)}, but speech_token_num {num_speech_tokens} of the "
            f"config makes {num_speech_tokens + 2} rows"
        )
    logger.info("convert left_out=%s[:%d] reason=speech output is not part of it", SPEECH_TOKENS, num_speech_tokens)
    return {**state, SPEECH_TOKENS: table[num_speech_tokens:]}


def _write_llm(account: Account, cfg: OriginalConfig, names: OriginalNames, end_token_id: int, folder: Path) -> None:
    """Write the base LLM, in the precision it is stored in, as a Hugging Face folder."""
    with torch.device("meta"):
        llm = AutoModelForCausalLM.from_config(cfg.llm)
    adapted = _adapted_modules(cfg)

    def theirs(name: str) -> str:
        module, _, kind = name.rpartition(".")
        return names(f"llm.{module}.base_layer.{kind}" if adapted.search(module) else f"llm.{name}")

    found = account.take(shapes_of(dict(llm.named_parameters())), theirs)
    llm.config.update({"eos_token_id": end_token_id, "bos_token_id": end_token_id})
    llm.config.architectures = [type(llm).__name__]
    llm.config.dtype = next(iter(found.values())).dtype
    llm.config.save_pretrained(folder)
    save_torch_state_dict(found, folder, metadata={"format": "pt"})


def _adapted_modules(cfg: OriginalConfig) -> re.Pattern[str]:
    targets = [] if cfg.lora is None else cfg.lora.targets
    return re.compile(rf"\.({'|'.join(map(re.escape, targets))})$" if targets else r"(?!)")


def _end_token(cfg: OriginalConfig, tokenizer: PreTrainedTokenizerBase | None) -> int:
    """Return the end token of the targets. ValueError if the tokenizer has another: text would never end."""
    end, size = cfg.end_token_id, cfg.llm.vocab_size
    if tokenizer is None:
        if end < size:
            return end
        logger.warning("convert end_token=0 reason=%d is not among the %d tokens; give --tokenizer", end, size)
        return 0
    ours = int(tokenizer.eos_token_id)
    if ours != end and end < size:
        raise ValueError(
            f"{tokenizer.name_or_path}: eos_token is {ours}, but targets of this checkpoint end with {end}; set "
            "eos_token in a copy of its tokenizer_config.json"
        )
    return ours


def _record(cfg: OriginalConfig, end_token_id: int, prompts: Prompts) -> SulmRecord:
    # Without LoRA the original's LLM is not trained either, so it stays in its own folder.
    freeze = [] if cfg.lora is not None else [BASE_LLM]
    model = SpeechLlmConfig(cfg.adaptor, LlmSizes(path=f"./{OWN_LLM}"), cfg.lora, freeze)
    return SulmRecord(cfg.encoder, model, cfg.llm.vocab_size, end_token_id, num_ctc_units=0, prompts=prompts)


def _settle_the_rest(account: Account, names: OriginalNames, model: SpeechLLM) -> None:
    embedding, head = names("llm.model.embed_tokens.weight"), names("llm.lm_head.weight")
    tied = model.llm.config.tie_word_embeddings
    account.copies({"embed_tokens.weight": embedding, "lm_head.weight": embedding if tied else head})
    if tied:
        account.copies({head: embedding})
    account.unused(UNUSED, "takes no part in the original's forward pass")
    account.computed(POSITIONS, model.adaptor.positions)
    account.close()
