"""osum: train, evaluate and use speech-understanding language models."""

from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`osum.load(folder)` returns a trained model, ready for audio; torch is imported when it is asked for."""
    if name == "load":
        from osum.eval.opening import load

        return load
    raise AttributeError(f"module 'osum' has no attribute {name!r}")
