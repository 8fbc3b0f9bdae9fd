"""Lhotse manifests of the embedded corpus."""

from pathlib import Path

from mini.plan import Spec
from mini.render import text_of
from mini.signal import SAMPLE_RATE_HZ

Row = tuple[Spec, int, tuple[tuple[str, float, float], ...]]
"""(what was planned, number of samples, words with start and end in seconds)."""


def write(rows: list[Row], out_dir: Path, final_dir: Path) -> None:
    """Write recordings.jsonl.gz and supervisions.jsonl.gz to `out_dir`; audio paths lie under `final_dir`."""
    # Lhotse takes seconds to import and brings torch along: not before the synthesiser processes were forked.
    from lhotse import RecordingSet, SupervisionSet

    recordings = RecordingSet.from_recordings(_recording(spec, n, final_dir) for spec, n, _ in rows)
    supervisions = SupervisionSet.from_segments(_supervision(*row) for row in rows)
    recordings.to_file(out_dir / "recordings.jsonl.gz")
    supervisions.to_file(out_dir / "supervisions.jsonl.gz")


def _recording(spec: Spec, num_samples: int, final_dir: Path) -> object:
    from lhotse import AudioSource, Recording

    path = final_dir / "audio" / spec.split / f"{spec.key}.flac"
    return Recording(
        id=spec.key,
        sources=[AudioSource(type="file", channels=[0], source=str(path))],
        sampling_rate=SAMPLE_RATE_HZ,
        num_samples=num_samples,
        duration=num_samples / SAMPLE_RATE_HZ,
    )


def _supervision(spec: Spec, num_samples: int, words: tuple[tuple[str, float, float], ...]) -> object:
    from lhotse import SupervisionSegment
    from lhotse.supervision import AlignmentItem

    sentence = spec.sentence
    labels = {
        "age": spec.voice.age if sentence else None,
        "emotion": spec.emotion,
        "style": sentence.style if sentence else None,
        "event": spec.event,
        "answer": sentence.answer if sentence else None,
        "question": sentence.question if sentence else None,
        "split": spec.split,
    }
    return SupervisionSegment(
        id=spec.key,
        recording_id=spec.key,
        start=0.0,
        duration=num_samples / SAMPLE_RATE_HZ,
        text=text_of(spec),
        language=spec.language if sentence else "und",
        speaker=spec.voice.name,
        gender=spec.voice.gender if sentence else None,
        custom={name: value for name, value in labels.items() if value is not None},
        alignment={"word": [AlignmentItem(w, s, round(e - s, 3)) for w, s, e in words]} if words else None,
    )
