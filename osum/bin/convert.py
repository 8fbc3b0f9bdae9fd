"""Convert models: from the original OSUM, WeNet, OpenAI and Hugging Face, and to Hugging Face and WeNet."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

from osum import config, log, outputs

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from osum.model.convert.card import Licences


@dataclass
class ConvertConfig:
    """Convert a model; every tensor is accounted for, and nothing in a checkpoint is run."""

    source: Literal["original", "wenet", "openai", "hf", "osum"]
    """What it is: an original OSUM, a Whisper of WeNet, OpenAI or a Hugging Face folder, or a model folder of osum."""
    checkpoint: Path
    """File of weights, or model folder (hf, osum)."""
    target: Literal["osum", "hf", "wenet"]
    """What it becomes: a model folder of osum, a Hugging Face folder, or (Whisper only) one of WeNet."""
    output: Path
    """Folder to write."""
    config: Path | None = None
    """Sizes: the original's or WeNet's YAML, or a JSON file; not needed where the checkpoint holds them."""
    prompts: Path | None = None
    """The original's prompt_config.yaml, whose sentences go into the model's record."""
    llm: str | None = None
    """Folder or hub name of the LLM whose config and tokenizer belong to an original OSUM; null for its llm_path."""
    tokenizer: Path | None = None
    """Tokenizer folder of an original OSUM; null for that of the LLM."""
    leave_out: str | None = None
    """Regular expression of tensors to do without although the model had them."""
    lora: Literal["merge", "adapter"] = "merge"
    """For Hugging Face: LoRA added to the weights, or as an adapter of peft."""
    licence: str = "unknown"
    """For the model card: licence of the converted model."""
    base_models: dict[str, str] = field(default_factory=dict)
    """For the model card: name -> licence of the models it started from."""
    corpora: dict[str, str] = field(default_factory=dict)
    """For the model card: name -> licence of the corpora it was trained on."""
    overwrite: bool = False
    """Convert again although the folder is up to date."""

    def __post_init__(self) -> None:
        """Refuse options that do not go together. ValueError naming them."""
        if self.source == "original" and self.config is None:
            raise ValueError("source original needs --config, its training YAML or its sizes as JSON")
        if self.source == "original" and self.target == "wenet":
            raise ValueError("an original OSUM can't become a WeNet model; use --target osum or hf")
        said = self.licence != "unknown" or self.base_models or self.corpora
        if self.target != "hf" and (said or self.lora != "merge"):
            raise ValueError("--lora, --licence, --base_models and --corpora belong to --target hf")
        for name in ("prompts", "llm", "tokenizer"):
            if self.source != "original" and getattr(self, name) is not None:
                raise ValueError(f"--{name} belongs to --source original")


def main(argv: list[str] | None = None) -> None:
    """Parse the options and convert; does nothing if the folder is up to date."""
    cfg = config.load(ConvertConfig, argv, file_option="--options")
    content = {name: value for name, value in config.to_dict(cfg).items() if name != "output"}
    with outputs.output_dir(cfg.output, content, _inputs(cfg), cfg.overwrite) as out:
        if out is not None:
            run(cfg, out)
            log.get(__name__).info("convert source=%s target=%s output=%s", cfg.source, cfg.target, cfg.output)


def run(cfg: ConvertConfig, out: Path) -> None:
    """Convert into `out`."""
    if cfg.source == "original":
        _from_original(cfg, out)
    elif cfg.source == "osum" and _is_sulm(cfg.checkpoint):
        if cfg.target != "hf":
            raise ValueError(f"{cfg.checkpoint}: a speech-understanding language model goes to --target hf only")
        _export_sulm(cfg, cfg.checkpoint, out)
    else:
        _whisper(cfg, out)


def _inputs(cfg: ConvertConfig) -> list[Path]:
    files = [p for p in (cfg.config, cfg.prompts) if p is not None]
    for path in (cfg.checkpoint, *files):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file or folder")
    if (cfg.checkpoint / outputs.DONE_MARK).is_file() or not cfg.checkpoint.is_dir():
        return [cfg.checkpoint, *files]
    return [*sorted(p for p in cfg.checkpoint.rglob("*") if p.is_file()), *files]


def _is_sulm(folder: Path) -> bool:
    from osum.model.convert.settings import Settings
    from osum.model.folder import RECORD

    return "encoder" in Settings.read(folder / RECORD).values


def _from_original(cfg: ConvertConfig, out: Path) -> None:
    from osum.model.convert.original import convert_original
    from osum.model.convert.original_config import read_original_config
    from osum.model.convert.original_prompts import read_original_prompts

    assert cfg.config is not None
    original = read_original_config(cfg.config, cfg.llm)
    prompts = {} if cfg.prompts is None else read_original_prompts(cfg.prompts)
    if not prompts:
        log.get(__name__).warning("convert prompts=none: decoding needs them; give the original's with --prompts")
    tokenizer = _tokenizer(cfg.tokenizer, original.llm_name)
    with TemporaryDirectory(dir=out) as temporary:  # beside the output: the model may be larger than the system's disk
        folder = out if cfg.target == "osum" else Path(temporary) / "osum"
        convert_original(cfg.checkpoint, original, folder, prompts, tokenizer, cfg.leave_out)
        if cfg.target == "hf":
            _export_sulm(cfg, folder, out)


def _tokenizer(folder: Path | None, llm: str | None) -> PreTrainedTokenizerBase | None:
    from osum.text import tokenizer as text_tokenizer

    if folder is not None:
        return text_tokenizer.load(folder)
    return None if llm is None else text_tokenizer.load(llm)


def _licences(cfg: ConvertConfig) -> Licences:
    from osum.model.convert.card import Licences

    return Licences(cfg.licence, cfg.base_models, cfg.corpora)


def _export_sulm(cfg: ConvertConfig, folder: Path, out: Path) -> None:
    from osum.model.convert.export_sulm import export_sulm

    export_sulm(folder, out, cfg.lora, _licences(cfg), final=cfg.output)


def _whisper(cfg: ConvertConfig, out: Path) -> None:
    from osum.model.convert.card import trained_on
    from osum.model.convert.export_whisper import export_whisper_hf, export_whisper_wenet, leave_out_ctc
    from osum.model.convert.whisper import read_whisper
    from osum.model.folder import load_whisper, save_whisper
    from osum.text.tokenizer import beside

    if cfg.lora != "merge":
        raise ValueError(f"{cfg.checkpoint}: a Whisper of ours has no LoRA; leave --lora out")
    if cfg.source == "osum":
        model, record = load_whisper(cfg.checkpoint)
        record = leave_out_ctc(model, record, cfg.leave_out)
    else:
        model, record = read_whisper(cfg.source, cfg.checkpoint, cfg.config, cfg.leave_out)
    tokenizer = beside(cfg.checkpoint)
    if cfg.target == "osum":
        save_whisper(out, model, record, tokenizer)
    elif cfg.target == "hf":
        export_whisper_hf(model, record, out, _licences(cfg), trained_on(cfg.checkpoint), tokenizer)
    else:
        export_whisper_wenet(model, record, out)


if __name__ == "__main__":
    log.run_main(main)
