"""Model folders: what was built (`model.yaml`) beside its parameters (`model.safetensors`), tokenizer and units."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml
from transformers import PreTrainedTokenizerBase

from osum import config
from osum.model.build import build_encoder, build_speech_llm, build_whisper
from osum.model.configs import SpeechLlmConfig, WhisperSizes
from osum.model.precision import Precision
from osum.model.speech_llm import SpeechLLM
from osum.model.store import load_parameters, parameters_of, save_parameters
from osum.model.whisper import MultitaskWhisper
from osum.text import tokenizer as tokenizers
from osum.text.configs import TemplateConfig

PARAMETERS = "model.safetensors"
SPEECH = "speech.safetensors"
"""What is neither encoder nor LLM, in a folder for Hugging Face, where these two have files of their own."""
RECORD = "model.yaml"
TOKENIZER = tokenizers.FOLDER
SULM = "sulm"
"""Where an experiment keeps the speech-understanding language model."""
WHISPER = "whisper"
"""Where it keeps the Whisper of stage 3."""
OWN_LLM = "llm"
"""Folder of the base LLM of a converted model."""
BASE_LLM = r"^llm\."
"""Frozen parameters of a pretrained LLM stay in its own folder."""
BASES = r"^(encoder|llm)\."


@dataclass
class WhisperRecord:
    """How to build the encoder-decoder again."""

    model: WhisperSizes
    """Sizes or origin."""
    vocab_size: int
    """Tokens of the tokenizer."""
    num_ctc_units: int
    """Outputs of the CTC head; 0 for none."""

    def build(self) -> MultitaskWhisper:
        """Return the model with its initial weights."""
        return build_whisper(self.model, self.vocab_size, self.num_ctc_units)


@dataclass
class SulmRecord:
    """How to build the speech-understanding language model again."""

    encoder: WhisperSizes
    """Sizes or origin of the encoder."""
    model: SpeechLlmConfig
    """Adaptor, LLM, LoRA and what is frozen."""
    vocab_size: int
    """Tokens of the tokenizer."""
    eos_token_id: int
    """Ends every target."""
    num_ctc_units: int
    """Outputs of the CTC head; 0 for none."""
    prompts: dict[str, dict[str, list[str]]]
    """Task -> language -> sentences that it was trained with; evaluation takes the first."""
    template: TemplateConfig = field(default_factory=TemplateConfig)
    """Order and form of prompt, speech and target that it was trained with."""
    added_token_ids: list[int] = field(default_factory=list)
    """Tokens that the LLM did not have; their rows are trained and stored whatever is frozen."""

    def build(self, precision: Precision = "float32") -> SpeechLLM:
        """Return the model with its initial weights, as the precision needs them."""
        encoder = build_encoder(self.encoder)
        sizes = (self.vocab_size, self.eos_token_id, self.num_ctc_units)
        return build_speech_llm(self.model, encoder, *sizes, self.added_token_ids, precision)

    def located(self, folder: Path) -> SulmRecord:
        """Return the record of a model in `folder`, where paths such as `./llm` are meant relative to it."""

        def place(path: str | None) -> str | None:
            return str(folder / path) if path is not None and path.startswith("./") else path

        encoder = replace(self.encoder, path=place(self.encoder.path))
        llm = replace(self.model.llm, path=place(self.model.llm.path))
        return replace(self, encoder=encoder, model=replace(self.model, llm=llm))

    @property
    def without(self) -> str | None:
        """Pattern of frozen parameters that are not stored."""
        return BASE_LLM if self.model.llm.path else None


def save_whisper(
    folder: Path, model: MultitaskWhisper, record: WhisperRecord, tokenizer: PreTrainedTokenizerBase | None = None
) -> None:
    """Write record, parameters, and the tokenizer if it is at hand."""
    folder.mkdir(parents=True, exist_ok=True)
    config.save(record, folder / RECORD)
    if tokenizer is not None:
        tokenizers.save(tokenizer, folder / TOKENIZER)
    save_parameters(parameters_of(model), folder / PARAMETERS)


def load_whisper(folder: Path) -> tuple[MultitaskWhisper, WhisperRecord]:
    """Read a folder of `save_whisper`."""
    record = config.read(WhisperRecord, folder / RECORD)
    # All parameters are in the file: the pretrained ones it started from are only needed for their sizes.
    model = record.build()
    load_parameters(model, folder / PARAMETERS)
    return model, record


def save_sulm(folder: Path, model: SpeechLLM, record: SulmRecord, tokenizer_dir: Path | None) -> None:
    """Write record, parameters, tokenizer and units: all that decoding needs besides a pretrained base LLM.

    None leaves the tokenizer to the caller.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config.save(record, folder / RECORD)
    if tokenizer_dir is not None:
        shutil.copytree(tokenizer_dir, folder / TOKENIZER, dirs_exist_ok=True)
    save_parameters(parameters_of(model, record.without), folder / PARAMETERS)


def place_of(folder: Path) -> Path | None:
    """Return the folder with the record of a model: this one, or the last of an experiment; None without one."""
    return next((f for f in (folder, folder / SULM, folder / WHISPER) if (f / RECORD).is_file()), None)


def find_sulm(folder: Path) -> Path:
    """Return the folder of the model: this one, or that in an experiment. FileNotFoundError if there is none."""
    found = place_of(folder)
    if found is None or holds_whisper(found):
        what = f"holds neither {RECORD} nor {SULM}/{RECORD}" if found is None else "holds a Whisper, without an LLM"
        raise FileNotFoundError(f"{folder}: {what}; give a speech-understanding language model or an experiment")
    return found


def tokenizer_of(folder: Path) -> Path:
    """Return the tokenizer folder of such a model; one for Hugging Face has it beside the LLM."""
    return folder if (folder / SPEECH).is_file() else folder / TOKENIZER


def load_sulm(folder: Path, precision: Precision = "float32") -> tuple[SpeechLLM, SulmRecord]:
    """Read a folder of `save_sulm` or one for Hugging Face, in evaluation mode, to be used in this precision."""
    record = config.read(SulmRecord, folder / RECORD).located(folder)
    model = record.build(precision)
    if (folder / SPEECH).is_file():
        load_parameters(model.requires_grad_(False), folder / SPEECH, BASES)
    else:
        load_parameters(model, folder / PARAMETERS, record.without)
    return model.eval(), record


def holds_whisper(folder: Path) -> bool:
    """Return whether a model folder is one of `save_whisper`, not `save_sulm`. ValueError for a damaged record."""
    try:
        found = yaml.safe_load((folder / RECORD).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as err:
        raise ValueError(f"{folder / RECORD}: not YAML ({err}); write the model again") from err
    return isinstance(found, dict) and "encoder" not in found
