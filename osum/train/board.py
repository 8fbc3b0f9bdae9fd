"""TensorBoard, for those who have it: the values of `metrics.jsonl` as curves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


class Board:
    """Event files in a folder; what a killed run wrote after the step that this one resumes from is hidden."""

    def __init__(self, folder: Path, start_step: int) -> None:
        """ValueError if tensorboard is not installed."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as err:
            raise ValueError(
                "train.tensorboard: the package is not there; pip install 'osum[tensorboard]', or leave the option out"
            ) from err
        self._writer = SummaryWriter(str(folder), purge_step=start_step + 1)

    def write(self, split: str, step: int, values: Mapping[str, float]) -> None:
        """Add a point to each curve."""
        for name, value in values.items():
            self._writer.add_scalar(f"{split}/{name}", value, step)
        self._writer.flush()

    def write_texts(self, name: str, step: int, texts: Mapping[str, str]) -> None:
        """Show some texts together, as they are: what is indented is no markup."""
        self._writer.add_text(name, "\n".join(f"    {what}: {text}" for what, text in texts.items()), step)
        self._writer.flush()
