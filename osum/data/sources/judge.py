"""From what a source says of an utterance to what training knows of one, or the reason why it can't be used.

Labels become canonical by the steps of the annotate stage; lengths come from the audio, never from what is said of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lhotse import MonoCut, SupervisionSegment

from osum import log
from osum.audio import io as audio_io
from osum.audio.frames import SAMPLE_RATE_HZ, WINDOW_SAMPLES
from osum.data.corpora import cuts
from osum.data.corpora.configs import FilterConfig
from osum.data.corpora.cuts import Unusable
from osum.data.corpora.label_maps import LabelMap
from osum.data.sources.entries import Found, Span
from osum.data.store.clips import WHOLE, Clip
from osum.data.store.shards import check_key
from osum.data.store.storage import Storage, is_remote
from osum.types import Utterance

MAX_AUDIO_BYTES = 2**32 - 1
END_SLACK_S = 0.05
"""An utterance may end so much after its audio file, for lists round times; it is cut back, seconds."""

logger = log.get(__name__)


@dataclass(frozen=True)
class Wanted:
    """What every utterance is judged by."""

    tasks: Sequence[str]
    filters: FilterConfig
    decode: bool
    """Decode all audio, not only its headers."""


@dataclass(frozen=True)
class Indexed:
    """An utterance and where its audio lies."""

    name: str
    """Key and place, for the ledger."""
    utterance: Utterance
    audio: Span
    clip: Clip


@dataclass(frozen=True)
class Judge:
    """Judges the utterances of one source."""

    corpus: str
    language: str
    """Of utterances that name none."""
    labels: LabelMap
    wanted: Wanted

    def __call__(self, found: Found, storage: Storage) -> Indexed:
        """Return the utterance as training will know it. Unusable with the reason why it is left out."""
        _check_key(found.key)
        clip, num_samples = _measured(found, storage, self.wanted.decode)
        _check_length(num_samples, self.wanted.filters)
        if isinstance(found.about, Utterance):
            if found.about.num_samples != num_samples:
                raise Unusable("audio does not have the length that its .json says")
            return Indexed(found.name, found.about, found.audio, clip)
        utterance = self._utterance(found.key, found.about, num_samples)
        return Indexed(found.name, utterance, found.audio, clip)

    def _utterance(self, key: str, raw: SupervisionSegment, num_samples: int) -> Utterance:
        language, duration_s = raw.language or self.language, num_samples / SAMPLE_RATE_HZ
        labelled = cuts.with_canonical_labels(replace(raw, language=language, duration=duration_s), self.labels)
        cleaned = cuts.with_clean_text(labelled, self.wanted.filters.strip_punctuation)
        checked = cuts.with_checked_words(cleaned)
        cut = MonoCut(key, 0.0, duration_s, 0, supervisions=[checked], custom={"corpus": self.corpus})
        utterance = replace(cuts.utterance(cuts.with_tasks(cut, self.wanted.tasks)), num_samples=num_samples)
        if not utterance.tasks:
            raise Unusable("serves none of the tasks", defect=False)
        return utterance


def _check_key(key: str) -> None:
    try:
        check_key(key)
    except ValueError:
        raise Unusable("key can't name a member of a shard (empty, absolute, '..' or control)") from None


def _check_length(num_samples: int, filters: FilterConfig) -> None:
    duration_s = num_samples / SAMPLE_RATE_HZ
    if duration_s < filters.min_duration_s or num_samples < WINDOW_SAMPLES:
        raise Unusable(f"shorter than {max(filters.min_duration_s, WINDOW_SAMPLES / SAMPLE_RATE_HZ)} s", defect=False)
    if duration_s > filters.max_duration_s or num_samples > audio_io.MAX_FILE_SAMPLES:
        raise Unusable(f"longer than {filters.max_duration_s} s", defect=False)


def _measured(found: Found, storage: Storage, decode: bool) -> tuple[Clip, int]:
    """Return the part of the file that there is, and its samples at 16 kHz. Unusable if the audio is damaged."""
    span = found.audio
    if span.size > MAX_AUDIO_BYTES:
        raise Unusable("audio file of 4 GiB or more")
    try:
        clip, num_samples, rate_hz = _part(found, storage)
        if decode:
            mono = "mix" if clip.channel is None else clip.channel
            source = _audio(span, storage)
            audio, rate_hz = audio_io.load(source, clip.start_s, clip.duration_s, mono, name=found.name)
            if len(audio) != num_samples:
                raise ValueError(f"{found.name}: has {len(audio)} samples, its header says {num_samples}")
    except ValueError as err:
        logger.warning("audio unreadable utterance=%s error=%s", found.name, " ".join(str(err).split())[:300])
        raise Unusable("unreadable_audio") from None
    except OSError as err:
        logger.warning("audio unreadable utterance=%s error=%s", found.name, err)
        raise Unusable(f"audio can't be opened ({type(err).__name__})") from None
    return clip, audio_io.resampled_length(num_samples, rate_hz)


def _part(found: Found, storage: Storage) -> tuple[Clip, int, int]:
    """Return the part of a file, its samples and their rate in Hz. Unusable if it lies outside."""
    clip, span = found.clip, found.audio
    num_samples, rate_hz = audio_io.length(_audio(span, storage), name=found.name)
    if clip == WHOLE:
        return clip, num_samples, rate_hz
    left_s = num_samples / rate_hz - clip.start_s
    wanted_s = left_s if clip.duration_s is None else clip.duration_s
    if left_s <= 0 or wanted_s > left_s + END_SLACK_S:
        raise Unusable("start and end do not lie inside the audio")
    part = replace(clip, duration_s=min(wanted_s, left_s))
    return part, round(part.duration_s * rate_hz), rate_hz


def _audio(span: Span, storage: Storage) -> audio_io.Source:
    """Return the audio to decode: all of it from a remote store, as it is asked for from a local file."""
    if is_remote(span.path):
        return storage.read(span.path, span.offset, span.size)
    return storage.open(span.path, span.offset, span.size)
