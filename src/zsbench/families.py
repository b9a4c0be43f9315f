"""The registry of families: every kind of system, its options, what it reads and how it is trained.

A new family is an entry here and a module with its adapter (and, where the bench trains it, its task). Everything that
lists families reads `FAMILIES`. Importing this module imports no model library.
"""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from zsbench.fields import Id, Template, Url, pattern

Variable = Annotated[str, pattern(r"^[A-Za-z_]\w*$", "a name of a variable")]
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
    """Keys of an entry in the config besides the ones that every family has (`family`, `suites`, `seen`; `recipe`).

    Adapters read theirs with `model_construct(**settings)`: the config was checked, and the defaults are only here.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=(), defer_build=True)


class Pretrained(Options):
    """A system that loads weights."""

    model: Id = Field(description="source of the weights")


class NLIOptions(Pretrained):
    """An NLI cross-encoder."""

    template: Template = Field("This example is {}.", description="hypothesis made of a label")


class NLITrainingOptions(Options):
    """An NLI cross-encoder that is trained here."""

    template: Template = Field(description="hypothesis made of a label")


class BiEncoderOptions(Pretrained):
    """A sentence-transformers bi-encoder."""

    template: Template = Field("{}", description="what of a label is embedded")
    text_prompt: str | None = Field(None, description="put before every text; null is the model's own query prompt")
    label_prompt: str | None = Field(
        None, description="put before every label; null is the model's own document prompt"
    )


class ControlOptions(Options):
    """A predictor without a model."""

    control: Control


class SupervisedOptions(Options):
    """Logistic regression on a dataset's training rows."""

    features: Literal["words", "length"] = Field(
        description="TF-IDF of words and word pairs, or the length of the text alone"
    )


class HybridOptions(Pretrained):
    """A published HybridNLI checkpoint."""

    nli: Id = Field(description="source of the NLI model that the heads correct")
    template: Template = Field("This example is {}.", description="hypothesis made of a label")
    blend: Literal["learned", "heads", "half", "nli"] = Field(
        "learned", description="trained weights; the heads alone; half of each; the NLI model alone"
    )


class GLiClassOptions(Pretrained):
    """A GLiClass uni-encoder."""

    prompt: str = Field("", description="the task in words, put before every text")


class RerankerOptions(Pretrained):
    """A sentence-transformers CrossEncoder."""

    template: Template = Field("{}", description="query made of a label")
    prompt: str | None = Field(None, description="an instruction, for models that take one")


class CustomOptions(Options):
    """Any class with `score(texts, labels)`."""

    class_: Annotated[str, pattern(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$", "package.module:Class")] = Field(
        alias="class", description="`package.module:Class`"
    )
    arguments: dict[str, JsonValue] = Field(default_factory=dict, description="keyword arguments of the class")


class LLMOptions(Options):
    """A generative model behind an OpenAI-compatible endpoint."""

    url: Url = Field(description="of the endpoint, up to `/v1`")
    name: str = Field(description="the model's name there")
    key_variable: Variable | None = Field(None, description="environment variable that holds the key")
    parallel: int = Field(4, ge=1, le=64, description="requests at a time")
    leave_out: list[Literal["max_tokens", "logprobs", "temperature"]] = Field(
        default_factory=list, description="request fields that the server refuses"
    )


@dataclass(frozen=True)
class Family:
    """One kind of system.

    Attributes:
        summary: one line for `zsbench systems`.
        adapter: "module:Class" that scores; made as `Class(spec, layout)`.
        options: of its entries under `systems`.
        packages: distributions that it computes with; their versions are part of a cell's key.
        extra: optional dependencies of this project to install for it.
        tasks: kinds of suites it can be in.
        joint: reads all labels of a text at once (or may), so that their order can matter.
        reads_labels: the wording of the labels is an input; False where there are none, or only those trained for.
        task_class: "module:Class" of the `Task` that trains it; None where the bench does not.
        training_options: of its entries under `trained`; None where it has none there.
        model_type: what BTZSC calls it; None where it has no name for it.
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
        """Of the adapter."""
        return self.adapter.partition(":")[0]

    @property
    def task_module(self) -> str:
        """Of the task; "" where the bench does not train the family."""
        return (self.task_class or "").partition(":")[0]

    @property
    def needs(self) -> tuple[str, ...]:
        """Keys that an entry under `systems` must have."""
        return self._keys(lambda required: required)

    @property
    def takes(self) -> tuple[str, ...]:
        """Keys that an entry under `systems` may have."""
        return self._keys(lambda required: not required)

    def _keys(self, wanted: Callable[[bool], bool]) -> tuple[str, ...]:
        fields = self.options.model_fields.items()
        return tuple(field.alias or name for name, field in fields if wanted(field.is_required()))


TORCH = ("torch", "transformers", "tokenizers")
FAMILIES = {
    "gliznet": Family(
        "GliZNet: one encoder pass for a text and all its labels",
        "zsbench.systems.gliznet:GliZNetSystem",
        Pretrained,
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
        "cosine of sentence embeddings, label embeddings cached",
        "zsbench.systems.biencoder:BiEncoderSystem",
        BiEncoderOptions,
        (*TORCH, "sentence-transformers"),
        task_class="zsbench.training.biencoder:BiEncoderTask",
        training_options=Options,
        model_type="embedding",
    ),
    "control": Family(
        "trivial and perfect predictors that frame the rest",
        "zsbench.systems.controls:ControlSystem",
        ControlOptions,
        ("numpy",),
        reads_labels=False,
    ),
    "supervised": Family(
        "logistic regression on the dataset's own training rows",
        "zsbench.systems.supervised:SupervisedSystem",
        SupervisedOptions,
        ("numpy", "scikit-learn"),
        reads_labels=False,
    ),
    "hybridnli": Family(
        "HybridNLI: NLI corrected by trained heads",
        "zsbench.systems.hybrid:HybridSystem",
        HybridOptions,
        TORCH,
        tasks=("multi",),
        reads_labels=False,
    ),
    "gliclass": Family(
        "GLiClass uni-encoder, through its own package",
        "zsbench.systems.gliclass:GLiClassSystem",
        GLiClassOptions,
        (*TORCH, "gliclass"),
        extra="gliclass",
        joint=True,
        task_class="zsbench.training.gliclass:GLiClassTask",
        training_options=Options,
    ),
    "reranker": Family(
        "reranker (CrossEncoder), the label as query",
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
        "scores from a csv (`zsbench import-scores`)",
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
MODEL_TYPES = tuple(family.model_type for family in FAMILIES.values() if family.model_type)  # that BTZSC knows


def import_class(dotted: str) -> Any:
    """The class that "module:Class" names."""
    module, _, name = dotted.partition(":")
    return getattr(importlib.import_module(module), name)


class MissingPackageError(RuntimeError):
    """A package that a family computes with is not installed; the message says what to install."""


def versions(name: str) -> dict[str, str]:
    """Versions of the packages that a family computes with.

    Raises:
        MissingPackageError: one is not installed.
    """
    family, found = FAMILIES[name], {}
    for package in family.packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError as error:
            install = f"zsbench[{family.extra}]" if family.extra else package
            raise MissingPackageError(f"family {name!r} needs {package!r}; run `pip install {install}`") from error
    return found


def package_files(dotted: str) -> list[Path]:
    """Every .py of the top-level package (or module) of a user's class, without importing it.

    Args:
        dotted: "package.module:Class".

    Raises:
        MissingPackageError: no such package.
    """
    top = dotted.partition(":")[0].partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None or not (spec.origin or spec.submodule_search_locations):
        raise MissingPackageError(f"no package {top!r}; install it first")
    folders = [Path(folder) for folder in spec.submodule_search_locations or []]
    return [file for folder in folders for file in sorted(folder.rglob("*.py"))] or [Path(str(spec.origin))]
