"""A pretrained language model: do the bounds of rounding leave few words in doubt on real weights?

OSUM_LLM names a folder as for `run.sh --llm`.
"""

import os

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from osum.model.screen import Screen

TEXTS = (
    "The capital of France is Paris, which lies on the river Seine and has two million inhabitants.",
    "def add(a, b):\n    return a + b\n\nprint(add(1, 2))",
    "hello there<happy> how are you doing today, my friend?",
)


@pytest.mark.skipif("OSUM_LLM" not in os.environ, reason="OSUM_LLM must name a folder to read")
@torch.inference_mode()
def test_few_words_are_looked_at_again():
    folder = os.environ["OSUM_LLM"]
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    hidden = torch.cat([model.model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0] for text in TEXTS])
    screen = Screen(model.lm_head)
    assert torch.equal(screen(hidden), model.lm_head(hidden).argmax(-1))
    groups_in_doubt = screen._doubtful(hidden).sum(0).float()
    assert float(groups_in_doubt.mean()) < 4, groups_in_doubt
