"""A multi-task Whisper with its tokenizer: the model of the first step, or a converted one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from osum.eval.samples import samples_of
from osum.model.convert.settings import Settings
from osum.model.convert.whisper import read_whisper
from osum.model.folder import RECORD, holds_whisper, load_whisper
from osum.model.onednn import use_fastest_products
from osum.model.whisper import MultitaskWhisper
from osum.text import tokenizer as text_tokenizer

CONFIG = "config.json"
WENET, WENET_CONFIG = "final.pt", "train.yaml"
"""What a model of WeNet consists of, also a converted one."""


class WhisperModel:
    """Encoder and decoder are in `model`, the log-mel features are `model.log_mel`."""

    def __init__(
        self, model: MultitaskWhisper, tokenizer: PreTrainedTokenizerBase | None, device: torch.device | str = "cpu"
    ) -> None:
        """`tokenizer` is None for a folder without one, as after a conversion from OpenAI's or WeNet's files."""
        use_fastest_products(model.to(device))
        self.model, self.tokenizer, self.device = model.eval(), tokenizer, torch.device(device)

    @torch.inference_mode()
    def encode(self, *audio: np.ndarray | str | Path) -> list[Tensor]:
        """Return the encoder frames (T_i, D) at 50 Hz of each audio: (num_samples,) at 16 kHz in [-1, 1], or a file.

        ValueError for audio that is unreadable, under 25 ms or over 30 s.
        """
        return [self._encode(samples_of(a, f"audio {number}")) for number, a in enumerate(audio)]

    def _encode(self, samples: np.ndarray) -> Tensor:
        heard = torch.from_numpy(samples).to(self.device)
        frames, _ = self.model.encoder(*self.model.log_mel(heard, torch.tensor([len(samples)], device=self.device)))
        return frames


def is_in(folder: Path) -> bool:
    """Return whether a folder holds a Whisper: ours, one for Hugging Face or WeNet. ValueError if unreadable."""
    if (folder / RECORD).is_file():
        return holds_whisper(folder)
    if (folder / CONFIG).is_file():
        return Settings.read(folder / CONFIG).values.get("model_type") == "whisper"
    return (folder / WENET).is_file() and (folder / WENET_CONFIG).is_file()


def load(folder: Path, device: torch.device | str = "cpu") -> WhisperModel:
    """Load a folder of stage 3, a converted one, or any Whisper for Hugging Face. ValueError naming what is wrong."""
    if (folder / RECORD).is_file():
        model, _ = load_whisper(folder)
    elif (folder / CONFIG).is_file():
        model, _ = read_whisper("hf", folder, None)
    else:
        model, _ = read_whisper("wenet", folder / WENET, folder / WENET_CONFIG)
    return WhisperModel(model, text_tokenizer.beside(folder), device)
