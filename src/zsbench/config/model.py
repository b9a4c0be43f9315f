"""Every key of a config: its type, its default and what it means. Validation, the editors' schema and the page of keys
are made of this file.

A config is a `RunConfig`; its `sources`, `datasets` and `training_sets` add to the project's own (`Presets`). What
types cannot say, that an id exists or that a split has rows, is in `zsbench.config.references`.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, create_model, model_validator

from gliznet.options import GliZNetOptions
from zsbench.config.labels import check_labels, fold
from zsbench.data.gold import readings
from zsbench.data.sources.fetch import Source
from zsbench.families import FAMILIES
from zsbench.fields import (
    Count,
    Entries,
    EntryError,
    Id,
    Inside,
    Overrides,
    Seed,
    Some,
    Strict,
    Template,
    Text,
    Unique,
    absent,
    fields_of,
)
from zsbench.plan.suites import METRICS, metrics_of
from zsbench.recipe import Recipe as RecipeFields

Split = Literal["train", "validation", "test", "all"]
Protocol = Literal["fixed-0.5", "val-tuned", "cv", "held-out"]
Weight = Annotated[float, Field(ge=0, le=1000)]


# Data: where rows come from, and what they mean.


class Format(Strict):
    """How a file is read."""

    type: Literal["table", "jsonl", "json", "parquet"]
    separator: Annotated[str, Field(pattern=r"^[\t !#-~]$")] | None = absent("of a table; a comma where not given")
    names: Annotated[Unique[str], Field(min_length=2)] | None = absent("columns of a table without a header")
    skip: list[Annotated[int, Field(ge=0)]] | None = absent("lines to leave out, counted from 0")
    quoted: bool = Field(True, description="whether quotes are syntax")


class Files(Strict):
    """Files with rows: of a source, or one of your own."""

    title: Text = Field("", description="name in tables and pages; the id where not given")
    source: Id | None = absent("source of the files; `path` instead names a file of your own")
    path: Text | None = absent("a file of your own: csv, tsv, jsonl, json or parquet, compressed or not")
    files: Annotated[dict[Split, Inside], Field(min_length=1)] | None = absent(
        "split -> file of the source; `all` goes with published_split. A source of one file needs none"
    )
    split_column: Text | None = absent("column that names each row's split")
    format: Format | None = absent("told from the file's name where not given")
    licence: Text = "not stated"
    citation: Text = "not stated"

    @model_validator(mode="after")
    def _one_origin(self) -> Any:
        if (self.source is None) == (self.path is None):
            raise EntryError("source", "one of `source` and `path` is needed")
        return self


class Gold(Strict):
    """What the gold column holds. Without values, bins and encoding it holds the labels as text."""

    column: Text
    values: Annotated[Unique[int | bool | Annotated[str, Field(min_length=1)]], Field(min_length=2)] | None = absent(
        "the file's value of each label, in label order"
    )
    bins: Annotated[list[Annotated[list[float], Field(min_length=2, max_length=2)]], Field(min_length=2)] | None = (
        absent("an interval of ratings for each label, ends inside")
    )
    encoding: Literal["multi-hot"] | None = absent("a list of zeros and ones, one per label")

    @model_validator(mode="after")
    def _told_apart(self) -> Any:
        if sum(value is not None for value in (self.values, self.bins, self.encoding)) > 1:
            raise EntryError("", "several of `values`, `bins` and `encoding`; allowed: one of them")
        for low, high in self.bins or ():
            if low > high:
                raise EntryError("bins", f"[{low}, {high}] is empty; allowed: the smaller end first")
        ordered = sorted(self.bins or ())
        for (_, before), (low, high) in zip(ordered, ordered[1:], strict=False):
            if low <= before:
                raise EntryError("bins", f"[{low}, {high}] overlaps the one that ends at {before}; ends are inside")
        try:
            readings(self.values or [])
        except ValueError as error:
            raise EntryError("values", f"{error}; allowed: a value of its own for each label") from None
        return self


def _gold(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


class Dataset(Files):
    """A test set. One of your own needs `path`, `text`, `gold` and `labels`."""

    text: Text = Field(description="column of the texts")
    gold: Annotated[Gold, BeforeValidator(_gold, json_schema_input_type=str | Gold)] = Field(
        description="column of the gold labels, or a mapping that also says what its values mean"
    )
    labels: Annotated[list[Text], Field(min_length=2)] | None = absent("the labels in words; short for one wording")
    verbalisations: Entries[Annotated[list[Text], Field(min_length=2)]] = Field(
        {}, description="wordings of the labels, in one order; the first is the default"
    )
    task: Literal["single", "multi"] = Field("single", description="one label per text, or any number")
    domain: Text = "not stated"
    expected_rows: Annotated[dict[Split, Count], Field(min_length=1)] | None = absent(
        "rows of each split; another number stops the run"
    )
    published_split: Seed | None = absent("seed of the publisher's shuffle into train and validation")
    validation_share: Annotated[float, Field(gt=0, lt=1)] | None = absent(
        "with published_split: the publisher's validation rows are test, this share of the others validation"
    )
    note: Text | None = absent("for the data set's card")

    @property
    def splits(self) -> set[str]:
        if self.published_split is None:
            return set(self.files or ())
        return {"train", "validation"} | ({"test"} if self.validation_share else set())

    @model_validator(mode="after")
    def _labels_fit(self) -> Any:
        if (self.labels is None) == (not self.verbalisations):
            raise EntryError("labels", "one of `labels` and `verbalisations` is needed")
        if self.labels:
            self.verbalisations, self.labels = {"plain": self.labels}, None
        first = next(iter(self.verbalisations.values()))
        if not (self.gold.values or self.gold.bins or self.gold.encoding):
            self.gold.values = list(first)
        count = len(self.gold.values or self.gold.bins or first)
        orders: dict[tuple[str, ...], tuple[str, list[str]]] = {}
        for wording, labels in self.verbalisations.items():
            key = f"verbalisations.{wording}"
            if len(labels) != count:
                raise EntryError(key, f"{len(labels)} labels for the {count} values of gold; allowed: one each")
            check_labels(key, labels)
            folded = [fold(label) for label in labels]
            same, order = orders.setdefault(tuple(sorted(folded)), (wording, folded))
            if order != folded:
                raise EntryError(key, f"the labels of {same!r} in another order; all wordings have one order")
        return self


class TrainingSet(Files):
    """Rows to train on: `text`, `labels` (true), `not_labels` (plausible and false)."""

    group: Text | None = absent("column of what stays together where validation rows are drawn from training rows")


class Presets(Strict):
    """What configs name: the project's presets, and a config's own."""

    sources: Entries[Source] = {}
    datasets: Entries[Dataset] = {}
    training_sets: Entries[TrainingSet] = {}


# What is measured.


_ALLOWED = "; ".join(f"{task}: {', '.join(metrics_of(task))}" for task in ("single", "multi"))


class Suite(Strict):
    """Data sets of one task that share tables."""

    title: Text | None = absent("in tables and pages; the id where not given")
    task: Literal["single", "multi"] = Field(description="one label per text, or any number")
    metric: Literal[*METRICS] = Field("macro_f1", description=f"headline metric ({_ALLOWED})")  # type: ignore[valid-type]
    datasets: Some[Id]
    rows: Annotated[int, Field(ge=2)] | Entries[Annotated[int, Field(ge=2)]] | None = Field(
        None,
        description="a seeded, stratified part of each split; numbers by dataset leave others whole; null: all rows",
    )
    sample_seed: Seed = 0
    verbalisations: Entries[Id] = Field({}, description="dataset -> wording; the first where not given")
    protocols: Some[Protocol] | None = absent("multi: how thresholds are chosen; all that the splits allow")
    folds: Annotated[int, Field(ge=2, le=50)] | None = absent("multi: of cv; 5 where not given")
    fold_seed: Seed | None = absent("multi: of cv; 0 where not given")
    partitions: Annotated[int, Field(ge=1, le=1000)] | None = absent(
        "multi: seeded partitions that cv averages over; 20 where not given"
    )

    @model_validator(mode="after")
    def _fits_task(self) -> Any:
        if self.metric not in metrics_of(self.task):
            allowed = ", ".join(metrics_of(self.task))
            raise EntryError("metric", f"{self.metric!r} in a suite of task {self.task!r}; allowed: {allowed}")
        defaults = {"folds": 5, "fold_seed": 0, "partitions": 20}
        for key in ("protocols", *defaults):
            if self.task == "single" and getattr(self, key) is not None:
                raise EntryError(key, "is for suites of task 'multi'; leave it out")
            if self.task == "multi" and getattr(self, key) is None:
                setattr(self, key, defaults.get(key))
        return self


class Sensitivity(Strict):
    """What other label orders and wordings would have scored, on a seeded part of each set."""

    orders: Annotated[int, Field(ge=0, le=1000)] = 4
    rows: Annotated[int, Field(ge=1)] = 96
    seed: Seed = 0
    wordings: bool = True
    systems: Some[Id] | None = absent("systems it is measured for; all where not given")


class Scoring(Strict):
    """How systems score."""

    precision: Literal["fp32", "bf16"] = "fp32"
    token_budget: Annotated[int, Field(ge=64)] = Field(8192, description="padded tokens in a batch")
    sensitivity: Sensitivity | None = absent("not measured where not given")


class Statistics(Strict):
    """Intervals and tests."""

    draws: Annotated[int, Field(ge=100, le=1_000_000)] = Field(10_000, description="of the paired bootstrap")
    seed: Seed = 0
    level: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    margin: Annotated[float, Field(gt=0, le=1)] = Field(
        0.01,
        description="a difference of the headline metric that would not matter",
    )
    system: Id | None = Field(
        None, description="whose deltas the suite tables print; the first that is not a control where not given"
    )


# What is trained.


class Part(Overrides, Strict):
    """Some keys of another model."""


class Switches(Overrides, Strict):
    """Some switches of GliZNet."""

    null_is_a_value = True  # of `focal_gamma`


Recipe: TypeAlias = create_model(  # type: ignore[valid-type]
    "Recipe",
    __base__=Strict,
    __doc__="How anything is trained; all keys are needed.",
    **fields_of(RecipeFields),
    seeds=(Some[Annotated[int, Field(ge=0, le=9999)]], Field(description="each trains a model of its own")),
)
ENTIRE_RUN = ("strategy", "gpus")  # keys of the recipe that single models cannot change
OwnRecipe: TypeAlias = create_model(  # type: ignore[valid-type]
    "OwnRecipe",
    __base__=Part,
    __doc__="Keys of `recipe` that are other for this model.",
    **{key: field for key, field in fields_of(RecipeFields, optional=True).items() if key not in ENTIRE_RUN},
)
Options: TypeAlias = create_model(  # type: ignore[valid-type]
    "Options", __base__=Switches, __doc__="Switches of GliZNet.", **fields_of(GliZNetOptions)
)


class GliZNet(Strict):
    """Variants of GliZNet, each with switches of its own over the base's."""

    base: Options = Field({}, validate_default=True, description="switches of every variant")
    variants: Entries[Options] = {}
    compounds: Entries[Annotated[list[Id], Field(min_length=2, max_length=2)]] = Field(
        {}, description="[variant, against]: a contrast that is meant to differ in several factors"
    )

    @model_validator(mode="after")
    def _variants_differ(self) -> Any:
        base, seen = self.base.model_dump(), dict[Any, str]()
        for name, own in self.variants.items():
            try:
                options = GliZNetOptions(**base | own.model_dump())
            except ValueError as error:
                switch, _, problem = str(error).partition(": ")
                raise EntryError(f"variants.{name}.{switch}", problem) from None
            if (same := seen.setdefault(options, name)) != name:
                raise EntryError(f"variants.{name}", f"has the same switches as {same!r}; two variants must differ")
        return self


class HybridTraining(Strict):
    """How the heads of a hybrid are trained."""

    epochs: Count
    batch_size: Count
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Weight
    grad_clip: Annotated[float, Field(gt=0)]
    patience: Count
    selection: Literal["mean_ap", "macro_f1_at_0.5"] = Field(
        "mean_ap", description="what chooses the epoch on validation rows; macro_f1_at_0.5 as published"
    )
    blend_weight: Weight
    kl_weight: Weight
    num_codes: Count
    proj_dim: Count
    max_length: Annotated[int, Field(ge=8)]


class Hybrid(Strict):
    """A HybridNLI-PolyEncoder."""

    nli: Id = Field(description="an NLI model that is trained here, or the source of one")
    dataset: Id = Field(description="data set of a multi suite whose train split trains the heads")
    nli_only: Unique[Text] = Field(description="labels without a head")
    template: Template
    blends: Some[Literal["learned", "heads", "half", "nli"]] = Field(
        description="mixtures of NLI and head that are scored; learned is the system, the others attribute its gain"
    )
    training: HybridTraining


def _by_family(name: str, base: type, options: dict[str, type]) -> Any:
    """One model for each family: its own keys and those of `base`."""
    models: Any = [
        create_model(
            f"{name}_{family}",
            __base__=(base, keys),
            __doc__=f"{FAMILIES[family].summary}.",
            family=(Literal[family], Field()),  # type: ignore[arg-type]
        )
        for family, keys in options.items()
    ]
    union: Any = models[0]
    for model in models[1:]:
        union = union | model
    return Annotated[union, Field(discriminator="family")]


class TrainedModel(Part):
    """A competitor that is trained as GliZNet is."""

    recipe: OwnRecipe | None = absent("keys of `recipe` that are other for this model")


class System(Part):
    """Anything else that scores."""

    suites: Some[Id] | None = absent("all whose task the family can do where not given")
    seen: Unique[Id] | None = absent("data sets the model was trained on; [] is none; unknown where not given")


Trained: TypeAlias = _by_family(  # type: ignore[valid-type]
    "Trained",
    TrainedModel,
    {name: family.training_options for name, family in FAMILIES.items() if family.training_options},
)
SystemEntry: TypeAlias = _by_family(  # type: ignore[valid-type]
    "System", System, {name: family.options for name, family in FAMILIES.items()}
)


# How fast it is.

Labels = Annotated[int, Field(ge=2, le=1000)]  # of hardset-mini


class PaddedTexts(Strict):
    own: Count
    deberta: Count


class Mixed(Strict):
    """Texts of mixed lengths."""

    texts: Count
    mean_tokens: Annotated[int, Field(ge=4, le=8192)]
    max_tokens: Annotated[int, Field(ge=32, le=8192)] = Field(description="where every contender cuts a sequence")
    labels: Labels
    many_labels: Labels
    padded_texts: PaddedTexts = Field(
        description="texts in one padded batch, by shape; a DeBERTa holds heads x longest^2 numbers of each"
    )
    slow_texts: Count = Field(description="for ways that score a pair at a time")
    many_texts: Count = Field(description="for those with many labels")
    repeats: Count
    many_repeats: Count = Field(description="with many labels and of the padded batch")


class Sweep(Strict):
    """Labels x text length."""

    labels: Some[Labels]
    tokens: Some[Count]
    texts: Count = Field(description="at most")
    repeats: Count
    operations: Annotated[float, Field(gt=0)] = Field(description="arithmetic of one repeat, which limits its texts")


class SpeedTraining(Strict):
    steps: Count
    batch: Count
    repeats: Count


class Compiled(Strict):
    texts: Count
    repeats: Count


class SpeedHybrid(Strict):
    """HybridNLI's NLI pass, and heads trained from the store against encoding in every epoch; rows of topics-mini."""

    nli_rows: Annotated[int, Field(ge=1, le=840)]
    nli_repeats: Count
    rows: Annotated[int, Field(ge=8, le=839)] = Field(description="the next fifth validates")
    epochs: Count
    repeats: Count


class Memory(Strict):
    """Short texts through a tiny encoder: does memory grow?"""

    texts: Count
    labels: Labels
    block: Count = Field(description="texts read at a time")


class Speed(Strict):
    """The `speed` target: how fast everything is under equal conditions."""

    backbone: Id = Field(description="source of the encoder; heads are random")
    precision: Literal["fp32", "bf16"]
    threads: Count = Field(description="of a machine without a GPU")
    shapes: Some[Literal["own", "deberta"]] = Field(
        description="own is the backbone, deberta a DeBERTa-v3 of its size with random weights"
    )
    token_budget: Annotated[int, Field(ge=64)] = Field(description="padded tokens in a batch")
    seed: Seed = Field(description="of texts, labels and heads")
    gate_texts: Count = Field(description="texts on which two ways must give equal numbers")
    latency_texts: Count
    gliclass_batches: Some[Count] = Field(description="batch sizes tried for the gliclass pipeline")
    pipeline_batches: Some[Count] = Field(description="the same for the transformers pipeline")
    mixed: Mixed
    sweep: Sweep
    training: SpeedTraining
    compiled: Compiled | None = Field(
        None, description="torch.compile against eager on the first shape; null: left out"
    )
    hybrid: SpeedHybrid
    memory: Memory


# The whole.


class Data(Strict):
    """Where data are read from."""

    mirror: Text | None = Field(
        None, description="a folder as `hf download --local-dir` leaves repositories; ZSBENCH_MIRROR overrides it"
    )


class RunConfig(Strict):
    """A zsbench run. `run`, `suites` and `systems` are enough for one that trains nothing."""

    run: Id = Field(description="names the folders results/<run> and reports/<run>")
    data: Data = Data()
    sources: Entries[Source] = Field({}, description="where bytes come from, besides the project's sources")
    datasets: Entries[Dataset] = Field({}, description="test sets besides the project's")
    training_sets: Entries[TrainingSet] = Field({}, description="training sets besides the project's")
    suites: Annotated[Entries[Suite], Field(min_length=1)] = Field(description="what systems are scored on")
    recipe: Recipe | None = Field(None, description="needed by whatever is trained")
    gliznet: GliZNet = GliZNet()
    trained: Entries[Trained] = Field({}, description="competitors trained on the same recipe")
    hybrid: Entries[Hybrid] = Field({}, description="HybridNLI systems, trained here")
    systems: Entries[SystemEntry] = Field({}, description="everything else that scores")
    scoring: Scoring = Scoring()
    speed: Speed | None = absent("no speed run where not given")
    statistics: Statistics = Statistics()

    @model_validator(mode="before")
    @classmethod
    def _without_suites(cls, config: Any) -> Any:
        """With a suite that an overlay takes away (null) go the entries of `systems` that are in no other."""
        suites, systems = (config.get(key) if isinstance(config, dict) else None for key in ("suites", "systems"))
        gone = [name for name, suite in suites.items() if suite is None] if isinstance(suites, dict) else []
        if gone and isinstance(systems, dict):
            for name, entry in systems.items():
                if isinstance(entry, dict) and isinstance(entry.get("suites"), list):
                    left = [suite for suite in entry["suites"] if suite not in gone]
                    systems[name] = entry | {"suites": left} if left or not entry["suites"] else None
        return config

    @model_validator(mode="after")
    def _has_recipe(self) -> Any:
        trained = [*self.gliznet.variants, *self.trained, *self.hybrid]
        if trained and self.recipe is None:
            raise EntryError("recipe", f"required, since {trained[0]!r} is trained")
        return self
