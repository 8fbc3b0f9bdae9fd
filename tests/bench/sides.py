"""The two sides of the training benchmark, each living in a process of its own: the baseline and our own step."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from baseline import Baseline, Ways
from batching import padded
from corpus import IdTokenizer, Spec
from torch import Tensor, nn

from osum.data.load.collate import collate
from osum.model.build import build_encoder, build_speech_llm
from osum.model.configs import AdaptorConfig, LlmSizes, LoraConfig, SpeechLlmConfig, WhisperSizes
from osum.model.precision import halve
from osum.model.speech_llm import SpeechLLM
from osum.text.template import SulmTemplate
from osum.train.compute import prepare
from osum.train.configs import ComputeConfig
from osum.train.flop import TrainingFlop, peak_flop_per_s
from osum.train.optim import OptimConfig, Optimizer

SEED = 1


@dataclass(frozen=True)
class Sizes:
    """What both sides are built from."""

    encoder: WhisperSizes
    adaptor: AdaptorConfig
    llm: LlmSizes
    vocab_size: int


def small(vocab_size: int) -> Sizes:
    """Encoder 6 x 512, the paper's adaptor, LLM 8 x 512."""
    encoder = WhisperSizes(d_model=512, encoder_layers=6, decoder_layers=1, num_heads=8, ffn_dim=2048)
    llm = LlmSizes(hidden_size=512, num_layers=8, num_heads=8, num_kv_heads=2, ffn_dim=2048)
    return Sizes(encoder, AdaptorConfig(), llm, vocab_size)


def tiny(vocab_size: int) -> Sizes:
    """A model of some 50,000 parameters, to try the benchmark itself."""
    encoder = WhisperSizes(
        d_model=16, encoder_layers=2, decoder_layers=1, num_heads=2, ffn_dim=32, n_mels=80, init_std=0.2
    )
    llm = LlmSizes(hidden_size=24, num_layers=2, num_heads=2, num_kv_heads=1, ffn_dim=32, init_std=0.2)
    return Sizes(encoder, AdaptorConfig(num_layers=2, num_heads=2, ffn_dim=32), llm, vocab_size)


def paper(vocab_size: int) -> Sizes:
    """Whisper-medium and Qwen2-7B."""
    encoder = WhisperSizes(d_model=1024, encoder_layers=24, decoder_layers=1, num_heads=16, ffn_dim=4096)
    llm = LlmSizes(hidden_size=3584, num_layers=28, num_heads=28, num_kv_heads=4, ffn_dim=18_944, tied=False)
    return Sizes(encoder, AdaptorConfig(), llm, vocab_size)


PRESETS = {"tiny": tiny, "small": small, "7b": paper}


@dataclass(frozen=True)
class Cost:
    """What one optimizer step took."""

    wall_s: float
    cpu_s: float
    """Processor time of the process: what the wall time is without load from others."""


@dataclass
class Side:
    """A model that is trained: the baseline where `ways` are given, ours otherwise.

    As in the original's last stage the encoder, the adaptor and LoRA are trained and the LLM's own weights are frozen.
    """

    sizes: Sizes
    ways: Ways | None
    compute: ComputeConfig
    """How our own step is computed."""
    device: str
    threads: int
    model: SpeechLLM = field(init=False)

    def __post_init__(self) -> None:
        torch.set_num_threads(self.threads)
        self.model = build(self.sizes, self.device)
        if self.ways is None:
            precision = "float32" if self.device == "cpu" else "bfloat16"
            prepare(self.model, precision, self.compute, torch.device(self.device))
        self._forward = self.model if self.ways is None else Baseline(self.model, self.ways)
        self._optimizer = Optimizer(self.model, OptimConfig())
        self._tokenizer = IdTokenizer(self.sizes.vocab_size)

    def check(self, batches: Sequence[Sequence[Spec]]) -> tuple[float, float]:
        """Without dropout or update: mean loss in nats a target token, and norm of the gradient of that mean."""
        self._forward.eval()
        num_tokens = _num_targets(batches)
        loss = sum(self._backward(batch, num_tokens) for batch in self._load(batches))
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), float("inf"))
        self.model.zero_grad()
        return loss, float(norm)

    def step(self, batches: Sequence[Sequence[Spec]]) -> Cost:
        """Make one optimizer step over accumulated batches; reading audio is not timed, features are."""
        self._forward.train()
        torch.manual_seed(SEED)
        loaded, num_tokens = list(self._load(batches)), _num_targets(batches)
        self._wait()
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        for batch in loaded:
            self._backward(batch, num_tokens)
        nn.utils.clip_grad_norm_(self.model.parameters(), 5.0)
        self._optimizer.step(1.0)
        self._wait()
        return Cost(time.perf_counter() - wall_s, time.process_time() - cpu_s)

    def profile(self, batches: Sequence[Sequence[Spec]]) -> str:
        """Return a table of what one optimizer step spends its time on."""
        from torch.profiler import ProfilerActivity, profile

        activities = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (self.device == "cuda")
        with profile(activities=activities, record_shapes=True) as found:
            self.step(batches)
        averages = found.key_averages(group_by_input_shape=True)
        return averages.table(sort_by=f"self_{self.device}_time_total", row_limit=40, max_shapes_column_width=70)

    def flop(self, specs: Sequence[Spec]) -> float:
        """Model FLOP of a training step without padding."""
        template = SulmTemplate(self._tokenizer)
        return TrainingFlop(self.model).of(collate([s.example() for s in specs], template))

    def peak_flop_per_s(self) -> float:
        """Peak of the device, NaN where it is not known."""
        return peak_flop_per_s(torch.device(self.device))

    def _load(self, batches: Sequence[Sequence[Spec]]) -> Iterator[object]:
        template = SulmTemplate(self._tokenizer)
        for batch in batches:
            if self.ways is None:
                yield collate([s.example() for s in batch], template).to(self.device)
            else:
                yield padded(batch, template.eos_id).to(self.device)

    def _backward(self, batch: object, num_tokens: int) -> float:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.device == "cuda"):
            loss = self._sum(batch) / num_tokens
        loss.backward()
        return float(loss.detach())

    def _sum(self, batch: object) -> Tensor:
        found = self._forward(batch)
        return found.weighted_nll if self.ways is None else found

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def build(sizes: Sizes, device: str) -> SpeechLLM:
    """Return the seeded model; on CUDA the LLM's frozen weights are bfloat16."""
    torch.manual_seed(SEED)
    cfg = SpeechLlmConfig(sizes.adaptor, sizes.llm, LoraConfig())
    with torch.device(device):
        model = build_speech_llm(cfg, build_encoder(sizes.encoder), sizes.vocab_size, sizes.vocab_size - 1, 0)
    if device == "cuda":
        halve(p for p in model.llm.parameters() if not p.requires_grad)
        model = model.to(device)
        torch.cuda.reset_peak_memory_stats()  # building in float32 took more than training will
    return model


def _num_targets(batches: Sequence[Sequence[Spec]]) -> int:
    return sum(len(s.target_ids) + 1 for batch in batches for s in batch)
