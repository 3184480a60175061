"""The sections of a config, typed: `ExperimentConf` is one JSON document.

The names are those of NeuronBlocks, so that its configs load as they are; what has no effect any more is listed in
`ignored` and reported, never silently dropped.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import field
from itertools import count
from typing import Annotated, Any, ClassVar, Literal

from core.conf import Choice, Conf, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, Range, Rate
from core.ramp import Ramp, Share

AUTOMATIC = "It is chosen automatically."
DataFormat = Literal["tsv", "csv", "jsonl", "parquet", "conll", "squad"]
"""The format of a file of rows."""
Tracker = Literal["aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "trackio", "wandb"]
"""An experiment tracker that accelerate knows."""
OnBadRow = Literal["error", "skip"]
"""What to do with rows that cannot be used."""


class DataPathsConf(Conf):
    """Where the data lies. Relative paths start from the folder in which the command runs."""

    train_data_path: str | None = None
    """Training rows: .tsv, .csv, .jsonl, .parquet, .conll or .json (SQuAD), each also with .gz."""
    unlabelled_data_path: str | None = None
    """More rows for training, without targets: they teach the losses that read teachers alone. A column of a target may
    be missing; the vocabulary takes their words in."""
    valid_data_path: str | None = None
    """Validation rows, which choose the best model; without them the test rows are used, and a notice says so."""
    test_data_path: str | None = None
    """Test rows, scored by test.py."""
    predict_data_path: str | None = None
    """Rows for predict.py when no --input is given; without it the test rows."""
    pretrained_model_path: str | None = None
    """A run folder, or a file in it: training starts from its weights, layer by layer where names and shapes agree."""
    pre_trained_emb: str | None = None
    """Pretrained word vectors (GloVe or word2vec or fastText, see `inputs.pretrained_emb_type`)."""


class AugmentationConf(Conf):
    """More training rows without targets, made of the texts of the others: words are masked or replaced, or only a few
    in a row are kept. Where rows have several texts, copies take turns: each text alone is changed, then all of them.

    Reference: Tang et al. 2019, Distilling Task-Specific Knowledge from BERT into Simple Neural Networks, section 3.2;
    recombine is ours.
    """

    copies: PositiveInt = 20
    """Rows made of each row, without those that stand twice."""
    mask: Share = 0.1
    """Probability of a word to become mask_word."""
    replace: Share = 0.1
    """Probability of a word to become one of the same part of speech, drawn by how often the words stand in the rows.
    Parts of speech are those of the English lexicon of textblob, the most frequent one of each word."""
    ngram: Share = 0.25
    """Probability of a text to be cut to a few words in a row."""
    longest_ngram: PositiveInt = 5
    """Words that are kept then: from 1 to this many."""
    recombine: Share = 0.0
    """Probability of the last of several texts to be that of another row."""
    mask_word: str = "_"
    """What stands for a masked word. Every tokenizer takes _ for one word, unknown to a vocabulary of words and a blank
    to an encoder; [MASK] suits tokenizer whitespace beside encoders that know it."""
    seed: NonNegativeInt = 1
    """Seed of the rows, so that teachers find them answered whatever the seed of the training."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.mask + self.replace > 1:
            raise ValueError(f"mask and replace are {self.mask + self.replace:g} together, but a word has 1 at most.")
        if not any((self.mask, self.replace, self.ngram, self.recombine)):
            raise ValueError("augmentation changes nothing: mask, replace, ngram and recombine are 0.")
        if len(self.mask_word.split()) != 1 or self.mask_word != self.mask_word.strip():
            raise ValueError(f"mask_word must be one word, got '{self.mask_word}'.")


class InputsConf(Conf):
    """What the data is: files, columns, the branches of the network that read them, the target."""

    choice: ClassVar[Choice | None] = Choice(tag="dataset_type", registry="problem", conf=None)
    extra: ClassVar[str | None] = "settings"

    dataset_type: str
    """The problem."""
    data_paths: DataPathsConf = field(default_factory=DataPathsConf)
    """The files."""
    augmentation: AugmentationConf | None = None
    """More training rows, made of others, which teachers alone teach."""
    data_format: DataFormat | None = None
    """Format of the files; by default the file's suffix says it (.json for squad; tsv if it says none)."""
    file_with_col_header: bool = False
    """Whether the first line of each file holds the names of the columns."""
    file_header: dict[str, NonNegativeInt | str] | None = None
    """Column name -> its index from 0, or its name in the file; by default the names in the file are used."""
    predict_file_header: dict[str, NonNegativeInt | str] | None = None
    """The same for the file that predict.py reads; by default `file_header`."""
    model_inputs: dict[str, list[str]]
    """Branch of the network -> the columns it reads (a text column, its characters, its feature columns)."""
    target: list[str] = field(default_factory=list)
    """The columns that hold the right answer."""
    labels: list[str] | None = None
    """All labels in the order of their ids; by default those of the training rows by descending frequency."""
    positive_label: str | None = None
    """The label that binary metrics and ranking take as positive; by default "1" of "0" and "1", of two others the one
    with id 1, the rarer one in train."""
    group_by: str | None = None
    """The column whose equal values group rows for ranking metrics and losses (the question of WikiQA)."""
    on_bad_row: OnBadRow = "error"
    """What to do with rows that cannot be used: stop and list the first ten, or skip and count them."""
    use_cache: bool = True
    """Whether encoded data is kept for later runs (in $BLOCKSMITH_CACHE, by default ~/.cache/blocksmith)."""
    pretrained_emb_type: Literal["glove", "word2vec", "fasttext"] = "glove"
    """Format of the pretrained vectors."""
    pretrained_emb_binary_or_text: Literal["text", "binary"] = "text"
    """Whether the pretrained vectors are a text, or binary: that of word2vec, or a model of fastText (.bin)."""
    involve_all_words_in_pretrained_emb: bool = False
    """Whether the vocabulary takes in every word that has a pretrained vector."""
    add_start_end_for_seq: bool = False
    """Whether texts are wrapped in <start> and <eos>."""
    settings: dict[str, Any] = field(default_factory=dict)
    """The problem's own keys, which stand beside the others."""


class OutputsConf(Conf):
    """Where the results go."""

    ignored: ClassVar[Mapping[str, str]] = {
        "model_name": "The run folder has fixed file names.",
        "train_log_name": "The run folder has fixed file names.",
        "test_log_name": "The run folder has fixed file names.",
        "predict_log_name": "The run folder has fixed file names.",
        "cache_dir": "The cache lies in $BLOCKSMITH_CACHE, by default ~/.cache/blocksmith.",
    }

    save_base_dir: str
    """The run folder: all that test.py and predict.py need."""
    predict_fields: list[str] | None = None
    """Columns that predict.py adds: prediction, confidence, confidence@<label>; the default depends on the problem."""
    predict_output_name: str = "predict.tsv"
    """File in the run folder that predict.py writes when no --output is given."""
    trackers: list[Tracker] = field(default_factory=list)
    """Where accelerate reports the training besides TensorBoard, such as ["mlflow"]; each is a package to install."""
    histograms: bool = False
    """Whether TensorBoard shows the weights and their gradients as histograms, at each validation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.save_base_dir.strip():
            raise ValueError("save_base_dir is empty.")
        if "\0" in self.save_base_dir:
            raise ValueError("save_base_dir holds a null byte.")
        if self.predict_output_name in ("", ".", "..") or re.search(r"[/\\\0]", self.predict_output_name):
            raise ValueError("predict_output_name must be the name of a file, without folders.")


class VocabularyConf(Conf):
    """Which tokens get an id of their own."""

    ignored: ClassVar[Mapping[str, str]] = {"max_building_lines": "Every training row is read."}

    min_word_frequency: PositiveInt = 3
    """A token is kept if it occurs in at least this many training rows."""
    max_vocabulary: PositiveInt = 800000
    """At most this many tokens are kept, the most frequent ones."""


class ParameterGroupConf(Conf):
    """Weights that the optimizer treats in a way of their own."""

    match: list[str]
    """Ids of layers, or patterns over the names of weights: the id of the layer (Embedding for that), then the names
    inside it, such as "encoder.encoder.embeddings.*" or "encoder.*.bias"."""
    params: dict[str, Any]
    """Arguments of the optimizer for these weights, such as {"lr": 0.001}; they take the place of the others."""


class OptimizerConf(Conf):
    """The optimizer."""

    name: str
    """A class of torch.optim, such as Adam, AdamW or SGD."""
    params: dict[str, Any] = field(default_factory=dict)
    """Its arguments, such as {"lr": 0.001}."""
    groups: list[ParameterGroupConf] = field(default_factory=list)
    """Weights with arguments of their own; a weight is in the first group that matches it."""
    layer_decay: Annotated[float, Range(above=0, maximum=1)] | None = None
    """Factor on the learning rate of a pretrained encoder's last layer, once more on that of each layer below it."""
    decay_norms_and_biases: bool = False
    """Whether weight_decay holds for weights of one axis too: biases and the weights of norms."""


class ScheduleConf(Conf):
    """How the learning rate moves from step to step (`lr_decay` moves it from epoch to epoch)."""

    name: Literal["constant", "linear", "cosine", "polynomial"] = "constant"
    """After warm-up: stay, fall linearly to zero, along a half cosine, or as a power of what is left."""
    power: PositiveFloat = 2.0
    """The power of polynomial."""
    warmup_steps: NonNegativeInt = 0
    """Steps in which the rate grows linearly from zero."""
    warmup_ratio: Rate = 0.0
    """The same as a share of all steps; the larger of the two counts."""


class LeftOutConf(Conf):
    """Training rows that are left out: those of one fold."""

    fold: PositiveInt
    """Which fold, from 1."""
    of: Annotated[int, Range(minimum=2)]
    """How many folds there are. The texts of a row say to which it belongs, or its group where rows have one."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fold > self.of:
            raise ValueError(f"there is no fold {self.fold} of {self.of}.")


class TrainingConf(Conf):
    """How training goes."""

    ignored: ClassVar[Mapping[str, str]] = {
        "use_gpu": f"{AUTOMATIC} Set `device` to insist on one.",
        "cpu_num_workers": AUTOMATIC,
        "cpu_thread_num": AUTOMATIC,
        "chunk_size": "Data is memory-mapped, not held in chunks.",
    }

    optimizer: OptimizerConf
    """The optimizer and its arguments."""
    max_epoch: PositiveInt | None = None
    """Epochs at most; null = until early_stop_patience ends it."""
    batch_size: PositiveInt = 32
    """Rows per step and device."""
    batch_tokens: PositiveInt | None = None
    """Tokens per step and device at most, padding included, in the place of batch_size."""
    vocabulary: VocabularyConf = field(default_factory=VocabularyConf)
    """Which tokens get an id of their own."""
    tokenizer: Literal["nltk", "whitespace", "regex", "jieba"] | None = None
    """How texts become tokens; by default nltk, or jieba where the language is chinese. nltk has the rules of the Penn
    Treebank for one sentence: a full stop inside a text stays at its word; regex splits every sign off."""
    text_preprocessing: list[Literal["DBC2SBC", "unicode_fix", "remove_stopwords", "lowercase"]] = field(
        default_factory=list
    )
    """Full-width to half-width, mend broken Unicode, drop stop words (always last), lower-case; applied as listed."""
    max_lengths: dict[str, PositiveInt] | None = None
    """Branch or column -> tokens at most; longer texts are cut. Without effect where fixed_lengths is set."""
    fixed_lengths: dict[str, PositiveInt] | None = None
    """Branch or column -> number of tokens; cut and padded (with true masks). `word` = characters per token."""
    clip_grad_norm_max_norm: float = -1.0
    """Largest norm of the gradient; -1 = no clipping."""
    lr_decay: PositiveFloat = 1.0
    """Factor on the learning rate after each epoch, from epoch_start_lr_decay on."""
    minimum_lr: NonNegativeFloat = 0.0
    """lr_decay never lowers the learning rate below this (nor raises it to this)."""
    epoch_start_lr_decay: NonNegativeInt = 1
    """The first epoch (from 1) whose end decays the learning rate; 0 means 1."""
    schedule: ScheduleConf = field(default_factory=ScheduleConf)
    """Warm-up and decay from step to step."""
    accumulation_steps: PositiveInt = 1
    """Batches whose gradients are averaged for one update."""
    steps_per_validation: PositiveInt | None = None
    """Validate every so many steps, and at the end of each epoch."""
    valid_times_per_epoch: PositiveInt | None = None
    """Validate so many times in each epoch, evenly spread; by default once, at its end."""
    early_stop_patience: PositiveInt | None = None
    """Stop after so many validations without a better score; by default never, or without max_epoch after 10."""
    batch_num_to_show_results: PositiveInt = 10
    """Steps between two records of the training loss."""
    left_out: LeftOutConf | None = None
    """The rows that are not trained on, as `--folds` says it for out-of-fold teachers. Vocabularies and labels are
    fitted on them, too."""
    seed: NonNegativeInt = 1
    """Seed of weights, dropout and the order of rows."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto = CUDA where there is one."""
    ema: Rate | None = None
    """Decay of a moving average of the weights, which validation scores and the run keeps; null = the weights."""
    r_drop: NonNegativeFloat = 0.0
    """Weight of the disagreement between two passes with different dropout (R-Drop); 0 = one pass."""
    adversarial: NonNegativeFloat = 0.0
    """Norm of the step against which embeddings are trained too (FGM), in a second pass; 0 = none."""
    compile: bool = False
    """Whether torch.compile translates the layers of deep blocks (PretrainedEncoder, Transformer): the first steps take
    longer, on a GPU the others less."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Arithmetic; auto = the best the device has: on CUDA bf16, else fp16; on a CPU fp32, but bf16 for a pretrained
    encoder where the CPU computes in it (AMX or AVX512-BF16)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_epoch is None and self.early_stop_patience is None:
            object.__setattr__(self, "early_stop_patience", 10)
        if self.max_epoch is None and (self.schedule.name != "constant" or self.schedule.warmup_ratio > 0):
            raise ValueError("schedule counts the steps to the end, so it needs max_epoch.")

    def epochs(self, first: int = 0) -> Iterable[int]:
        """The epochs (from 0) from `first` on."""
        return count(first) if self.max_epoch is None else range(first, self.max_epoch)


class LayerConf(Conf):
    """One layer of the graph."""

    choice: ClassVar[Choice | None] = Choice(tag="layer", registry="block", open=True)
    ignored: ClassVar[Mapping[str, str]] = {"weight_on_gpu": AUTOMATIC}

    layer: str
    """A block, or the id of an earlier layer (then without `conf`) whose weights are shared."""
    layer_id: str | None = None
    """The address of what this layer gives."""
    conf: dict[str, Any] | None = None
    """The settings of the block."""
    inputs: list[str] = field(default_factory=list)
    """Branches or ids of layers."""
    output_layer_flag: bool = False
    """Whether this layer gives the answer."""


class LossConf(Conf):
    """One loss."""

    choice: ClassVar[Choice | None] = Choice(tag="type", registry="loss")

    type: str
    """A loss."""
    conf: dict[str, Any] = field(default_factory=dict)
    """Its settings."""
    inputs: list[str]
    """Addresses: that of a layer, then a target column, or what a teacher gives: `big`, `big.encoder.hidden.2`;
    `teachers` is what all of them give, weighted."""
    weight: NonNegativeFloat | Ramp = 1.0
    """Factor on this loss in the sum."""


class LossesConf(Conf):
    """The losses, added up."""

    losses: list[LossConf]
    """One or more losses."""
    multi_loss_op: Literal["weighted_sum"] | None = None
    """How several losses become one: a weighted sum."""
    weights: list[NonNegativeFloat] | None = None
    """One factor for each loss, on top of its own `weight`."""


class TrainerConf(Conf):
    """What drives the training."""

    choice: ClassVar[Choice | None] = Choice(tag="type", registry="trainer")

    type: str = "Standard"
    """A trainer."""
    conf: dict[str, Any] = field(default_factory=dict)
    """Its settings."""


class TeacherConf(Conf):
    """Whom the student learns from."""

    choice: ClassVar[Choice | None] = Choice(tag="type", registry="teacher")

    type: str
    """A kind of teacher."""
    conf: dict[str, Any] = field(default_factory=dict)
    """Its settings."""
    online: bool = False
    """Whether it answers anew in every step, instead of once for each row."""
    min_confidence: Annotated[float, Range(above=0, below=1)] | None = None
    """Training rows count as not answered where its largest probability is lower, of several tokens or labels their
    mean; null = it is heard everywhere."""


class WeightingConf(Conf):
    """How much each of several teachers counts for a row."""

    choice: ClassVar[Choice | None] = Choice(tag="type", registry="weighting")

    type: str = "Uniform"
    """A way to weigh teachers."""
    conf: dict[str, Any] = field(default_factory=dict)
    """Its settings."""


class ExperimentConf(Conf):
    """One JSON document: everything a training needs."""

    ignored: ClassVar[Mapping[str, str]] = {
        "$schema": "",
        "license": "It is a note for the reader.",
        "tool_version": "Configs of every version are read.",
    }

    model_description: str = ""
    """What this model is, for the reader."""
    language: Literal["english", "English", "chinese", "Chinese"] = "english"
    """Language of the texts; picks the default tokenizer."""
    plugins: list[str] = field(default_factory=list)
    """Python modules of your own that register blocks, losses or problems; imported first."""
    inputs: InputsConf
    """What the data is."""
    outputs: OutputsConf
    """Where the results go."""
    training_params: TrainingConf
    """How training goes."""
    architecture: list[LayerConf]
    """The layers; the first is the Embedding."""
    loss: LossesConf | None = None
    """What training minimises."""
    teachers: dict[str, TeacherConf] = field(default_factory=dict)
    """Name -> a teacher, whose answers and inner states losses read."""
    weighting: WeightingConf = field(default_factory=WeightingConf)
    """How much each teacher counts for a row, where a loss reads `teachers`."""
    trainer: TrainerConf = field(default_factory=TrainerConf)
    """What drives the training."""
    metrics: list[str] = field(default_factory=list)
    """Scores to report; the first one chooses the best model."""
    report: bool = True
    """Whether train.py ends with a page that shows the run: report.html in its folder."""
