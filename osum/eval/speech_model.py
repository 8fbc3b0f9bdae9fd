"""A trained model with its tokenizer and prompts: audio in, text out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from osum.audio.frames import SAMPLE_RATE_HZ
from osum.data.examples import Prompts, prompts_for
from osum.data.load.collate import collate_prefixes
from osum.eval.buckets import length_buckets
from osum.eval.configs import DecodingConfig
from osum.eval.samples import samples_of
from osum.model.configs import check_precision_name
from osum.model.continuation import Continuation
from osum.model.ending import Generated, StopRules
from osum.model.folder import find_sulm, load_sulm, tokenizer_of
from osum.model.generate import embed_each, generate_all, start
from osum.model.lora import take_lora_out
from osum.model.onednn import use_fastest_products
from osum.model.precision import Precision, autocast, halve
from osum.model.screen import chooser
from osum.model.speech_llm import SpeechLLM
from osum.text import tokenizer as text_tokenizer
from osum.text.configs import PAPER, TemplateConfig
from osum.text.template import SulmTemplate
from osum.types import Example

ENCODED_S = 60
"""Seconds of audio that go through the encoder together: more is no faster, and its activations are large."""


@dataclass(frozen=True)
class _Heard:
    """An example whose audio is encoded."""

    number: int
    example: Example
    speech: Tensor
    """(S, H) at 12.5 Hz."""


class SpeechModel:
    """What turns audio into text; the log-mel features are `model.log_mel`."""

    def __init__(
        self,
        model: SpeechLLM,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Prompts,
        device: torch.device | str = "cpu",
        precision: Precision = "float32",
        template: TemplateConfig = PAPER,
    ) -> None:
        """Prompts and template are those of training; the first prompt of each task and language is used."""
        if precision == "bfloat16":
            halve(model.parameters())
        use_fastest_products(model.to(device))
        self.model, self.tokenizer, self.prompts = model.eval(), tokenizer, prompts
        self.device = torch.device(device)
        self._precision = precision
        self._template, self._speech_first = SulmTemplate(tokenizer, cfg=template), template.speech_first

    def decode(
        self,
        *audio: np.ndarray | str | Path,
        task: str = "asr",
        language: str = "en",
        prompt: str | None = None,
        cfg: DecodingConfig | None = None,
    ) -> list[str]:
        """Return what the model writes about each audio: arrays (num_samples,) at 16 kHz in [-1, 1], or files.

        `osum.tasks.get(task).parse` splits it into transcript and labels. The prompt is the one of evaluation unless
        given. ValueError for audio that is unreadable, under 25 ms or over 30 s, for an empty prompt, and for a task
        without prompts.
        """
        cfg = DecodingConfig() if cfg is None else cfg
        prompt = prompts_for(self.prompts, task, language)[0] if prompt is None else prompt
        if not prompt.strip():
            raise ValueError("the prompt is empty; say what the model shall do, or leave prompt out")
        heard = [samples_of(a, f"audio {number}") for number, a in enumerate(audio)]
        examples = [Example(str(n), task, language, prompt, "", samples) for n, samples in enumerate(heard)]
        texts = [""] * len(examples)
        buckets = length_buckets([len(samples) for samples in heard], cfg.max_batch_audio_s * SAMPLE_RATE_HZ)
        order = [n for bucket in buckets for n in bucket]
        for place, written in self.write(([examples[n] for n in bucket] for bucket in buckets), cfg):
            texts[order[place]] = self.text(written)
        return texts

    def embed(self, audio: Sequence[np.ndarray]) -> list[Tensor]:
        """Return the speech embeddings (S_i, H) at 12.5 Hz of utterances (num_samples,) float32 at 16 kHz."""
        found: dict[int, Tensor] = {}
        for bucket in length_buckets([len(samples) for samples in audio], ENCODED_S * SAMPLE_RATE_HZ):
            packed = torch.from_numpy(np.concatenate([audio[i] for i in bucket])).to(self.device)
            lens = torch.tensor([len(audio[i]) for i in bucket], device=self.device)
            with autocast(self.device, self._precision):
                found.update(zip(bucket, embed_each(self.model, packed, lens), strict=True))
        return [found[i] for i in range(len(audio))]

    def write(
        self,
        groups: Iterable[Sequence[Example]],
        cfg: DecodingConfig,
        limit_of: Callable[[Example], int] | None = None,
    ) -> Iterator[tuple[int, Generated]]:
        """Write about the audio of each example; yield the number of each, counted over all groups, when it ends.

        A group is drawn and its audio encoded when the first of it is to be written about. An array that several of
        them share is encoded once, and what begins alike is read once if it is begun together: texts of one task, which
        is why they are sorted, or those about one utterance, which should follow each other, where speech comes first.
        A text depends on nothing but its own example. It has at most `limit_of(example)` tokens; without that function,
        as many as `cfg` says.
        """
        limit_of = limit_of or (lambda example: cfg.limit(example.task))
        rules = StopRules(self.stop_ids(cfg), cfg.max_repeats)
        # Nothing here keeps a group, so that its audio is gone before the next is drawn.
        heard = chain.from_iterable(map(partial(self._hear, count()), groups))
        prefixes = ((of_text, limit_of(of_text.example)) for of_text in heard)
        begin = partial(self._begin, chooser(self.model.llm.lm_head))
        texts = generate_all(begin, prefixes, rules, cfg.batch_size, cfg.num_beams)
        while True:
            with autocast(self.device, self._precision):  # not around the yield: it would hold for the caller too
                ended = next(texts, None)
            if ended is None:
                return
            of_text, written = ended
            yield of_text.number, written

    def _hear(self, numbers: Iterator[int], group: Sequence[Example]) -> list[_Heard]:
        audio = {id(example.audio): example.audio for example in group}
        speech = dict(zip(audio, self.embed(list(audio.values())), strict=True))
        heard = [_Heard(next(numbers), example, speech[id(example.audio)]) for example in group]
        return heard if self._speech_first else sorted(heard, key=lambda h: (h.example.task, h.example.prompt))

    def _begin(self, choose: Callable[[Tensor], Tensor], batch: Sequence[_Heard]) -> Continuation:
        prefixes = collate_prefixes([heard.example for heard in batch], self._template).to(self.device)
        return start(self.model, prefixes, [heard.speech for heard in batch], choose)

    def text(self, written: Generated) -> str:
        """Return generated tokens as text."""
        return self._template.text(written.ids)

    def stop_ids(self, cfg: DecodingConfig) -> frozenset[int]:
        """Return the tokens that end a text. ValueError if the tokenizer does not have one of `stop_tokens`."""
        vocabulary = self.tokenizer.get_vocab() if cfg.stop_tokens else {}
        if unknown := [token for token in cfg.stop_tokens if token not in vocabulary]:
            raise ValueError(f"stop_tokens: {unknown} are no tokens of this tokenizer; leave them out")
        return frozenset([self._template.eos_id, *(vocabulary[token] for token in cfg.stop_tokens)])


def load(folder: Path | str, device: torch.device | str = "cpu", precision: Precision = "float32") -> SpeechModel:
    """Load an experiment, its `sulm` folder, or a converted model, also one for Hugging Face.

    In float32 LoRA is merged into the weights; in bfloat16 rounding them would cost what it learnt, so it stays.

    FileNotFoundError if there is no such model, ValueError naming the file that does not fit, or for a precision that
    is neither.
    """
    check_precision_name(precision, "precision")
    found = find_sulm(Path(folder))
    model, record = load_sulm(found, precision)
    if record.model.lora is not None and precision == "float32":
        take_lora_out(model.llm, merge=True)
    tokenizer = text_tokenizer.load(tokenizer_of(found))
    return SpeechModel(model, tokenizer, record.prompts, device, precision, record.template)
