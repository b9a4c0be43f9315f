"""Every config key with its type, default and meaning.

Validation, the editor schema and the reference page of keys are all generated from this file.

A config is a `RunConfig`; its `sources`, `datasets` and `training_sets` add to the project's presets (`Presets`).
Checks that types cannot express, such as whether an id exists or a split has rows, are in `zsbench.config.references`.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, create_model, model_validator

from gliznet.options import GliZNetOptions
from zsbench.config.labels import check_labels, fold
from zsbench.data.gold import readings
from zsbench.data.sources.fetch import Source
from zsbench.families import FAMILIES
from zsbench.plan.claims import CLAIM_METRICS, COUNTED, KINDS, RULES
from zsbench.plan.suites import METRICS, PROTOCOLS, metrics_of
from zsbench.recipe import Precision
from zsbench.recipe import Recipe as RecipeFields
from zsbench.store.fields import (
    Count,
    Entries,
    EntryError,
    Id,
    Inside,
    Model,
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

Split = Literal["train", "validation", "test", "all"]
Protocol = Literal[*PROTOCOLS]  # type: ignore[valid-type]
Weight = Annotated[float, Field(ge=0, le=1000)]


# Data: where rows come from and what they mean.


class Format(Strict):
    """How to parse a file."""

    type: Literal["table", "jsonl", "json", "parquet"] = Field(description="file format")
    separator: Annotated[str, Field(pattern=r"^[\t !#-~]$")] | None = absent(
        "column separator of a table; default: comma"
    )
    names: Annotated[Unique[str], Field(min_length=2)] | None = absent("column names, for a table without a header row")
    skip: list[Annotated[int, Field(ge=0)]] | None = absent("line numbers to skip, starting at 0")
    quoted: bool = Field(True, description="whether quotes delimit fields; false reads them as plain characters")


class Files(Strict):
    """Files with rows, either from a source or one of your own."""

    title: Text = Field("", description="name in tables and pages; default: the id")
    source: Id | None = absent("id of the source with the files; for a file of your own, set `path` instead")
    path: Text | None = absent("a file of your own: csv, tsv, jsonl, json or parquet, compressed or not")
    files: Annotated[dict[Split, Inside], Field(min_length=1)] | None = absent(
        "split -> file of the source. `all` requires published_split. Not needed for a source with a single file"
    )
    split_column: Text | None = absent("column with the split of each row")
    format: Format | None = absent("default: inferred from the file name")
    licence: Text = Field("not stated", description="shown on the data set's card")
    citation: Text = Field("not stated", description="shown on the data set's card")

    @model_validator(mode="after")
    def _one_origin(self) -> Any:
        if (self.source is None) == (self.path is None):
            raise EntryError("source", "missing; exactly one of `source` and `path` is required")
        return self


class Gold(Strict):
    """The gold column. Without `values`, `bins` or `encoding`, it contains the labels as text."""

    column: Text = Field(description="name of the gold column")
    values: Annotated[Unique[int | bool | Annotated[str, Field(min_length=1)]], Field(min_length=2)] | None = absent(
        "the value of each label in the file, in label order"
    )
    bins: Annotated[list[Annotated[list[float], Field(min_length=2, max_length=2)]], Field(min_length=2)] | None = (
        absent("an interval of ratings [low, high] per label, both ends included")
    )
    encoding: Literal["multi-hot"] | None = absent("each row holds a list of zeros and ones, one per label")

    @model_validator(mode="after")
    def _told_apart(self) -> Any:
        if sum(value is not None for value in (self.values, self.bins, self.encoding)) > 1:
            raise EntryError("", "more than one of `values`, `bins` and `encoding` is set; allowed: at most one")
        for low, high in self.bins or ():
            if low > high:
                raise EntryError("bins", f"[{low}, {high}] is empty; allowed: [low, high] with low <= high")
        ordered = sorted(self.bins or ())
        for (_, before), (low, high) in zip(ordered, ordered[1:], strict=False):
            if low <= before:
                raise EntryError(
                    "bins", f"[{low}, {high}] overlaps the interval that ends at {before}; both ends are included"
                )
        try:
            readings(self.values or [])
        except ValueError as error:
            raise EntryError("values", f"{error}; allowed: a distinct value for each label") from None
        return self


def _gold(value: Any) -> Any:
    return {"column": value} if isinstance(value, str) else value


class Dataset(Files):
    """A test set. Your own needs at least `path`, `text`, `gold` and `labels`."""

    redistribute: bool = Field(
        True, description="whether reports may show its texts; set to false if the licence forbids it"
    )
    text: Text = Field(description="column with the texts")
    gold: Annotated[Gold, BeforeValidator(_gold, json_schema_input_type=str | Gold)] = Field(
        description="column with the gold labels, or a mapping that also explains its values"
    )
    labels: Annotated[list[Text], Field(min_length=2)] | None = absent(
        "the labels in words; shorthand for `verbalisations` with a single wording"
    )
    verbalisations: Entries[Annotated[list[Text], Field(min_length=2)]] = Field(
        {}, description="wordings of the labels, all in the same order; the first is the default"
    )
    task: Literal["single", "multi"] = Field("single", description="single: one label per text; multi: any number")
    domain: Text = Field("not stated", description="shown on the data set's card")
    expected_rows: Annotated[dict[Split, Count], Field(min_length=1)] | None = absent(
        "number of rows per split; the run stops if the data differ"
    )
    published_split: Seed | None = absent("seed with which the publisher shuffled the rows into train and validation")
    validation_share: Annotated[float, Field(gt=0, lt=1)] | None = absent(
        "with published_split: use the publisher's validation rows as test rows, and this share of the rest for "
        "validation"
    )
    note: Text | None = absent("remark on the data set's card")

    @property
    def splits(self) -> set[str]:
        if self.published_split is None:
            return set(self.files or ())
        return {"train", "validation"} | ({"test"} if self.validation_share else set())

    @model_validator(mode="after")
    def _labels_fit(self) -> Any:
        if (self.labels is None) == (not self.verbalisations):
            raise EntryError("labels", "exactly one of `labels` and `verbalisations` is required")
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
                raise EntryError(key, f"{len(labels)} labels for {count} gold values; allowed: one label per value")
            check_labels(key, labels)
            folded = [fold(label) for label in labels]
            same, order = orders.setdefault(tuple(sorted(folded)), (wording, folded))
            if order != folded:
                raise EntryError(
                    key, f"same labels as {same!r} in a different order; all wordings must use the same order"
                )
        return self


def listed(value: Any) -> Any:
    """A single name as a list of one."""
    return [value] if isinstance(value, str) else value


Listed = Annotated[Some[Inside], BeforeValidator(listed, json_schema_input_type=Inside | Some[Inside])]


class TrainingSet(Files):
    """Rows to train on, with columns `text`, `labels` (true) and `not_labels` (plausible but false)."""

    files: Annotated[dict[Split, Listed], Field(min_length=1)] | None = absent(  # type: ignore[assignment]
        "split -> file of the source, or a list of files. Not needed for a source with a single file; for a hub "
        "repository, the default is what the `datasets` library would find"
    )
    expected_rows: Annotated[dict[Split, Count], Field(min_length=1)] | None = absent(
        "published number of rows per split; the run stops if the data differ"
    )
    group: Text | None = absent(
        "column of a group id; rows of a group stay together when validation rows are split off the training rows"
    )


class Claim(Strict):
    """A statement about systems, and the rule that judges it from the results of the run."""

    claim: Text = Field(description="the claim in a few words")
    source: Text = Field("this run's config", description="where the claim is made")
    rule: Literal[*RULES] = Field(description="how the claim is judged (docs/claims.md)")  # type: ignore[valid-type]
    systems: Some[Id] | None = absent(
        f"ids or kinds of systems ({', '.join(KINDS)}); with two, the first minus the second"
    )
    metric: Literal[*CLAIM_METRICS] | None = absent(  # type: ignore[valid-type]
        "better: metric to compare, default: the suite's headline metric; constant: quantity measured against the "
        "number of labels"
    )
    suite: Id | None = absent("suite that decides the claim; default: the first that includes all its systems")
    setting: Text | None = absent("for rule setting: a key of the model's configuration")
    value: float | bool | Text | None = absent("for rules setting, reads and trained_share: the claimed value")
    made_of: Some[Id] | None = absent(
        "sources that the system must be built from; otherwise the claim is about a different system"
    )
    publication: Text | None = absent("for rule published_delta: an entry of published.yaml")
    rows: Annotated[list[Text], Field(min_length=2, max_length=2)] | None = absent(
        "for rule published_delta: two of its systems, the first minus the second"
    )

    @model_validator(mode="after")
    def _fits_rule(self) -> Any:
        rule = RULES[self.rule]
        given = self.model_dump(exclude={"claim", "source", "rule", "systems"}, exclude_none=True)
        for key in rule.needs:
            if key not in given:
                raise EntryError(key, f"required by rule {self.rule!r}")
        for key in given.keys() - {*rule.needs, *rule.takes}:
            raise EntryError(key, f"not used by rule {self.rule!r}; remove it")
        if len(self.systems or ()) != rule.sides:
            raise EntryError("systems", f"{len(self.systems or ())} given; rule {self.rule!r} takes {rule.sides}")
        allowed = {"better": [*METRICS], "constant": [*COUNTED]}.get(self.rule, [])
        if self.metric is not None and self.metric not in allowed:
            raise EntryError(
                "metric", f"{self.metric!r} does not fit rule {self.rule!r}; allowed: {', '.join(allowed)}"
            )
        number = self.value if isinstance(self.value, float) else 0
        if self.rule in ("reads", "trained_share") and number <= 0:
            raise EntryError("value", f"{self.value!r}; allowed: a number above 0")
        return self


class Presets(Strict):
    """Everything that a config can refer to by id: the project's presets and the config's own entries."""

    sources: Entries[Source] = {}
    datasets: Entries[Dataset] = {}
    training_sets: Entries[TrainingSet] = {}
    claims: Entries[Claim] = {}


# Measurement.


_ALLOWED = "; ".join(f"{task}: {', '.join(metrics_of(task))}" for task in ("single", "multi"))


class Suite(Strict):
    """Data sets with the same task that are reported together."""

    title: Text | None = absent("name in tables and pages; default: the id")
    task: Literal["single", "multi"] = Field(description="single: one label per text; multi: any number")
    metric: Literal[*METRICS] = Field("macro_f1", description=f"headline metric ({_ALLOWED})")  # type: ignore[valid-type]
    datasets: Some[Id] = Field(description="ids of the data sets")
    rows: Annotated[int, Field(ge=2)] | Entries[Annotated[int, Field(ge=2)]] | None = Field(
        None,
        description="size of a seeded, stratified sample of each split; a mapping samples only the data sets it "
        "names; null: all rows",
    )
    sample_seed: Seed = Field(0, description="seed of that sample")
    verbalisations: Entries[Id] = Field({}, description="dataset -> wording; default: the first")
    protocols: Some[Protocol] | None = absent(
        "multi: how thresholds are chosen; default: those of fixed-0.5, val-tuned, cv and held-out that the splits "
        "allow"
    )
    folds: Annotated[int, Field(ge=2, le=50)] | None = absent("multi: number of folds for cv; default: 5")
    fold_seed: Seed | None = absent("multi: seed of the folds for cv; default: 0")
    partitions: Annotated[int, Field(ge=1, le=1000)] | None = absent(
        "multi: number of random partitions that cv averages over; default: 20"
    )

    @model_validator(mode="after")
    def _fits_task(self) -> Any:
        if self.metric not in metrics_of(self.task):
            allowed = ", ".join(metrics_of(self.task))
            raise EntryError("metric", f"{self.metric!r} does not fit task {self.task!r}; allowed: {allowed}")
        defaults = {"folds": 5, "fold_seed": 0, "partitions": 20}
        for key in ("protocols", *defaults):
            if self.task == "single" and getattr(self, key) is not None:
                raise EntryError(key, "only for suites with task 'multi'; remove it")
            if self.task == "multi" and getattr(self, key) is None:
                setattr(self, key, defaults.get(key))
        return self


class Sensitivity(Strict):
    """How much scores change with the label order and wording, on a seeded sample of each data set."""

    orders: Annotated[int, Field(ge=0, le=1000)] = Field(4, description="number of random label orders")
    rows: Annotated[int, Field(ge=1)] = Field(96, description="texts per data set")
    seed: Seed = Field(0, description="seed of the orders and the texts")
    wordings: bool = Field(True, description="also score every other wording of the labels")
    systems: Some[Id] | None = absent("systems to measure; default: all")


class LabelCounts(Strict):
    """Quality and cost as the number of labels grows: a data set's own labels, padded with labels of other sets."""

    datasets: Some[Id] | None = absent(
        "data sets of one single-label suite, each with at most as many labels as the smallest count; default: the "
        "first such set"
    )
    counts: Annotated[Some[Annotated[int, Field(ge=2, le=100_000)]], Field(min_length=2)] = Field(
        [2, 10, 50, 200, 1000], description="numbers of labels to test, ascending"
    )
    rows: Annotated[int, Field(ge=4)] = Field(16, description="texts per data set")
    tokens: Count = Field(
        150_000, description="token budget; a count is skipped if the encoder would read more tokens than this"
    )
    seed: Seed = Field(0, description="seed of the texts and the added labels")
    systems: Some[Id] | None = absent(
        "systems to measure, which must read labels and be scored on these sets; default: one of each kind"
    )

    @model_validator(mode="after")
    def _ascending(self) -> Any:
        if self.counts != sorted(self.counts):
            raise EntryError("counts", f"{self.counts} is not in ascending order")
        return self


class Confusable(Strict):
    """Pairs of labels that are similar according to the untrained encoder."""

    encoder: Id | None = absent("source of the encoder; default: `recipe.backbone`")
    cosine: Annotated[float, Field(gt=-1, lt=1)] = Field(
        0.5, description="cosine similarity above which two labels count as confusable"
    )


class Scoring(Strict):
    """How systems are scored."""

    precision: Precision = Field("fp32", description="auto: bf16 if the hardware supports it well, else fp32")
    token_budget: Annotated[int, Field(ge=64)] = Field(8192, description="tokens per batch, padding included")
    sensitivity: Sensitivity | None = absent("not measured by default")
    label_counts: LabelCounts | None = absent("not measured by default")
    confusable: Confusable | None = absent("not measured by default")


class Statistics(Strict):
    """Confidence intervals and significance tests."""

    draws: Annotated[int, Field(ge=100, le=1_000_000)] = Field(10_000, description="draws of the paired bootstrap")
    seed: Seed = Field(0, description="seed of the bootstrap")
    level: Annotated[float, Field(gt=0.5, lt=1)] = Field(0.95, description="confidence level of the intervals")
    margin: Annotated[float, Field(gt=0, le=1)] = Field(
        0.01,
        description="equivalence margin: a difference in the headline metric that is too small to matter",
    )
    system: Id | None = Field(
        None, description="reference system of the deltas in the suite tables; default: the first that is not a control"
    )


# Training.


class Part(Overrides, Strict):
    """A subset of another model's keys."""


class Switches(Overrides, Strict):
    """A subset of GliZNet's options."""

    null_is_a_value = True  # `focal_gamma` can be null


Recipe: TypeAlias = create_model(  # type: ignore[valid-type]
    "Recipe",
    __base__=Strict,
    __doc__="Training settings, shared by everything that is trained. All keys are required.",
    **fields_of(RecipeFields),
    seeds=(Some[Annotated[int, Field(ge=0, le=9999)]], Field(description="one model is trained per seed")),
)
ENTIRE_RUN = ("strategy", "gpus")  # recipe keys that a single model cannot override
OwnRecipe: TypeAlias = create_model(  # type: ignore[valid-type]
    "OwnRecipe",
    __base__=Part,
    __doc__="Recipe keys that this model overrides.",
    **{key: field for key, field in fields_of(RecipeFields, optional=True).items() if key not in ENTIRE_RUN},
)
Options: TypeAlias = create_model(  # type: ignore[valid-type]
    "Options", __base__=Switches, __doc__="Options of GliZNet.", **fields_of(GliZNetOptions)
)


class GliZNet(Strict):
    """Variants of GliZNet; the options of a variant override those of `base`."""

    base: Options = Field({}, validate_default=True, description="options shared by all variants")
    variants: Entries[Options] = Field({}, description="variant -> the options that it changes")
    compounds: Entries[Annotated[list[Id], Field(min_length=2, max_length=2)]] = Field(
        {}, description="[variant, baseline]: a contrast that deliberately changes several options at once"
    )

    @model_validator(mode="after")
    def _variants_differ(self) -> Any:
        base, seen = self.base.model_dump(), dict[Any, str]()
        for name, changes in self.variants.items():
            try:
                options = GliZNetOptions(**base | changes.model_dump())
            except ValueError as error:
                switch, _, problem = str(error).partition(": ")
                raise EntryError(f"variants.{name}.{switch}", problem) from None
            if (same := seen.setdefault(options, name)) != name:
                raise EntryError(f"variants.{name}", f"same options as {same!r}; each variant must be different")
        return self


class HybridTraining(Strict):
    """How the heads of a hybrid are trained."""

    epochs: Count = Field(description="passes over the training rows, at most")
    batch_size: Count = Field(description="texts per step")
    learning_rate: Annotated[float, Field(gt=0)] = Field(description="peak learning rate")
    weight_decay: Weight
    grad_clip: Annotated[float, Field(gt=0)] = Field(description="maximum gradient norm")
    patience: Count = Field(description="epochs without improvement before training stops")
    lr_floor: Annotated[float, Field(ge=0, le=1)] = Field(
        0.02, description="final learning rate of the cosine schedule, as a share of the peak"
    )
    selection: Literal["mean_ap", "macro_f1_at_0.5"] = Field(
        "mean_ap", description="validation metric that selects the epoch; macro_f1_at_0.5 is the published choice"
    )
    blend_weight: Weight
    kl_weight: Weight
    num_codes: Count
    proj_dim: Count
    max_length: Annotated[int, Field(ge=8)]


class Hybrid(Strict):
    """A HybridNLI-PolyEncoder that is trained here."""

    nli: Model = Field(
        description="the NLI model: an id under `trained`, or anything that `systems.<id>.model` accepts"
    )
    dataset: Id = Field(description="data set of a multi-label suite; its train split trains the heads")
    nli_only: Unique[Text] = Field(description="labels scored by the NLI model alone, without a head")
    template: Template = Field(description="hypothesis template; {} is the label")
    blends: Some[Literal["learned", "heads", "half", "nli"]] = Field(
        description="mixtures of NLI and head scores to evaluate; learned is the system itself, the others show where "
        "its gain comes from"
    )
    training: HybridTraining


def _by_family(name: str, base: type, options: dict[str, type]) -> Any:
    """A discriminated union with one model per family: the keys of the family plus those of `base`."""
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
    """A competitor trained in the same way as GliZNet."""

    recipe: OwnRecipe | None = absent("recipe keys that this model overrides")


class System(Part):
    """Any system that is not trained here."""

    suites: Some[Id] | None = absent("suites to score; default: all whose task the family supports")
    seen: Unique[Id] | None = absent("data sets that the model was trained on; []: none; default: unknown")


Trained: TypeAlias = _by_family(  # type: ignore[valid-type]
    "Trained",
    TrainedModel,
    {name: family.training_options for name, family in FAMILIES.items() if family.training_options},
)
SystemEntry: TypeAlias = _by_family(  # type: ignore[valid-type]
    "System", System, {name: family.options for name, family in FAMILIES.items()}
)


# Speed.

Labels = Annotated[int, Field(ge=2, le=1000)]  # of hardset-mini


class Mixed(Strict):
    """Benchmark on texts of mixed lengths."""

    texts: Count = Field(description="number of texts")
    mean_tokens: Annotated[int, Field(ge=4, le=8192)] = Field(description="mean text length")
    max_tokens: Annotated[int, Field(ge=32, le=8192)] = Field(description="every system truncates to this length")
    labels: Labels = Field(description="number of labels")
    many_labels: Labels = Field(description="number of labels in the second measurement")
    slow_texts: Count = Field(description="texts that the transformers pipeline scores, of as many lengths")
    many_texts: Count = Field(description="the same with many labels")


class Sweep(Strict):
    """Grid of label counts and text lengths."""

    labels: Some[Labels] = Field(description="numbers of labels")
    tokens: Some[Count] = Field(description="text lengths in tokens")
    texts: Count = Field(description="maximum number of texts")
    operations: Annotated[float, Field(gt=0)] = Field(
        description="floating-point operations per repeat; limits the number of texts"
    )


class SpeedTraining(Strict):
    """Benchmark of training steps."""

    steps: Count = Field(description="optimiser steps per round")
    batch: Count = Field(description="texts per step")
    norms_every: Count = Field(description="steps between two measurements of gradient norms: two validations")


class SpeedHybrid(Strict):
    """Benchmark of HybridNLI's NLI pass on topics-mini."""

    nli_rows: Annotated[int, Field(ge=1, le=840)] = Field(description="number of texts")


class Memory(Strict):
    """Short texts through a tiny encoder, to detect growing memory use."""

    texts: Count
    labels: Labels
    block: Count = Field(description="texts per block")


class Speed(Strict):
    """The `speed` target: all systems under equal conditions, and their goals."""

    backbone: Id = Field(description="source of the encoder; heads are randomly initialised")
    precisions: Some[Literal["fp32", "bf16"]] = Field(
        description="precisions to measure; the first one is used for the sweep"
    )
    threads: Count = Field(description="CPU threads on a machine without a GPU")
    repeats: Annotated[int, Field(ge=2)] = Field(description="interleaved rounds of each measurement")
    shapes: Some[Literal["own", "deberta"]] = Field(
        description="own: the backbone; deberta: a randomly initialised DeBERTa-v3 of the same size"
    )
    token_budget: Annotated[int, Field(ge=64)] = Field(description="tokens per batch, padding included")
    seed: Seed = Field(description="seed of texts, labels and heads")
    gate_texts: Count = Field(
        description="texts on which two implementations must give equal scores before they are timed"
    )
    gliclass_batches: Some[Count] = Field(description="batch sizes to try for the gliclass pipeline")
    pipeline_batches: Some[Count] = Field(description="batch sizes to try for the transformers pipeline")
    mixed: Mixed
    sweep: Sweep
    training: SpeedTraining
    hybrid: SpeedHybrid
    memory: Memory


# The config as a whole.


class Data(Strict):
    """Where data are read from."""

    mirror: Text | None = Field(
        None,
        description="folder with repositories downloaded by `hf download --local-dir`; ZSBENCH_MIRROR overrides it",
    )


class RunConfig(Strict):
    """A zsbench run. Without training, `run`, `suites` and `systems` are enough."""

    run: Id = Field(description="name of the folders results/<run> and reports/<run>")
    data: Data = Data()
    sources: Entries[Source] = Field({}, description="where files come from, in addition to the project's sources")
    datasets: Entries[Dataset] = Field({}, description="test sets, in addition to the project's")
    training_sets: Entries[TrainingSet] = Field({}, description="training sets, in addition to the project's")
    suites: Annotated[Entries[Suite], Field(min_length=1)] = Field(
        description="groups of data sets that systems are scored on"
    )
    recipe: Recipe | None = Field(None, description="training settings; required if anything is trained")
    gliznet: GliZNet = GliZNet()
    trained: Entries[Trained] = Field({}, description="competitors trained with the same recipe")
    hybrid: Entries[Hybrid] = Field({}, description="HybridNLI systems trained here")
    systems: Entries[SystemEntry] = Field({}, description="all other systems")
    scoring: Scoring = Scoring()
    speed: Speed | None = absent("settings of the speed benchmark; without them there is none")
    claims: Entries[Claim] = Field({}, description="claims to judge, in addition to the project's")
    statistics: Statistics = Statistics()

    @model_validator(mode="before")
    @classmethod
    def _without_suites(cls, config: Any) -> Any:
        """When an overlay removes a suite (null), also remove the systems that are in no other suite."""
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
            raise EntryError("recipe", f"required, because {trained[0]!r} is trained")
        return self
