"""The registry of system families: their options, what they read and how they are trained.

To add a family, add an entry here and a module with its adapter (and with its task, if the bench trains it). Everything
that lists families reads `FAMILIES`. Importing this module does not import any model library.
"""

import importlib
import importlib.metadata
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from zsbench.store.fields import Model, Template, Url, pattern

Variable = Annotated[str, pattern(r"^[A-Za-z_]\w*$", "the name of an environment variable")]
Control = Literal[
    "majority",
    "always-positive",
    "prior-random",
    "uniform-random",
    "oracle",
    "shuffled-oracle",
    "position-first",
    "position-last",
]
Task = Literal["single", "multi"]


class Options(BaseModel):
    """Config keys of a family, in addition to those that all families share (`family`, `suites`, `seen`; `recipe`).

    Adapters read them with `model_construct(**settings)`: the config is validated before, and defaults are only here.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=(), defer_build=True)


class Pretrained(Options):
    """A system that loads pretrained weights."""

    model: Model = Field(
        description="the weights: id of a source, owner/name on the hub, or a folder such as ./my-checkpoint"
    )


class GliZNetOptions(Pretrained):
    """A published GliZNet checkpoint."""

    truncation: Literal["label-first", "reference"] | None = Field(
        None,
        description="what to truncate in long inputs; label-first: the text; reference: labels first, as in the "
        "published pipeline; null: the checkpoint's setting",
    )


class NLIOptions(Pretrained):
    """An NLI cross-encoder."""

    template: Template = Field("This example is {}.", description="hypothesis template; {} is the label")


class NLITrainingOptions(Options):
    """An NLI cross-encoder trained here."""

    template: Template = Field(description="hypothesis template; {} is the label")


class BiEncoderOptions(Pretrained):
    """A sentence-transformers bi-encoder."""

    template: Template = Field("{}", description="template of the embedded label; {} is the label")
    text_prompt: str | None = Field(None, description="prefix of every text; null: the model's query prompt")
    label_prompt: str | None = Field(None, description="prefix of every label; null: the model's document prompt")


class ControlOptions(Options):
    """A predictor without a model."""

    control: Control = Field(description="which predictor")


class SupervisedOptions(Options):
    """Logistic regression on the training rows of a data set."""

    features: Literal["words", "length"] = Field(
        description="words: TF-IDF of words and word pairs; length: text length only"
    )


class HybridOptions(Pretrained):
    """A published HybridNLI checkpoint."""

    nli: Model = Field(description="the NLI model that the heads correct, given like `model`")
    template: Template = Field("This example is {}.", description="hypothesis template; {} is the label")
    blend: Literal["learned", "heads", "half", "nli"] = Field(
        "learned",
        description="how NLI and head scores are mixed; learned: trained weights; heads: heads only; half: equal "
        "parts; nli: NLI only",
    )


class GLiClassOptions(Pretrained):
    """A GLiClass uni-encoder."""

    prompt: str = Field("", description="task description in words, prepended to every text")


class RerankerOptions(Pretrained):
    """A sentence-transformers CrossEncoder."""

    template: Template = Field("{}", description="query template; {} is the label")
    prompt: str | None = Field(None, description="instruction, for models that accept one")


class CustomOptions(Options):
    """Any class with `score(texts, labels)`."""

    class_: Annotated[str, pattern(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", "package.module:Class")] = Field(
        alias="class", description="`package.module:Class`"
    )
    arguments: dict[str, JsonValue] = Field(default_factory=dict, description="keyword arguments for its constructor")


class LLMOptions(Options):
    """A generative model behind an OpenAI-compatible endpoint."""

    url: Url = Field(description="URL of the endpoint, up to and including `/v1`")
    name: str = Field(description="model name at the endpoint")
    key_variable: Variable | None = Field(None, description="environment variable with the API key")
    parallel: int = Field(4, ge=1, le=64, description="concurrent requests")
    leave_out: list[Literal["max_tokens", "logprobs", "temperature"]] = Field(
        default_factory=list, description="request fields that the server does not accept"
    )


@dataclass(frozen=True)
class Family:
    """A kind of system.

    Attributes:
        summary: one line for `zsbench systems`.
        adapter: "module:Class" of the scorer; constructed as `Class(spec, layout)`.
        options: keys of its entries under `systems`.
        packages: distributions it depends on; their versions are part of a cell's key.
        extra: the optional-dependency group of this project that installs them.
        tasks: suite tasks it supports.
        joint: whether it may read all labels of a text at once, so that their order can matter.
        reads_labels: whether the wording of the labels is an input; False for systems that ignore labels or know only
            those they were trained on.
        task_class: "module:Class" of the `Task` that trains it; None if the bench cannot train it.
        training_options: keys of its entries under `trained`; None if it cannot be listed there.
        model_type: its name in BTZSC; None if BTZSC does not have such systems.
    """

    summary: str
    adapter: str
    options: type[Options]
    packages: tuple[str, ...]
    extra: str | None = None
    tasks: tuple[Task, ...] = ("single", "multi")
    joint: bool = False
    reads_labels: bool = True
    task_class: str | None = None
    training_options: type[Options] | None = None
    model_type: str | None = None

    @property
    def module(self) -> str:
        """Module of the adapter."""
        return self.adapter.partition(":")[0]

    @property
    def task_module(self) -> str:
        """Module of the task; "" if the bench cannot train the family."""
        return (self.task_class or "").partition(":")[0]

    @property
    def takes(self) -> tuple[str, ...]:
        """Keys that an entry under `systems` may, but need not have."""
        fields = self.options.model_fields.items()
        return tuple(field.alias or name for name, field in fields if not field.is_required())


TORCH = ("torch", "transformers", "tokenizers")
FAMILIES = {
    "gliznet": Family(
        "GliZNet: one encoder pass per text with all its labels",
        "zsbench.systems.gliznet:GliZNetSystem",
        GliZNetOptions,
        TORCH,
        joint=True,
        task_class="zsbench.training.gliznet:GliZNetTask",
    ),
    "nli": Family(
        "NLI cross-encoder, one pass per pair",
        "zsbench.systems.nli:NLISystem",
        NLIOptions,
        TORCH,
        task_class="zsbench.training.nli:NLITask",
        training_options=NLITrainingOptions,
        model_type="nli",
    ),
    "biencoder": Family(
        "cosine similarity of sentence embeddings, label embeddings cached",
        "zsbench.systems.biencoder:BiEncoderSystem",
        BiEncoderOptions,
        (*TORCH, "sentence-transformers"),
        task_class="zsbench.training.biencoder:BiEncoderTask",
        training_options=Options,
        model_type="embedding",
    ),
    "control": Family(
        "trivial and perfect predictors, as lower and upper bounds",
        "zsbench.systems.controls:ControlSystem",
        ControlOptions,
        ("numpy",),
        reads_labels=False,
    ),
    "supervised": Family(
        "logistic regression on the training rows of the data set",
        "zsbench.systems.supervised:SupervisedSystem",
        SupervisedOptions,
        ("numpy", "scikit-learn"),
        reads_labels=False,
    ),
    "hybridnli": Family(
        "HybridNLI: an NLI model corrected by trained heads",
        "zsbench.systems.hybrid:HybridSystem",
        HybridOptions,
        TORCH,
        tasks=("multi",),
        reads_labels=False,
    ),
    "gliclass": Family(
        "GLiClass uni-encoder, run with the gliclass package",
        "zsbench.systems.gliclass:GLiClassSystem",
        GLiClassOptions,
        (*TORCH, "gliclass"),
        extra="gliclass",
        joint=True,
        task_class="zsbench.training.gliclass:GLiClassTask",
        training_options=Options,
    ),
    "reranker": Family(
        "reranker (CrossEncoder) with the label as query",
        "zsbench.systems.reranker:RerankerSystem",
        RerankerOptions,
        (*TORCH, "sentence-transformers"),
        model_type="reranker",
    ),
    "custom": Family(
        "your own class with a method score(texts, labels)",
        "zsbench.systems.custom:CustomSystem",
        CustomOptions,
        (),
        joint=True,
    ),
    "imported": Family(
        "scores imported from a csv (`zsbench import-scores`)",
        "zsbench.systems.imported:ImportedSystem",
        Options,
        ("pandas",),
        reads_labels=False,
    ),
    "llm": Family(
        "generative model behind an OpenAI-compatible endpoint",
        "zsbench.systems.llm:LLMSystem",
        LLMOptions,
        (),
        joint=True,
        model_type="llm",
    ),
}
TRAINABLE = tuple(name for name, family in FAMILIES.items() if family.task_class)
JOINT = tuple(name for name, family in FAMILIES.items() if family.joint)
INSENSITIVE = tuple(name for name, family in FAMILIES.items() if not family.reads_labels)
MODEL_TYPES = tuple(family.model_type for family in FAMILIES.values() if family.model_type)  # known to BTZSC


def import_class(dotted: str) -> Any:
    """Import the class named by "module:Class"."""
    module, _, name = dotted.partition(":")
    return getattr(importlib.import_module(module), name)


class MissingPackageError(RuntimeError):
    """A package that a family depends on is not installed; the message says what to install."""


def versions(name: str) -> dict[str, str]:
    """Versions of the packages that a family depends on.

    Raises:
        MissingPackageError: one of them is not installed.
    """
    family, installed = FAMILIES[name], {}
    for package in family.packages:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError as error:
            install = f"zsbench[{family.extra}]" if family.extra else package
            raise MissingPackageError(f"family {name!r} needs {package!r}; run `pip install {install}`") from error
    return installed


def package_files(dotted: str) -> list[Path]:
    """All .py files of the top-level package (or module) of a user's class, without importing it.

    Raises:
        MissingPackageError: the package is not installed.
    """
    top = dotted.partition(":")[0].partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None or not (spec.origin or spec.submodule_search_locations):
        raise MissingPackageError(f"no package {top!r}; install it first")
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    return [file for folder in folders for file in sorted(folder.rglob("*.py"))] or [Path(str(spec.origin))]
