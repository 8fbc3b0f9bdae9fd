"""osum: train, evaluate and use speech-understanding language models."""

__version__ = "0.1.0"
