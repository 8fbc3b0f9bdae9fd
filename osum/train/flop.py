"""Model FLOP of a training step, and what a device can do: their quotient is the MFU of training.

Each weight of a matrix costs two FLOP (a multiplication and an addition) at every position that it sees; as many again
in the backward pass if gradients pass it on the way to something trained, and as many again if it is trained itself.
Scores of attention, features, and what is computed twice to save memory are not counted.
"""

from __future__ import annotations

import math
import re

import torch
from torch import nn

from osum.audio.frames import num_adaptor_frames, num_encoder_frames, num_mel_frames, num_strided_frames
from osum.text.template import IGNORED
from osum.types import Batch

SEES = (
    (r"embed_|^boundaries\.", ""),  # looked up, not multiplied
    (r"^encoder\.whisper\.conv1\.", "mel"),
    (r"^(encoder|ctc_head|adaptor\.convs\.0|decoder\..*\.encoder_attn\.[kv]_proj)\.", "encoder"),
    (r"^adaptor\.convs\.1\.", "strided"),
    (r"^adaptor\.", "speech"),
    (r"^(llm\.lm_head|head)\.", "target"),
    (r"^(llm|decoder)\.", "decoder"),
)
"""Names of parameters -> what their matrix is applied to, as `num_positions` counts it; the first match counts."""
BEFORE = {
    "encoder": ("encoder",),
    "adaptor": ("encoder", "adaptor"),
    "ctc_head": ("encoder", "ctc_head"),
    "llm": ("encoder", "adaptor", "boundaries", "llm"),
    "decoder": ("encoder", "decoder"),
    "head": ("encoder", "decoder", "head"),
}
"""Part of a model -> the parts on whose behalf gradients pass it."""
PEAK_TFLOPS = (
    (r"\bB200\b", 2250.0),
    (r"\bH100 NVL\b", 835.0),
    (r"\bH100 PCIe\b", 756.0),
    (r"\b(H100|H200|H800)\b", 989.0),
    (r"\b(A100|A800)\b", 312.0),
    (r"\bA30\b", 165.0),
    (r"\bL40S\b", 362.0),
    (r"\bL4\b", 121.0),
    (r"\bRTX 4090$", 165.0),
    (r"\bRTX 3090$", 71.0),
    (r"\bV100-PCIE", 112.0),
    (r"\bV100\b", 125.0),  # in float16: it has no bfloat16
)
"""Name of a GPU -> TFLOP a second of dense bfloat16 products summed in float32, by its maker's data sheet."""


class TrainingFlop:
    """Counts the FLOP of training steps of a model, as long as the same parameters are trained."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.renew()

    def renew(self) -> None:
        """Look again at which parameters are trained."""
        self.per_position = flop_per_position(self._model)

    def of(self, batch: Batch) -> float:
        """Return the FLOP of a batch, forward and backward."""
        counts = num_positions(batch)
        return float(sum(flop * counts[seen] for seen, flop in self.per_position.items()))


def flop_per_position(model: nn.Module) -> dict[str, int]:
    """Return what a step costs for each frame or token of a kind: 2, 4 or 6 FLOP a weight that sees it."""
    # A matrix that two layers share is looked up in one and multiplied in the other.
    named = list(model.named_parameters(remove_duplicate=False))
    trained = {name.split(".")[0] for name, p in named if p.requires_grad}
    costs: dict[str, int] = {}
    for name, parameter in named:
        if parameter.ndim > 1 and (seen := seen_by(name)):
            passed = not trained.isdisjoint(BEFORE[name.split(".")[0]])
            each = 6 if parameter.requires_grad else 4 if passed else 2
            costs[seen] = costs.get(seen, 0) + each * parameter.numel()
    return costs


def num_positions(batch: Batch) -> dict[str, int]:
    """Count what the matrices of a model are applied to: frames at 100, 50, 25 and 12.5 Hz, tokens and targets."""
    mel = num_mel_frames(batch.audio_lens)
    encoder = num_encoder_frames(mel)
    frames = {"mel": mel, "encoder": encoder, "strided": num_strided_frames(encoder)}
    frames["speech"] = num_adaptor_frames(encoder)
    counts = {kind: int(lens.sum()) for kind, lens in frames.items()}
    return counts | {"decoder": len(batch.input_ids), "target": int((batch.labels != IGNORED).sum())}


def peak_flop_per_s(device: torch.device, tflops: float | None = None) -> float:
    """Return the peak of a device: `tflops` where given, else by the name of the GPU; NaN if that is not known."""
    if tflops is None:
        tflops = peak_tflops(torch.cuda.get_device_name(device)) if device.type == "cuda" else math.nan
    return tflops * 1e12


def peak_tflops(name: str) -> float:
    """Return the peak of a GPU of this name, NaN if it is not known."""
    return next((tflops for pattern, tflops in PEAK_TFLOPS if re.search(pattern, name)), math.nan)


def seen_by(name: str) -> str:
    """Return what a matrix is applied to, a key of `num_positions`; "" for a table in which rows are looked up."""
    found = next((seen for pattern, seen in SEES if re.search(pattern, name)), None)
    assert found is not None, f"nobody said what {name} is applied to"
    return found
