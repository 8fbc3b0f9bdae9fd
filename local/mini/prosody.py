"""How it is said: emotion and style as settings of prosody relative to the voice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Emotion:
    """Prosody and voice quality of an emotion; the defaults are neutral."""

    f0_ratio: float = 1.0
    """Factor on the pitch."""
    range: int = 45
    """espeak-ng pitch range, 0 (monotone) to 99."""
    rate: float = 1.0
    """Factor on the speaking rate."""
    end_speed: float = 1.0
    """Pitch (and speed) of the last third relative to the rest: a rise above 1, a fall below."""
    tremor_hz: float = 0.0
    tremor_depth: float = 0.0
    """Relative pitch deviation; the amplitude dips by eight times as much."""
    creak_hz: float = 0.0
    """Rate of the amplitude pulses of a creaky voice; 0 is none."""
    drive: float = 0.0
    """Overdrive before clipping: a pressed, harsh voice; 0 is none."""
    tilt_db: float = 0.0
    """Gain at 4 kHz relative to that at 0 Hz, decibels."""
    comb_ms: float = 0.0
    """Delay of a feedback comb, the metallic voice of a robot; 0 is none."""


EMOTIONS = {
    "neutral": Emotion(),
    "happy": Emotion(f0_ratio=1.3, range=90, rate=1.15, tremor_hz=3.0, tremor_depth=0.14, tilt_db=16),
    "sad": Emotion(f0_ratio=0.82, range=8, rate=0.75, end_speed=0.75, tilt_db=-16),
    "anger": Emotion(f0_ratio=1.08, range=65, rate=1.1, drive=8.0, tilt_db=6),
    "fear": Emotion(f0_ratio=1.2, range=30, rate=1.1, tremor_hz=10.0, tremor_depth=0.18),
    "surprise": Emotion(f0_ratio=1.08, range=70, end_speed=1.7),
    "disgust": Emotion(f0_ratio=0.86, range=25, rate=0.82, creak_hz=35.0),
    "other": Emotion(range=0, comb_ms=7.0),
}


@dataclass(frozen=True)
class Style:
    """Rate and pauses of a style."""

    rate: float = 1.0
    word_gap: int = 0
    """Extra pause after each word, units of 10 ms at the synthesiser's default speed."""


STYLES = {
    "新闻科普": Style(rate=1.1),
    "恐怖故事": Style(rate=0.88, word_gap=2),
    "童话故事": Style(rate=0.96, word_gap=1),
    "客服": Style(rate=1.06),
    "诗歌散文": Style(rate=0.8, word_gap=4),
    "有声书": Style(rate=0.98),
    "日常口语": Style(rate=1.15),
    "其他": Style(rate=1.0, word_gap=3),
}
