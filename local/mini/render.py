"""From a plan to sound: synthesis, voice and emotion, event, trimming, noise and gain, with true word times."""

from dataclasses import dataclass

import numpy as np

from mini import signal
from mini.espeak import Espeak, Speech
from mini.events import make_event
from mini.plan import Spec
from mini.prosody import EMOTIONS, STYLES, Emotion, Style
from mini.signal import SAMPLE_RATE_HZ
from mini.texts import transcript, unit_spans
from mini.voices import Voice
from osum.rng import rng_for

_ESPEAK_VOICE = {"en": "en-us", "zh": "cmn"}
_BASE_RATE_WPM = {"en": 212, "zh": 235}
_PITCH_STEPS_PER_OCTAVE = 68
"""Measured over the variants in use, near the middle of espeak-ng's pitch scale."""
_PAUSE_DB, _PAUSE_S = -31, 0.06
"""What counts as a pause after a word: this far below the loudest part, for this long."""
_SHORT_PAUSE_S, _LONG_PAUSE_S = (0.05, 0.15), (0.3, 1.0)
"""What follows the last sound, most often and now and then."""
_GAP_S = {"after": (0.2, 0.5), "inside": (0.05, 0.15)}
"""Between speech and an event, by its place: after the last word nothing else tells that what follows is no speech."""
_SPEECH_RMS = 0.06
_PEAK = 0.9


@dataclass(frozen=True)
class Rendered:
    """A finished utterance."""

    spec: Spec
    audio: np.ndarray
    """(num_samples,) int16 at 16 kHz."""
    words: tuple[tuple[str, float, float], ...]
    """(word or Han character, start in s, end in s)."""


def render(spec: Spec, espeak: Espeak, seed: int) -> Rendered:
    """Make the sound of an utterance."""
    rng = rng_for(seed, "render", spec.key)
    event = _event(spec, rng) if spec.event else np.zeros(0)
    if spec.sentence is None:
        audio, starts, ends = event, np.zeros(0), np.zeros(0)
    else:
        speech, starts, ends = _speech(spec, espeak, rng)
        audio, starts, ends = _place_event(speech, starts, ends, event, spec.event_place, rng)
    audio, lead_s = _pad(audio, rng)
    pcm = _finish(audio, rng)
    times = [(round(float(s) + lead_s, 3), round(float(e) + lead_s, 3)) for s, e in zip(starts, ends, strict=True)]
    units = [] if spec.sentence is None else [spec.sentence.spoken[a:b] for a, b in _spans(spec)]
    return Rendered(spec, pcm, tuple((unit, *time) for unit, time in zip(units, times, strict=True)))


def text_of(spec: Spec) -> str:
    """Return the transcript; "" for a clip without speech."""
    return "" if spec.sentence is None else transcript(spec.sentence.spoken, spec.language)


def _spans(spec: Spec) -> list[tuple[int, int]]:
    return unit_spans(spec.sentence.spoken, spec.language)


def _speech(spec: Spec, espeak: Espeak, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return trimmed 16 kHz speech at a fixed level, and starts and ends of its words in seconds."""
    emotion = EMOTIONS[spec.emotion or "neutral"]
    style = STYLES[spec.sentence.style] if spec.sentence.style else Style()
    raw = _synthesise(spec, emotion, style, espeak, rng)
    onsets = _onsets(raw, _spans(spec))
    phase = float(rng.uniform(0, 2 * np.pi))
    tremors = [(t.tremor_hz, t.tremor_depth, phase) for t in (spec.voice, emotion) if t.tremor_depth > 0]
    speed = signal.speed_curve(
        len(raw.audio), raw.sample_rate_hz, tract=spec.voice.tract, end_speed=emotion.end_speed, tremors=tremors
    )
    audio, times = signal.warp(raw.audio, raw.sample_rate_hz, speed, np.append(onsets, raw.end_s))
    begin, end = signal.speech_bounds(audio)
    starts, ends = _word_bounds(audio, times, begin, end)
    audio = _colour(audio, spec.voice, emotion, phase, rng)[begin:end]
    begin_s = begin / SAMPLE_RATE_HZ
    return audio * _SPEECH_RMS / np.sqrt(np.mean(audio**2)), starts - begin_s, ends - begin_s


def _synthesise(spec: Spec, emotion: Emotion, style: Style, espeak: Espeak, rng: np.random.Generator) -> Speech:
    voice = spec.voice
    rate = voice.rate * emotion.rate * style.rate / voice.tract * rng.uniform(0.95, 1.05)
    f0_ratio = voice.f0_ratio * emotion.f0_ratio * rng.uniform(0.97, 1.03)
    return espeak.speak(
        spec.sentence.spoken,
        f"{_ESPEAK_VOICE[spec.language]}+{voice.variant}",
        rate_wpm=int(np.clip(rate * _BASE_RATE_WPM[spec.language], 80, 450)),
        pitch=int(np.clip(50 + _PITCH_STEPS_PER_OCTAVE * np.log2(f0_ratio), 0, 99)),
        pitch_range=int(np.clip(emotion.range + rng.integers(-4, 5), 0, 99)),
        volume=50,
        word_gap=style.word_gap,
    )


def _onsets(raw: Speech, spans: list[tuple[int, int]]) -> np.ndarray:
    """Return (num_words,) onsets in seconds; a word without an event of its own shares its neighbours' time evenly."""
    known: dict[int, float] = {}
    for first, _, onset_s in raw.words:
        index = next((i for i, (a, b) in enumerate(spans) if a <= first < b), None)
        if index is not None and index not in known:
            known[index] = onset_s
    known.setdefault(0, 0.0)
    places = sorted(known)
    return np.interp(np.arange(len(spans)), [*places, len(spans)], [*(known[i] for i in places), raw.end_s])


def _word_bounds(audio: np.ndarray, times: np.ndarray, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Return starts and ends in seconds: a word ends where the next begins, or where the sound stops before a pause."""
    times = np.clip(times, begin / SAMPLE_RATE_HZ, end / SAMPLE_RATE_HZ)
    starts, ends = times[:-1].copy(), times[1:].copy()
    ends[-1] = end / SAMPLE_RATE_HZ
    level = signal.envelope(audio)
    floor = level.max() * 10 ** (_PAUSE_DB / 20)
    for i, (start, stop) in enumerate(zip(starts, ends, strict=True)):
        # The next word may sound some milliseconds before its event, and the level looks 10 ms ahead.
        own = level[int(start * SAMPLE_RATE_HZ) : int((stop - 0.02) * SAMPLE_RATE_HZ)]
        loud = np.flatnonzero(own > floor)
        if len(loud) and stop - start - loud[-1] / SAMPLE_RATE_HZ > _PAUSE_S:
            ends[i] = start + loud[-1] / SAMPLE_RATE_HZ
    return starts, ends


def _colour(audio: np.ndarray, voice: Voice, emotion: Emotion, phase: float, rng: np.random.Generator) -> np.ndarray:
    """Apply what does not move time: tremor and creak of the amplitude, harshness, echo, tilt, breath."""
    for source in (voice, emotion):
        if source.tremor_depth > 0:
            audio = signal.tremble(audio, source.tremor_hz, min(1.0, 8 * source.tremor_depth), phase)
    if emotion.creak_hz > 0:
        audio = signal.creak(audio, emotion.creak_hz * rng.uniform(0.93, 1.07), phase)
    if emotion.drive > 0:
        audio = signal.overdrive(audio, emotion.drive)
    if emotion.comb_ms > 0:
        audio = signal.comb(audio, emotion.comb_ms)
    if voice.breath > 0:
        breath = np.diff(rng.standard_normal(len(audio) + 1))
        audio = audio + breath * voice.breath * signal.envelope(audio, 0.06)
    return signal.tilt(audio, voice.tilt_db + emotion.tilt_db)


def _event(spec: Spec, rng: np.random.Generator) -> np.ndarray:
    pitch = {"male": 1.0, "female": 1.6}[spec.voice.gender] * {"child": 1.5, "adult": 1.0, "old": 0.95}[spec.voice.age]
    audio = make_event(spec.event, pitch, rng)
    level_db = rng.uniform(-1, 5)
    return audio / np.sqrt(np.mean(audio**2)) * _SPEECH_RMS * 10 ** (level_db / 20)


def _place_event(
    speech: np.ndarray, starts: np.ndarray, ends: np.ndarray, event: np.ndarray, place: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put the event after the speech, or between two of its words, with a short gap on each side."""
    if not len(event):
        return speech, starts, ends
    place = place if len(starts) > 1 else "after"
    gap = np.zeros(int(rng.uniform(*_GAP_S[place]) * SAMPLE_RATE_HZ))
    if place == "after":
        return np.concatenate([speech, gap, event]), starts, ends
    word = int(rng.integers(1, len(starts)))
    cut = int(starts[word] * SAMPLE_RATE_HZ)
    inserted = np.concatenate([gap, event, gap])
    shift_s = len(inserted) / SAMPLE_RATE_HZ
    later = np.arange(len(starts)) >= word
    return np.concatenate([speech[:cut], inserted, speech[cut:]]), starts + later * shift_s, ends + later * shift_s


def _pad(audio: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    # Speech that always began at once would teach the times of the first words without listening; speech that always
    # lasted to the end, those of all words: they could be stretched over the length of the clip.
    lead_s, trail_s = rng.uniform(0.05, 0.35), rng.uniform(*_LONG_PAUSE_S if rng.random() < 0.3 else _SHORT_PAUSE_S)
    lead, trail = (int(pause_s * SAMPLE_RATE_HZ) for pause_s in (lead_s, trail_s))
    return np.pad(audio, (lead, trail)), lead / SAMPLE_RATE_HZ


def _finish(audio: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add noise at 25 to 40 dB, change the gain by up to 6 dB, never clip; returns int16."""
    noise = signal.colored_noise(len(audio), str(rng.choice(["white", "pink", "babble"])), rng)
    level = np.sqrt(np.mean(audio**2))
    audio = audio + noise * level * 10 ** (-rng.uniform(25, 40) / 20)
    audio = audio * 10 ** (rng.uniform(-6, 6) / 20)
    audio = audio * min(1.0, _PEAK / np.abs(audio).max())
    return np.round(audio * 32767).astype(np.int16)
