"""Scoring with other packages: `gliclass`, and NLI cross-encoders in transformers.

In bf16, their weights are converted: faster than autocast for both on a CPU with bf16 instructions.

Shapes: n texts, K labels.
"""

import copy
from collections.abc import Callable, Sequence

import numpy as np
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    ZeroShotClassificationPipeline,
)

from benchmarks.setting import Contender, Run, Setting
from gliznet.fast.encoders import use_fast_encoders
from hybridnli.encoder import NLIEncoder, nli_scores
from zsbench.recipe import Recipe
from zsbench.training.rows import EvaluationRows, TrainingRows

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
TEMPLATE = "This example is {}."
NLI_CLASSES = {"entailment": 0, "neutral": 1, "contradiction": 2}


def recipe(setting: Setting, steps: int, batch: int) -> Recipe:
    """A training recipe with the conditions of a setting."""
    return Recipe(
        backbone="",
        training_set="",
        steps=steps,
        effective_batch=batch,
        per_device_batch=batch,
        learning_rate=1e-5,
        head_learning_rate=1e-5,
        weight_decay=0.01,
        warmup_ratio=0.0,
        max_grad_norm=1.0,
        max_labels=20,
        label_draw="stratified",
        max_length=setting.max_tokens,
        evaluate_every=steps,
        patience=steps,
        selection="mean_ap",
        precision=setting.precision,
        strategy="single",
        gpus=1,
    )


def gliclass(setting: Setting) -> list[Contender]:
    """The pipeline of the `gliclass` package with each of the batch sizes; the page reports the best."""
    from gliclass import ZeroShotClassificationPipeline

    from zsbench.training.gliclass import GLiClassTask

    rows = TrainingRows([], [], []), EvaluationRows([], [], [])
    task = GLiClassTask(setting.backbone, {}, *rows, setting.seed, recipe(setting, steps=1, batch=1))
    model = task.model
    scorer = ZeroShotClassificationPipeline(
        model.to(DTYPES[setting.precision]),
        task.tokenizer,
        max_classes=max(25, setting.most_labels),
        max_length=setting.max_tokens,
        device=setting.device,
        progress_bar=False,
    )

    def prepare(size: int) -> Callable[[Sequence[str], Sequence[str]], Run]:
        def run(texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
            found = scorer(list(texts), list(labels), threshold=0.0, batch_size=size)
            return np.array([[one["score"] for one in row] for row in found], dtype=np.float32)

        return lambda texts, labels: lambda: run(texts, labels)

    encoder = model.model.encoder_model
    return [
        Contender(f"gliclass-{size}", f"gliclass pipeline, batches of {size}", encoder, prepare(size))
        for size in setting.batch_sizes
    ]


def nli_models(setting: Setting) -> tuple[NLIEncoder, PreTrainedModel]:
    """Our and transformers' model with the same weights: the backbone with a random NLI head.

    In bf16, ours autocasts and transformers' weights are converted.
    """
    tokenizer = AutoTokenizer.from_pretrained(
        setting.backbone, trust_remote_code=False, model_max_length=setting.max_tokens
    )
    names = {index: name for name, index in NLI_CLASSES.items()}
    torch.manual_seed(setting.seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        setting.backbone,
        dtype=torch.float32,  # published encoders are often stored in half precision
        use_safetensors=True,
        trust_remote_code=False,
        id2label=names,
        label2id=NLI_CLASSES,
    ).to(setting.device)
    plain = copy.deepcopy(model.eval())
    use_fast_encoders(model)
    dtype = DTYPES[setting.precision]
    encoder = NLIEncoder(model, tokenizer, TEMPLATE, dtype=str(dtype).removeprefix("torch."))
    return encoder, plain.to(dtype)  # type: ignore[arg-type]


def nli(setting: Setting) -> list[Contender]:
    """A cross-encoder with sorted batches, and the transformers zero-shot pipeline, on the same weights."""
    encoder, plain = nli_models(setting)
    scorer = ZeroShotClassificationPipeline(model=plain, tokenizer=encoder.tokenizer, device=setting.device)

    def run(texts: Sequence[str], labels: Sequence[str], size: int) -> np.ndarray:
        found = scorer(list(texts), list(labels), multi_label=True, hypothesis_template=TEMPLATE, batch_size=size)
        columns = [dict(zip(one["labels"], one["scores"], strict=True)) for one in found]
        return np.array([[row[label] for label in labels] for row in columns], dtype=np.float32)

    def sorted_pairs(texts: Sequence[str], labels: Sequence[str]) -> Run:
        return lambda: nli_scores(encoder, texts, encoder.hypotheses(labels), token_budget=setting.token_budget)

    def piped(size: int) -> Callable[[Sequence[str], Sequence[str]], Run]:
        return lambda texts, labels: lambda: run(texts, labels, size)

    found = [Contender("nli-sorted", "NLI cross-encoder, sorted batches", encoder.model.base_model, sorted_pairs)]
    for size in setting.pipeline_batch_sizes:
        title = f"transformers zero-shot pipeline, batches of {size}"
        found.append(Contender(f"pipeline-{size}", title, plain.base_model, piped(size)))
    return found
