"""espeak-ng through ctypes: text in, 16-bit speech and word onsets out.

espeak-ng is GPL-3 software. It is used at arm's length: an optional package, loaded at run time to make data; osum
itself neither contains nor needs it.

Its sound depends on all that it has said before (phases and noise live in globals): two runs give the same samples only
from a fresh process on.
"""

import ctypes
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_SYNCHRONOUS = 2
_RATE, _VOLUME, _PITCH, _RANGE, _WORDGAP = 1, 2, 3, 4, 7
_UTF8 = 1
_LIST_END, _WORD, _END = 0, 1, 5
_INSTALL = "the embedded corpus needs the espeak-ng synthesiser (GPL, optional): pip install 'osum[mini]'"


class _EventId(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Speech:
    """What one call of the synthesiser gives."""

    audio: np.ndarray
    """(num_samples,) float32 in [-1, 1] at `sample_rate_hz`."""
    sample_rate_hz: int
    """Rate of `audio`, hertz (22050 with the stock data)."""
    words: tuple[tuple[int, int, float], ...]
    """(first character, number of characters, onset in seconds) per word event; characters count from 0 in the text."""
    end_s: float
    """End of the last phoneme, seconds."""


class Espeak:
    """One synthesiser per process: the library keeps its state in globals."""

    def __init__(self) -> None:
        """ValueError with the remedy if espeakng_loader is not installed or broken."""
        try:
            import espeakng_loader
        except ImportError as error:
            raise ValueError(_INSTALL) from error
        self._lib = ctypes.CDLL(espeakng_loader.get_library_path())
        data = Path(espeakng_loader.get_data_path())
        self.sample_rate_hz = self._lib.espeak_Initialize(_SYNCHRONOUS, 0, str(data.parent).encode(), 0)
        if self.sample_rate_hz <= 0:
            raise ValueError(f"{data}: espeak-ng can't read its data; pip install --force-reinstall espeakng-loader")
        self._lib.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._callback = _CALLBACK(self._receive)
        self._lib.espeak_SetSynthCallback(self._callback)
        self._chunks: list[np.ndarray] = []
        self._words: list[tuple[int, int, float]] = []
        self._end_s = 0.0

    def _receive(self, samples: object, num_samples: int, events: object) -> int:
        if samples and num_samples > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (num_samples,)).copy())
        i = 0
        while events[i].type != _LIST_END:
            event = events[i]
            if event.type == _WORD:
                self._words.append((event.text_position - 1, event.length, event.audio_position / 1000))
            elif event.type == _END:
                self._end_s = event.audio_position / 1000
            i += 1
        return 0

    def speak(
        self, text: str, voice: str, *, rate_wpm: int, pitch: int, pitch_range: int, volume: int, word_gap: int
    ) -> Speech:
        """Synthesise `text` with an espeak voice such as `en-us+f2` or `cmn+m3`.

        `rate_wpm` is 80 to 450 words per minute; `pitch` and `pitch_range` are 0 to 99; `volume` is 0 to 200;
        `word_gap` is an extra pause between words in units of 10 ms. ValueError if the voice does not exist.
        """
        if self._lib.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}; list them with `espeak-ng --voices=variant`")
        settings = {_RATE: rate_wpm, _PITCH: pitch, _RANGE: pitch_range, _VOLUME: volume, _WORDGAP: word_gap}
        for parameter, value in settings.items():
            self._lib.espeak_SetParameter(parameter, int(value), 0)
        self._chunks, self._words, self._end_s = [], [], 0.0
        raw = text.encode()
        self._lib.espeak_Synth(raw, ctypes.c_size_t(len(raw) + 1), 0, 1, 0, _UTF8, None, None)
        audio = np.concatenate(self._chunks).astype(np.float32) / 32768 if self._chunks else np.zeros(0, np.float32)
        return Speech(audio, self.sample_rate_hz, tuple(self._words), self._end_s)
