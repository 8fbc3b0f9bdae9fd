"""A speech-understanding language model as a Hugging Face folder: the LLM on top, what hears beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from transformers import AutoTokenizer, PreTrainedModel, WhisperFeatureExtractor, WhisperModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from osum import config
from osum.model.added_tokens import put_rows_in
from osum.model.configs import LlmSizes, LoraConfig, WhisperSizes
from osum.model.convert.card import Licences, model_card, trained_on
from osum.model.folder import RECORD, SPEECH, SulmRecord, load_sulm, tokenizer_of
from osum.model.lora import take_lora_out
from osum.model.store import save_parameters
from osum.outputs import atomic_write

Lora = Literal["merge", "adapter"]

BASE = "base"
ENCODER = "encoder"
PEFT_PREFIX = "base_model.model."
"""What peft's own models put before the names of the model they wrap."""
NOT_RECORDED = "not recorded"
USAGE = """\
from transformers import AutoModelForCausalLM, AutoTokenizer, WhisperModel

llm = AutoModelForCausalLM.from_pretrained(FOLDER)
tokenizer = AutoTokenizer.from_pretrained(FOLDER)
encoder = WhisperModel.from_pretrained(f"{FOLDER}/encoder").encoder"""


def export_sulm(folder: Path, out: Path, lora: Lora, licences: Licences, final: Path) -> None:
    """Write `out` from a model folder of ours; it will be renamed to `final`, which an adapter's base may have to name.

    `merge` adds LoRA to the weights; `adapter` writes a peft adapter, and beside it the base LLM unless that has a
    folder or hub name of its own. ValueError if an adapter is asked for of a model without LoRA, or with added tokens.
    """
    model, record = load_sulm(folder)
    peft_config = record.model.lora
    if lora == "adapter" and peft_config is None:
        raise ValueError(f"{folder}: the model has no LoRA; use --lora merge")
    if lora == "adapter" and record.added_token_ids:
        raise ValueError(f"{folder}: an adapter has no place for the rows of added tokens; use --lora merge")
    out.mkdir(parents=True, exist_ok=True)
    if peft_config is not None and lora == "adapter":
        _save_adapter(model.llm, peft_config, out, final, _own_place(record, folder))
    else:
        take_lora_out(model.llm, merge=True)
        put_rows_in(model.llm)
        model.llm.save_pretrained(out)
    tokenizer_dir = tokenizer_of(folder)
    if (tokenizer_dir / "tokenizer_config.json").is_file():
        AutoTokenizer.from_pretrained(tokenizer_dir).save_pretrained(out)
    save_encoder(model.encoder.whisper, out / ENCODER)
    speech = {n: p.detach() for n, p in model.named_parameters() if not n.startswith(("llm.", "encoder."))}
    save_parameters(speech, out / SPEECH)
    config.save(_exported(record), out / RECORD)
    atomic_write(out / "README.md", _card(record, folder, lora, licences, has_base=(out / BASE).is_dir()))


def _exported(record: SulmRecord) -> SulmRecord:
    """Return how to build the model from what is written: transformers reads an adapter together with its base."""
    model = replace(record.model, llm=LlmSizes(path="./"), lora=None, freeze=[])
    return replace(record, encoder=WhisperSizes(path=f"./{ENCODER}"), model=model, added_token_ids=[])


def save_encoder(encoder: WhisperEncoder, folder: Path) -> None:
    """Write a folder of `WhisperModel` with its features; the decoder has no layers, as the model has no decoder."""
    config = type(encoder.config).from_dict({**encoder.config.to_dict(), "decoder_layers": 0, "vocab_size": 2})
    for name in ("pad_token_id", "bos_token_id", "eos_token_id", "decoder_start_token_id"):
        setattr(config, name, 0)
    whisper = WhisperModel(config)
    whisper.encoder.load_state_dict(encoder.state_dict())
    whisper.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=config.num_mel_bins).save_pretrained(folder)


def _own_place(record: SulmRecord, folder: Path) -> str | None:
    """Return the folder or hub name of the base LLM, None if it is known to the model folder only."""
    path = record.model.llm.path
    return None if path is None or Path(path).is_relative_to(folder) else path


def _save_adapter(llm: PreTrainedModel, lora: LoraConfig, out: Path, final: Path, base: str | None) -> None:
    import peft

    adapter = {
        PEFT_PREFIX + name.replace(".default.", "."): p.detach()
        for name, p in llm.named_parameters()
        if ".lora_" in name
    }
    save_parameters(adapter, out / "adapter_model.safetensors")
    peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.targets,
        task_type="CAUSAL_LM",
        inference_mode=True,
        base_model_name_or_path=base or str((final / BASE).resolve()),
    ).save_pretrained(out)
    if base is None:
        take_lora_out(llm, merge=False)
        llm.save_pretrained(out / BASE)


def _card(record: SulmRecord, folder: Path, lora: Lora, licences: Licences, has_base: bool) -> str:
    contents = {ENCODER + "/": "Whisper's encoder as a `WhisperModel` without decoder layers"}
    if lora == "merge":
        contents["model.safetensors"] = "the LLM, LoRA merged"
    else:
        contents["adapter_model.safetensors"] = "LoRA of the LLM, for peft; `adapter_config.json` names the base"
    if has_base:
        contents[BASE + "/"] = "the base LLM; after a move, write its new place into `adapter_config.json`"
    contents[SPEECH] = "adaptor, embeddings of speech-begin and speech-end, CTC head if there is one"
    contents[RECORD] = "prompts, template and how the parts fit together, for `osum.load`"
    parts = {"encoder": record.encoder.path or NOT_RECORDED, "LLM": _own_place(record, folder) or NOT_RECORDED}
    return model_card("Speech-understanding language model", contents, USAGE, parts, licences, trained_on(folder))
