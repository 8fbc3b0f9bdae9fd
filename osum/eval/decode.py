"""From shards and a model to hypotheses: each audio is read and encoded once for all tasks that ask for it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from osum import log, tasks
from osum.audio.frames import MAX_SAMPLES, SAMPLE_RATE_HZ, WINDOW_SAMPLES
from osum.data.drops import Drops
from osum.data.examples import Dropped, Prompts, compose, why_unread
from osum.data.store.index import Index
from osum.data.store.storage import StalledError
from osum.eval.buckets import length_buckets
from osum.eval.configs import DecodingConfig
from osum.eval.hypotheses import Hypothesis
from osum.eval.requests import Request
from osum.eval.speech_model import SpeechModel
from osum.model.ending import Generated
from osum.types import Example, Utterance


@dataclass(frozen=True)
class Job:
    """A request that can be answered, with what its hypothesis says besides the text."""

    number: int
    """Place of the request among all."""
    request: Request
    prompt: str
    utterance: Utterance
    """The reference."""


class Decoder:
    """A model that answers the requests of a test set."""

    def __init__(self, speech_model: SpeechModel, cfg: DecodingConfig) -> None:
        self._speech_model, self._cfg = speech_model, cfg

    def decode(self, index: Index, requests: Sequence[Request], drops: Drops) -> list[Hypothesis | None]:
        """Return the hypothesis of each request, None for what is left out and counted in `drops`.

        That is damaged utterances, and those shorter than a window or longer than Whisper's 30 s.
        """
        asking: dict[int, list[int]] = {}
        for number, request in enumerate(requests):
            asking.setdefault(request.audio_row, []).append(number)
        rows = list(asking)
        lens = [int(index.rows[row]["num_samples"]) for row in rows]
        budget = self._cfg.max_batch_audio_s * SAMPLE_RATE_HZ
        found: list[Hypothesis | None] = [None] * len(requests)
        jobs: list[Job] = []

        def read(bucket: Sequence[int]) -> list[Example]:
            numbers = [number for i in bucket for number in asking[rows[i]]]
            answered = prepare(index, [(n, requests[n]) for n in numbers], self._speech_model.prompts, drops)
            bar.update(len(numbers) - len(answered))
            jobs.extend(job for job, _ in answered)
            return [example for _, example in answered]

        with log.progress(total=len(requests), desc="decode", unit="hyp") as bar:
            for place, written in self._speech_model.write(map(read, length_buckets(lens, budget)), self._cfg):
                job = jobs[place]
                found[job.number] = self._hypothesis(job, written, index.key(job.request.audio_row), drops)
                bar.update()
        return found

    def _hypothesis(self, job: Job, written: Generated, audio_key: str, drops: Drops) -> Hypothesis:
        if written.repeated:
            drops.note("repeated", job.utterance.key)
        return Hypothesis(
            key=job.utterance.key,
            task=job.request.task,
            prompt=job.prompt,
            hypothesis=self._speech_model.text(written),
            utterance=job.utterance,
            audio_key=audio_key,
            num_tokens=len(written.ids),
            truncated=written.truncated,
            repeated=written.repeated,
        )


def prepare(
    index: Index, asked: Iterable[tuple[int, Request]], prompts: Prompts, drops: Drops
) -> list[tuple[Job, Example]]:
    """Read what numbered requests need, each audio once; return those that can be answered."""
    audio: dict[int, np.ndarray | str] = {}
    answered = []
    for number, request in asked:
        drops.read += 1
        if request.audio_row not in audio:
            audio[request.audio_row] = _read(index, request.audio_row)
        made = _job(index, number, request, audio[request.audio_row], prompts)
        if isinstance(made, Dropped):
            reason = made.reason.split(":")[0]
            drops.add(reason, made.key, defect=reason not in ("too_short", "too_long"))
        else:
            drops.used += 1
            answered.append(made)
    return answered


def _read(index: Index, row: int) -> np.ndarray | str:
    """Return the audio of a row, or why there is none."""
    try:
        return index.audio(row)
    except (ValueError, StalledError) as err:
        return why_unread(err)


def _job(
    index: Index, number: int, request: Request, audio: np.ndarray | str, prompts: Prompts
) -> tuple[Job, Example] | Dropped:
    row, task, _ = request
    try:
        utterance = index.utterance(row)
    except (ValueError, StalledError) as err:
        return Dropped(index.key(row), task, why_unread(err))
    if isinstance(audio, str):
        return Dropped(utterance.key, task, audio)
    if not WINDOW_SAMPLES <= len(audio) <= MAX_SAMPLES:
        return Dropped(utterance.key, task, "too_short" if len(audio) < WINDOW_SAMPLES else "too_long")
    example = compose(utterance, audio, task, {task: tasks.get(task)}, prompts)
    if isinstance(example, Dropped):
        return example
    return Job(number, request, example.prompt, utterance), example
