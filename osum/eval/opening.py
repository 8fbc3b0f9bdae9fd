"""`osum.load`: the one way to a trained model, whatever wrote its folder."""

from __future__ import annotations

from pathlib import Path

import torch

from osum.eval import speech_model, whisper_model
from osum.eval.speech_model import SpeechModel
from osum.eval.whisper_model import WhisperModel
from osum.model.folder import place_of
from osum.model.precision import Precision


def load(
    folder: Path | str, device: torch.device | str | None = None, precision: Precision = "float32"
) -> SpeechModel | WhisperModel:
    """Load an experiment, one of its models or a converted one; on the GPU, if there is one, unless told otherwise.

    A speech-understanding language model comes as a `SpeechModel`; a Whisper, of an experiment that has got no further
    than stage 3, a converted one, or any for Hugging Face, as a `WhisperModel` in float32. FileNotFoundError if there
    is no such model, ValueError naming the file that does not fit, or for a precision that is neither.
    """
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    found = place_of(Path(folder)) or Path(folder)
    if whisper_model.is_in(found):
        return whisper_model.load(found, device)
    return speech_model.load(folder, device, precision)
