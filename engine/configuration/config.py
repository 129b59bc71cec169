"""The configuration: what a YAML file may say, as types."""

from __future__ import annotations

import re
from io import StringIO
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    create_model,
    model_validator,
)
from pydantic_core import PydanticCustomError
from ruamel.yaml import YAML

import datasets
import models
import segloss

from .named import Strict, nulls_in, one_of
from .optim import OPTIMIZERS, SCHEDULES

Side = Annotated[int, Field(ge=1, le=2**15)]


class SplitSection(Strict):
    """How cases are divided into training, validation and test; see `datasets.splits`."""

    kind: str


class NormaliseSection(Strict):
    """What an image is scaled by; see `datasets.normalise`."""

    name: str


class SamplerSection(Strict):
    """Which training images an epoch shows; see `datasets.samplers`."""

    name: str


class AugmentSection(Strict):
    """One transform of albumentations, with its own parameters."""

    model_config = ConfigDict(extra="allow")

    name: str
    """The transform's class in albumentations, such as `HorizontalFlip`."""


class MarginSection(Strict):
    """Slices with foreground and some around them."""

    margin: Annotated[int, Field(ge=0)]
    """Slices kept before and after each slice that holds foreground."""


class ExcludeSection(Strict):
    """Cases that are left out."""

    case: str
    """A case's id, or a pattern on it with `*`, `?` and `[…]`."""
    reason: str | None = None
    """Why, for whoever reads the run's `config.yaml`."""


class ImbalanceSection(Strict):
    """A training part that is cut to a long tail or a step; see `datasets.Imbalance`."""

    kind: Literal["long_tail", "step"]
    """Of C classes class i keeps n · factor^(−i/(C−1)) pictures, or the first half n and the others n/factor."""
    factor: Annotated[float, Field(ge=1)]
    """Pictures of the largest class over those of the smallest."""
    rarest: Literal["last", "first"] = "last"
    """Whether the last class is the rarest, or the first."""
    largest: Annotated[int, Field(ge=1)] | None = None
    """n, the training pictures of the largest class; null for all of the class that has most."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of the draw; not of the training."""


Millimetres = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class DataSection(Strict):
    """A data set, and how it is divided, loaded and augmented."""

    name: str
    size: Annotated[tuple[Side, Side], Field(strict=False)] | None = None
    """[height, width] of the network's grid; null for each image's own."""
    spacing: (
        Annotated[tuple[Millimetres | None, Millimetres | None, Millimetres | None], Field(strict=False)] | None
    ) = None
    """Volumes: resample to [slices, rows, columns] millimetres, null entries keep the scan's own; predictions are
    brought back to the scan's grid."""
    slices: Literal["all", "foreground"] | MarginSection = "all"
    """Volumes: which slices are trained on; every slice of a held-out scan is predicted and scored."""
    context: Annotated[int, Field(ge=0, le=16)] = 0
    """Volumes: neighbouring slices on each side that the network sees as further channels (2.5D)."""
    workers: Annotated[int, Field(ge=0, le=128)] = 2
    """Processes that load; what they load does not depend on their number."""
    split: SplitSection
    """How cases are divided into training, validation and test part: always whole groups."""
    group: str | None = None
    """A pattern on the case id that names its group, `case` to make every case its own, null for the data set's."""
    exclude: list[ExcludeSection] = Field(default=[])
    """Cases that are left out: a list of ids, of patterns with `*`, or of `{case: pattern, reason: text}`."""
    labelled: str | dict[str, list[str]] = Field(default={})
    """Cases that were labelled for some classes alone: by id, or by a pattern with `*`, the names of these classes; or
    a CSV file with the columns `case` and `classes`, these with `;` between them. Other cases were labelled for all."""
    regions: dict[str, list[int | str]] = Field(default={})
    """Overlapping regions, each of some classes, by their names or mask values, larger regions first: the network gives
    one logit a region, and regions are scored in place of classes. Empty: the classes themselves, one a pixel."""
    imbalance: ImbalanceSection | None = None
    """Pictures with one label: cut the training part to a long tail or a step; null to leave it as it is."""
    sampler: SamplerSection | None = None
    """Which training images an epoch shows, a plain name or with options; null for every image once."""
    augment: list[AugmentSection] = Field(default=[])
    """Transforms of albumentations, in order."""
    resident: Literal["auto"] | bool = False
    """Hold the decoded images in the memory of the device and gather and augment whole batches there, by the same names
    and parameters; `auto`: on a GPU where every transform has a device form and the data take at most a quarter of its
    memory."""
    normalise: NormaliseSection | None = None
    """What an image is scaled by; null for the data set's own: ImageNet's mean and deviation for RGB stills,
    percentiles of the case for scans."""
    cache: str | None = None
    """The folder of the decoded cases; null for `<output>/.cache`."""


class AcwSection(Strict):
    """The adaptive class-weight layer."""

    init: float | list[float] = 1.0
    """The first weight, one number or one a class."""
    constraint: Literal["none", "positive"] = "none"
    """`positive`: the weights are exp(v), v learnt."""


class ModelSection(Strict):
    """A network."""

    name: str
    acw: bool | AcwSection | None = None
    """Put an adaptive class-weight layer before softmax: true, or its options."""
    head: models.Head = "linear"
    """The last layer: `linear`, or `cosine` for the cosine of features and class vectors, as `ldam` wants it."""
    head_bias: models.HeadBias | None = None
    """Where the bias of a linear head starts: `zero`, `prior` for −log((1−π)/π) with π = 1/C, as the sigmoid losses
    want it; null for the network's own way."""
    pretrained: str | None = None
    """`imagenet` for published weights of the encoder, a .safetensors file of the encoder's or the whole network's
    weights, null for random ones."""
    init_from: str | None = None
    """Start from the weights of another run: its folder, for its best checkpoint, or a checkpoint."""
    gradient_checkpointing: bool = False
    """Compute the stages of `resenc_unet`, or of an encoder of timm, again in the backward pass: less memory, more
    time, the same gradient."""


NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_ENDS: dict[str, Any] = {  # `from` is no name that a class body can give a field
    "from": (NotNegative, Field(description="In the first epoch.")),
    "to": (NotNegative, Field(description="In the last epoch of `train.epochs`.")),
}
RampSection = create_model(
    "RampSection",
    __base__=Strict,
    __doc__="A weight that goes in equal steps from one value in the first epoch to another in the last.",
    __cls_kwargs__={"use_attribute_docstrings": False},
    **_ENDS,
)


class LossSection(Strict):
    """A loss, or one of a weighted sum."""

    name: str
    weight: NotNegative | RampSection = 1.0
    """Its weight in the sum; `{from: 0.01, to: 1}` follows the epochs."""


def _like(pattern: str, meaning: str) -> AfterValidator:
    """Text of a pattern; `meaning` completes the sentence "must be …"."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise PydanticCustomError("pattern", "must be {meaning}", {"meaning": meaning})
        return text

    return AfterValidator(check)


class ScheduleSection(Strict):
    """How the learning rate changes."""

    name: str
    warmup: Annotated[int, Field(ge=0)] | Annotated[str, _like(r"\d+ epochs?", "such as 5 epochs")] = 0
    """Steps, or `5 epochs`, over which the learning rate rises linearly before the schedule has its way."""


class OptimSection(Strict):
    """An optimizer and its schedule."""

    name: str
    schedule: ScheduleSection | None = None
    """How the learning rate changes; null for a constant one."""
    decay: models.Decay = "kernels"
    """What weight decay pulls at: `kernels` and matrices, `all` parameters, or `all_but_head_bias`, all but the bias of
    the last layer; never at the weights of an adaptive class-weight layer."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] | None = None
    """The learning rate of the encoder's layers falls by this factor from each to the one before it, towards the image,
    as suits pretrained encoders (0.65 to 0.9); null for one learning rate."""


class EmaSection(Strict):
    """The exponential moving average of the weights over all steps."""

    kind: Literal["ema"]
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """The share of the average that stays at a step; at step n no more than (1 + n) / (10 + n)."""


class SwaSection(Strict):
    """The mean of the weights after each of the last epochs (stochastic weight averaging, Izmailov 2018)."""

    kind: Literal["swa"]
    start: Annotated[float, Field(ge=0, lt=1)] = 0.75
    """The share of `epochs` after which epochs count; a learning rate that has not decayed by then suits it."""


AverageSection = EmaSection | SwaSection


class MixSection(Strict):
    """How two pictures of a batch are mixed, and their labels in the same shares."""

    kind: Literal["mixup", "cutmix"]
    """`mixup`: the weighted mean of the two (Zhang 2018); `cutmix`: one with a box of the other (Yun 2019)."""
    alpha: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    """Of Beta(alpha, alpha), which a share is drawn from: small for little mixing, 1 for any share alike."""


class TrainSection(Strict):
    """The training loop."""

    epochs: Annotated[int, Field(ge=1)] | None = 30
    """Passes over the training samples; null where `minutes` rules."""
    minutes: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """In place of `epochs`: train so long by the clock, in all starts together and with every validation; the scores of
    the test part come on top. The schedule of the learning rate follows the clock, and the last epoch ends early. Such
    a run does not repeat bit for bit; arms of an ablation and trials of a tuning need `epochs`. Null for epochs."""
    batch_size: Annotated[int, Field(ge=1)] = 4
    """Samples a micro-batch, of all devices together."""
    accumulate: Annotated[int, Field(ge=1)] = 1
    """Micro-batches an optimizer step; the loss is divided by the pixels of all of them."""
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """The largest norm of the gradient; null for no clipping."""
    validate_every: Annotated[int, Field(ge=1)] = 1
    """Epochs between two validations."""
    patience: Annotated[int, Field(ge=1)] | None = None
    """Stop after this many validations, of which `validate_every` says how many epochs apart they are, without a better
    score; null to train all epochs."""
    checkpoint_steps: Annotated[int, Field(ge=1)] | None = None
    """Save every so many optimizer steps too; null for no such count."""
    checkpoint_minutes: Annotated[float, Field(gt=0)] = 10.0
    """Save when the last checkpoint is so many minutes old, within an epoch and between two; at the end in any case."""
    nonfinite: Literal["stop", "skip"] = "stop"
    """After a step whose loss or gradient is not finite, which changes no weight: stop, or skip it and continue."""
    deterministic: bool = False
    """On a GPU, use only deterministic algorithms, which are slower; operations without one are refused."""
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    """`auto`: bf16-mixed on a GPU that computes in it, else 32-true, which is float32 throughout, without TF32."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to train; auto takes a GPU where there is one."""
    devices: Annotated[int, Field(ge=1, le=1024)] = 1
    """GPUs of this machine that share each batch, or processes on the CPU; what torchrun or srun starts needs no such
    number."""
    step: Literal["eager", "compiled", "graph"] = "eager"
    """How a step is computed: `eager`, operation by operation; `compiled`, network and loss through torch.compile;
    `graph`, on one GPU captured once an epoch as a CUDA graph and replayed for batches of one shape."""
    average: Annotated[AverageSection, Field(discriminator="kind")] | None = None
    """Keep an average of the weights beside them and save it as the checkpoint `average`, which `scores.checkpoint` may
    choose; the training and its other checkpoints stay as they are, bit for bit. Null for none."""
    mix: MixSection | None = None
    """Pictures with one label: mix each picture of a batch with another one; null to show them as they are."""
    upsampled_loss: bool = False
    """Hand the network's small logits to the loss, which upsamples them slab by slab: less memory, the same gradient.
    Not for losses that rank or draw over all pixels: lovasz, lovasz_hinge, boundary, topk, seql."""
    tensorboard: bool = False
    """Write TensorBoard events into the run's folder (extra `tensorboard`): of each epoch loss, score and learning
    rate, and overlays of three validation cases."""
    wandb: bool = False
    """Send the same to Weights & Biases (extra `wandb`), pictures of cases included, or with WANDB_MODE=offline keep it
    in the run's folder; the project is that of WANDB_PROJECT, or segloss."""

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        """The default of `epochs` rules where nothing is given; with `minutes` it does not."""
        if self.minutes is not None and "epochs" not in self.model_fields_set:
            self.epochs = None
        elif self.minutes is None and self.epochs is None:
            self.epochs = TrainSection.model_fields["epochs"].default
        return self


class PrimarySection(Strict):
    """The one score that chooses the best checkpoint."""

    aggregation: Literal["dataset", "case", "image"] | None = None
    """Pooled over all pixels, mean over cases, or mean over 2D images; not for pictures with one label."""
    metric: Literal["mDSC", "mIoU", "accuracy", "balanced_accuracy", "f1"]
    """The mean over classes of the Dice similarity coefficient, or of intersection over union; of pictures with one
    label their accuracy, the mean recall of the classes, or their mean F1."""


class PriorSection(Strict):
    """Take the shares of the classes in the training part out of the logits, for the mean recall (Menon 2021)."""

    kind: Literal["prior"]
    tau: Annotated[float, Field(ge=0, le=10)] = 1.0
    """How much of −log share is added: 1 by Bayes' rule for classes that are equally frequent, 0 nothing."""


class TemperatureSection(Strict):
    """Divide the logits by the temperature that is most likely on the validation part (Guo 2017); labels stay."""

    kind: Literal["temperature"]


class OffsetsSection(Strict):
    """Add to the logits of each class the offset that is best in the primary metric on the validation part."""

    kind: Literal["offsets"]
    limit: Annotated[float, Field(gt=0, le=20)] = 4.0
    """Offsets are searched in [−limit, limit]; of two classes an offset b is a threshold of 1 / (1 + exp(b))."""


AdjustSection = PriorSection | TemperatureSection | OffsetsSection


class ScoresSection(Strict):
    """What is scored, and how."""

    primary: PrimarySection | None = None
    """The one score that chooses the best checkpoint; null: dataset mIoU for stills, case mDSC for volumes,
    the accuracy of pictures with one label."""
    background: Literal["include", "exclude"] | None = None
    """Whether the class named background counts in means; null: excluded, where there is one."""
    grid: Literal["original", "network"] = "original"
    """Score at each image's own size, or at the network's as the papers do."""
    window: Annotated[tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]], Field(strict=False)] | None = (
        None
    )
    """Predict in overlapping windows of [height, width], for images larger than those trained on; null: whole."""
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.25
    """How much of a window its neighbour covers too."""
    checkpoint: Literal["best", "last", "average"] = "best"
    """The weights that are scored and predict: those of the best epoch on validation, of the last, or the average of
    `train.average`."""
    ensemble: bool = False
    """In an arm of an ablation: score the mean of the logits of the networks of all seeds that another arm, which
    differs in how it is scored alone, has trained."""
    flip: bool = False
    """Average the logits with those of the mirrored image, when a checkpoint is scored; validation does not."""
    largest_component: bool = False
    """Keep the largest connected part of each class of a case, in 3D of a volume, and make the rest background, when a
    checkpoint is scored; validation does not."""
    adjust: Annotated[AdjustSection, Field(discriminator="kind")] | None = None
    """What is done to the logits of a trained network before they become labels and probabilities, when a checkpoint is
    scored or predicts; validation during training does nothing. Null for nothing."""
    tolerance: Millimetres = 1.0
    """Volumes: how far apart, in mm, surfaces may lie to count as equal in the surface DSC."""


Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
Value = Annotated[float, Field(ge=0, le=1)]


class PaperSection(Strict):
    """What a paper printed for the arms of an ablation; it is shown beside ours."""

    source: str
    """Paper, table and data set."""
    aggregation: Literal["dataset", "case", "image"]
    """The aggregation of ours that comes nearest to the paper's."""
    values: dict[str, dict[str, Value]]
    """By arm and score, fractions of 1; the scores are mDSC, mIoU, `DSC <class>` and `IoU <class>`; of pictures with
    one label accuracy, top5, balanced_accuracy, f1, `f1 <class>`, `precision <class>` and `recall <class>`."""


class ClusterSection(Strict):
    """Jobs of a cluster's queue, each a worker that trains one cell at a time."""

    name: Literal["slurm", "pbs"]
    """What manages the queue."""
    cores: Annotated[int, Field(ge=1)]
    """Of a job; a cell computes with as many threads, unless ablation.threads says otherwise."""
    memory: Annotated[str, _like(r"\d+(\.\d+)? ?[KMGT]i?B", "a number and KB, MB, GB or TB, such as 32GB")]
    """Of a job, such as 32GB."""
    walltime: Annotated[str, _like(r"(\d+-)?\d+(:\d+){0,2}", 'hours, minutes and seconds, such as "24:00:00"')]
    """After which a job ends, such as "24:00:00"; another job resumes its cell."""
    gpus: Annotated[int, Field(ge=0)] = 0
    """Of a job."""
    queue: str | None = None
    """The queue or partition; null for the cluster's own."""
    account: str | None = None
    """That is charged."""
    interface: str | None = None
    """The network that workers and scheduler talk over, such as ib0."""
    directives: list[str] | None = None
    """Further lines of the job's head, without #SBATCH or #PBS."""
    prologue: list[str] | None = None
    """Commands before the worker starts, such as `module load cuda`."""


FRACTIONS = ("DSC", "IoU", "accuracy", "balanced_accuracy", "f1", "recall")
"""The scores that are fractions of 1."""


def by_score(value: Any) -> Any:
    """A single smallest difference as that of the scores that are fractions."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if not 0 < value < 1:
        raise PydanticCustomError("smallest", "must lie between 0 and 1, or be given by score, such as HD95: 1")
    return dict.fromkeys(FRACTIONS, float(value))


class SmallestSection(Strict):
    """By score, the difference that would matter."""

    DSC: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """A fraction of 1, of the mean over classes too."""
    IoU: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """A fraction of 1, of the mean over classes too."""
    accuracy: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """A fraction of the pictures with one label."""
    balanced_accuracy: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """A fraction of 1, the mean recall of the classes."""
    f1: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """A fraction of 1, of the mean over classes too."""
    recall: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """A fraction of the pictures of a class."""
    HD95: Annotated[float, Field(gt=0)] = 1.0
    """In mm."""
    ASSD: Annotated[float, Field(gt=0)] = 1.0
    """In mm."""


class RangeSection(Strict):
    """An interval that numbers are drawn from."""

    low: float
    """The smallest."""
    high: float
    """The largest."""
    log: bool = False
    """Draw evenly on a logarithmic scale, as suits a learning rate."""


Options = Annotated[list[bool | int | float | str | None], Field(min_length=2)]
TRIED = "{low: …, high: …}, with log: true for a logarithmic scale, or a list of two values or more"
"""What a key that is tuned is given, in words."""


def _one_problem(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """What is wrong with the first of the keys, in place of what is wrong with it as either of the two."""
    try:
        return check(value)
    except ValidationError as error:
        where = error.errors()[0]["loc"]
        text = "{key} must be {tried}"
        raise PydanticCustomError("tried", text, {"key": where[0] if where else "it", "tried": TRIED}) from None


class TuneSection(Strict):
    """Tuning: short trainings with other values of some keys, of which validation chooses one."""

    keys: Annotated[dict[str, RangeSection | Options], WrapValidator(_one_problem)] = Field(default={})
    """By dotted key, such as optim.lr, what is tried: {low: …, high: …, log: true}, or a list of values."""
    trials: Annotated[int, Field(ge=2, le=1024)] = 8
    """Trials of each arm: the first is the arm as it is configured, the others are the same points for all arms."""
    epochs: Annotated[float, Field(gt=0, le=1)] = 0.3
    """The share of train.epochs that a trial trains, one epoch at least."""
    per: Literal["fold", "grid"] = "fold"
    """`fold`: choose for each fold by its own validation part; `grid`: once for all folds, by the mean of their scores,
    though cases that validate in one fold are tested in another."""
    halving: bool = False
    """Successive halving: train on only the better half of the trials after a quarter, and again after half, of a
    trial's epochs."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of the points that are tried."""


class AblationSection(Strict):
    """An ablation: arms, each trained on every fold with every seed, and compared with a baseline."""

    baseline: str
    """The arm that the others are compared with."""
    arms: Annotated[dict[Name, dict[str, Any]], Field(min_length=1)]
    """By name what an arm changes, laid over the configuration as `extends` does; its `tune` holds keys of its own to
    tune, as those of `ablation.tune.keys`."""
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], Field(min_length=1)] | None = None
    """Of the trainings; null for the configuration's own."""
    noise_floor: bool = False
    """Train the baseline with other seeds too: how large a difference means nothing."""
    tune: TuneSection | None = None
    """Tune every arm with the same budget before it is compared; null to train the arms as they are."""
    smallest: Annotated[SmallestSection, BeforeValidator(by_score)] = SmallestSection()
    """The difference that would matter: smaller ones count as equivalent. A single number is that of the scores that
    are fractions."""
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    """Cells trained at a time; null for one a GPU, or one; with --scheduler one a Dask worker, with `cluster` all."""
    threads: Annotated[int, Field(ge=1, le=256)] | None = None
    """Threads of each; null for the cores divided by the workers, elsewhere than here for those of the Dask worker."""
    cluster: ClusterSection | None = None
    """Train the cells as jobs of a cluster's queue; null for this machine."""
    paper: PaperSection | None = None
    """What a paper printed for these arms."""


class Config(Strict):
    """A run of segloss: data, network, loss, optimizer, training, scores."""

    name: Name
    """The run's folder is output/name."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Of the initial weights, the order of the samples and every augmentation."""
    data: DataSection
    """A data set, and how it is divided, loaded and augmented."""
    model: ModelSection
    """A network, and its adaptive class-weight layer."""
    loss: list[LossSection]
    """A loss, or a list that is summed."""
    optim: OptimSection
    """An optimizer and its schedule."""
    train: TrainSection = TrainSection()
    """The training loop."""
    scores: ScoresSection = ScoresSection()
    """What is scored, and how."""
    output: str = "runs"
    """Where run folders are made."""
    tune: TuneSection | None = None
    """Tune first, with `train_seg.py train run.yaml --tune`; the arms of an ablation are tuned by `ablation.tune`."""
    ablation: AblationSection | None = None
    """Arms to compare, for `train_seg.py ablate`."""

    def document(self) -> dict[str, Any]:
        """What makes a run, as plain data, every default filled in."""
        return self.model_dump(mode="json", exclude={"tune", "ablation"})

    def to_yaml(self) -> str:
        """`document` as YAML."""
        text = StringIO()
        yaml = YAML(typ="safe", pure=True)
        yaml.default_flow_style = False
        yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
        yaml.dump(self.document(), text)
        return text.getvalue()


def as_list(value: Any) -> Any:
    """A single loss as a sum of one."""
    return [value] if isinstance(value, dict) else value


def as_excluded(value: Any) -> Any:
    """A plain id or pattern as one without a reason."""
    return {"case": value} if isinstance(value, str) else value


def as_named(value: Any) -> Any:
    """A plain name as a section without options."""
    return {"name": value} if isinstance(value, str) else value


class _Data(DataSection):
    exclude: list[Annotated[ExcludeSection, BeforeValidator(as_excluded)]] = Field(default=[])
    split: one_of(datasets.SPLITS, SplitSection, key="kind")  # type: ignore[valid-type]
    sampler: Annotated[one_of(datasets.SAMPLERS, SamplerSection) | None, BeforeValidator(as_named)] = None  # type: ignore[valid-type]
    normalise: one_of(datasets.NORMALISATIONS, NormaliseSection) | None = None  # type: ignore[valid-type]


class _Optim(OptimSection):
    schedule: one_of(SCHEDULES, ScheduleSection) | None = None  # type: ignore[valid-type]


class FullConfig(Config):
    """The configuration with every name resolved to its own parameters: what is validated, and the JSON Schema."""

    data: one_of(datasets.ADAPTERS, _Data)  # type: ignore[valid-type]
    model: one_of(models.MODELS, ModelSection)  # type: ignore[valid-type]
    loss: Annotated[list[one_of(segloss.LOSSES, LossSection)], BeforeValidator(as_list), Field(min_length=1)]  # type: ignore[valid-type]
    optim: one_of(OPTIMIZERS, _Optim)  # type: ignore[valid-type]


NULLS = frozenset(nulls_in(FullConfig))
"""The keys to which null means something else than their default: laid over an inherited value it stays null."""
