"""How models are trained, and on what. Nothing here needs torch, so that a stage can read its options without it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from osum import tasks
from osum.audio.augment import SpecAugmentConfig
from osum.data.load.augment_config import AugmentConfig
from osum.data.plan.config import PlanConfig
from osum.model.configs import check_precision_name


@dataclass
class OptimConfig:
    """AdamW with warm-up; the defaults are the original's but for `eps`, which it has at 1e-6."""

    lr: float = 5e-5
    """Peak learning rate."""
    betas: tuple[float, float] = (0.9, 0.99)
    """Decay rates of Adam's two moments."""
    eps: float = 1e-8
    """What is added to the root of the second moment."""
    weight_decay: float = 0.01
    """Decoupled weight decay of matrices; norms and biases have none."""
    max_grad_norm: float = 5.0
    """Gradients are scaled down to this norm."""
    warmup_steps: int = 8000
    """Steps of linear warm-up."""
    schedule: Literal["inverse_sqrt", "cosine"] = "inverse_sqrt"
    """After warm-up: step^-0.5 (WeNet's warmuplr), or a cosine to `final_lr_share` at the last step."""
    final_lr_share: float = 0.02
    """Where the cosine ends, as a share of the peak."""
    muon_lr: float | None = None
    """Peak learning rate of Muon on hidden weight matrices (AdamW keeps the rest); null trains all with AdamW."""
    lr_scales: dict[str, float] = field(default_factory=dict)
    """Regular expression over parameter names -> factor on the learning rate; the first match counts."""

    def __post_init__(self) -> None:
        """Check ranges. ValueError naming the field."""
        positive = {"lr": self.lr, "muon_lr": self.muon_lr or 1.0, "max_grad_norm": self.max_grad_norm, "eps": self.eps}
        for name, value in {**positive, "warmup_steps": self.warmup_steps}.items():
            if value <= 0:
                raise ValueError(f"optim.{name} is {value}; it must be positive")


Parallel = Literal["ddp", "fsdp"]


@dataclass
class ComputeConfig:
    """What a training step trades; none of it changes what is computed, but for rounding."""

    recompute: list[str] = field(default_factory=list)
    """Parts (encoder, adaptor, decoder, llm) whose layers keep no activations, but compute them twice."""
    compile: list[str] = field(default_factory=list)
    """Parts whose layers torch.compile translates; needs a C++ compiler, and minutes at the start."""
    parallel: Parallel = "ddp"
    """Of several processes, each has the whole model (ddp), or a shard of every parameter (fsdp, torch's FSDP2)."""
    share_prompts: bool = False
    """Compute equal prompts of a pack once in the language model; LoRA's dropout then draws once for all of them."""


@dataclass
class PhaseConfig:
    """A stretch of training in which only some of what is trained moves."""

    start_step: int = 0
    """The first step of the phase, counted from 0; it ends where the next one starts."""
    train: list[str] = field(default_factory=lambda: [""])
    """Regular expressions over names of trained parameters: what moves. The empty one matches all."""
    warmup_steps: int = 0
    """Steps of linear warm-up from 0 at the start of the phase, on top of the schedule."""


@dataclass
class TrainConfig:
    """How a model is trained."""

    max_steps: int = 100_000
    """Optimizer steps in all."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """AdamW and its schedule."""
    phases: list[PhaseConfig] = field(default_factory=list)
    """Staged unfreezing, in the order of steps; empty: all that `model.freeze` leaves is trained from the start."""
    ctc_weight: float = 0.0
    """Weight of the auxiliary CTC loss (nats a unit) beside the token loss (nats a token); 0 builds no CTC head."""
    tag_weight: float = 1.0
    """Weight in the token loss of what follows the transcript (tags, answers); 1 is the paper's."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of matrix products; bfloat16 also halves frozen matrices, while what is trained stays float32."""
    spec_augment: SpecAugmentConfig | None = field(default_factory=SpecAugmentConfig)
    """Masks on the features; null for none."""
    compute: ComputeConfig = field(default_factory=ComputeConfig)
    """Activation checkpointing and compilation."""
    seed: int = 777
    """Of everything that is drawn."""
    log_every: int = 50
    """Steps between two lines of metrics."""
    valid_every: int = 2000
    """Steps between two validations."""
    num_valid_examples: int = 1
    """Utterances of each task about which the model writes at each validation, into `examples.jsonl`; 0 for none."""
    save_every: int = 1000
    """Steps between two checkpoints."""
    keep_checkpoints: int = 2
    """How many of the last checkpoints stay on disk; > 0."""
    keep_best: dict[str, int] = field(default_factory=dict)
    """Metric of the dev set -> how many of its best checkpoints stay as well; if any, each validation saves one."""

    peak_tflops: float | None = None
    """Peak of a device in TFLOP a second, for the MFU; null takes that of the GPU's name, or reports none."""
    tensorboard: bool = False
    """Write the metrics to `tensorboard/` as well; needs the package of that name."""
    stall_timeout_s: float = 480.0
    """Seconds without progress after which a run writes the stacks of its threads to `stalls/` and ends; 0 for never.
    Below `EXCHANGE_TIMEOUT_S` of osum/dist.py, after which an exchange itself gives up."""

    def __post_init__(self) -> None:
        """Check ranges. ValueError naming the field."""
        starts = [phase.start_step for phase in self.phases]
        if starts and (starts[0] != 0 or sorted(set(starts)) != starts):
            raise ValueError(
                f"train.phases start at {starts}; the first must start at 0, each other after the one before"
            )
        if self.stall_timeout_s < 0:
            raise ValueError(f"train.stall_timeout_s is {self.stall_timeout_s}; it must not be negative")
        if self.num_valid_examples < 0:
            raise ValueError(f"train.num_valid_examples is {self.num_valid_examples}; it must not be negative")
        if self.peak_tflops is not None and self.peak_tflops <= 0:
            raise ValueError(f"train.peak_tflops is {self.peak_tflops}; it must be positive, or null")
        for name in ("max_steps", "log_every", "valid_every", "save_every", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise ValueError(f"train.{name} is {getattr(self, name)}; it must be at least 1")
        for metric, count in self.keep_best.items():
            if count < 1:
                raise ValueError(f"train.keep_best.{metric} is {count}; it must be at least 1")
        check_precision_name(self.precision, "train.precision")


@dataclass
class CorpusConfig:
    """What is trained on, and how it is batched."""

    tasks: list[str] = field(default_factory=lambda: list(tasks.names()))
    """Tasks to train: single (`ser`), combined (`sap+sgc`), tag-only (`only:ved`)."""
    prompts_dir: Path | None = None
    """Folder of prompts; null for osum's own."""
    plan: PlanConfig = field(default_factory=PlanConfig)
    """Mixing and packing, and the speed of the audio."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """Reverberation, noise and volume in training; its lists decide the result, and are compared as other inputs."""
    max_defect_rate: float = 0.01
    """Share of an epoch's utterances that may be unreadable (ten always may), 0 to 1; half of them stop it at once."""
    max_valid_utts: int = 500
    """Utterances of the dev set that validation uses, spread evenly."""
    num_workers: int = 0
    """Loader processes per rank; their number changes no result."""

    def __post_init__(self) -> None:
        """ValueError for a share that is none."""
        if not 0 <= self.max_defect_rate <= 1:
            raise ValueError(f"data.max_defect_rate is {self.max_defect_rate}; it must lie between 0 and 1")
