"""GLiClass, through the `gliclass` package: `<<LABEL>>a<<LABEL>>b<<SEP>>text` in one encoder pass.

Shapes: n texts, L labels, B batch.
"""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from gliznet.batching import length_limit, token_budget_batches
from gliznet.checkpoint_files import check_files
from gliznet.device import to_device, to_host
from gliznet.loading import check_loaded
from zsbench.families import GLiClassOptions
from zsbench.store.layout import Layout
from zsbench.store.provenance import read_json
from zsbench.systems import LabelSetError, UnknownSystemError
from zsbench.systems.base import Adapter
from zsbench.systems.texts import EscapeSpecialTokens, check_request

LABEL, SEPARATOR = "<<LABEL>>", "<<SEP>>"
MARKERS = (LABEL, SEPARATOR, "<<EXAMPLE>>")
LIMIT = 1024  # tokens per sequence; the default of the package's pipeline
CHUNK = 8  # labels per sequence if they do not fit into one; the default of the package's chunking pipeline


class GLiClassSystem(Adapter):
    """A uni-encoder checkpoint; scores equal those of the package's pipeline on one text at a time.

    Labels that do not fit into one sequence are scored in chunks, as in the package's chunking pipeline.
    """

    def __init__(self, spec: dict[str, Any], layout: Layout) -> None:
        super().__init__(spec, layout)
        check_files(self.folder)
        _check_config(self.folder, spec["system"])
        from gliclass import GLiClassModel, GLiClassModelConfig

        config = GLiClassModelConfig.from_pretrained(self.folder)
        config.encoder_config.dtype = torch.float32  # the package builds the encoder in the precision given here
        model, info = GLiClassModel.from_pretrained(
            str(self.folder),
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
        check_loaded(model, info, str(self.folder), exact=False)
        self.model = model.to(self.device).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(self.folder, trust_remote_code=False)
        self.escape = EscapeSpecialTokens(self.tokenizer, MARKERS)
        self.prompt = GLiClassOptions.model_construct(**spec["settings"]).prompt
        # A model trained in this run uses the recipe's max_length, which is stored with its tokenizer.
        trained_with = self.tokenizer.model_max_length if spec["model"][0] == "trained" else LIMIT
        self.limit = length_limit(self.model, LIMIT, trained_with)
        # Other pooling strategies include padding, so they need batches of texts of equal length.
        self.pads = self.model.config.pooling_strategy in ("first", "pass")

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Logits (n, L), or their sigmoids; see `System`.

        Raises:
            LabelSetError: the labels of a chunk do not fit into a sequence.
        """
        check_request(texts, labels)
        plain, names = self.escape(texts), self.escape(labels)
        chunks = label_chunks(self.tokenizer, self.limit, names)
        self._chunks, first = len(chunks), self.model.config.prompt_first
        logits, cut = np.empty((len(texts), len(labels)), dtype=np.float32), set[int]()
        for chunk in chunks:
            head = _head(names[chunk]) + self.prompt
            ids, long = self._tokenize([head + text if first else text + head for text in plain])
            self._check_room(ids, len(names[chunk]))
            cut.update(long)
            batches = self._batches([len(row) for row in ids])
            launched = ((batch, self._forward([ids[i] for i in batch], len(names[chunk]))) for batch in batches)
            for batch, values in to_host(launched):
                logits[batch, chunk] = values.numpy()
        self.count(truncated_texts=len(cut))
        if self.probabilities:
            return np.exp(-np.logaddexp(0.0, -logits.astype(np.float64)))
        return logits

    def _check_room(self, ids: Sequence[list[int]], n_labels: int) -> None:
        """Reject rows that lost labels: the model gives these the logit 0, higher than unlikely labels."""
        lost = [_lost(self.tokenizer, row, n_labels) for row in ids]
        if any(lost):
            row = next(i for i, number in enumerate(lost) if number)
            raise LabelSetError(
                f"{lost[row]} of {n_labels} labels do not fit into the {self.limit} tokens of a sequence with "
                f"texts[{row}] ({sum(map(bool, lost))} texts in total); use fewer or shorter labels, or shorter texts"
            )

    def _tokenize(self, strings: Sequence[str]) -> tuple[list[list[int]], list[int]]:
        """Token ids, truncated as in the pipeline, and the indices of truncated rows."""
        ids = self.tokenizer(list(strings), verbose=False)["input_ids"] if strings else []
        long = [i for i, row in enumerate(ids) if len(row) > self.limit]
        for i in long:  # only the tokenizer knows which special tokens remain after truncation
            ids[i] = self.tokenizer(strings[i], truncation=True, max_length=self.limit)["input_ids"]
        return ids, long

    def _batches(self, lengths: Sequence[int]) -> list[list[int]]:
        batches = token_budget_batches(lengths, self.token_budget)
        if self.pads:
            return batches
        return [list(same) for batch in batches for _, same in groupby(batch, key=lambda i: lengths[i])]

    @torch.inference_mode()
    def _forward(self, ids: Sequence[list[int]], n_labels: int) -> torch.Tensor:
        """Logits (B, L) of token ids."""
        batch = self.tokenizer.pad({"input_ids": list(ids)}, return_tensors="pt")
        inputs = {name: to_device(batch[name], self.device) for name in ("input_ids", "attention_mask")}
        with self.autocast():
            output = self.model(**inputs, max_num_classes=n_labels)
        return output.logits.float()


def _head(labels: Sequence[str]) -> str:
    return "".join(f"{LABEL}{label}" for label in labels) + SEPARATOR


def lost_labels(tokenizer: Any, limit: int, labels: Sequence[str]) -> int:
    """Number of labels that do not fit completely into `limit` tokens, regardless of the text."""
    return _lost(tokenizer, tokenizer(_head(labels), truncation=True, max_length=limit)["input_ids"], len(labels))


def _lost(tokenizer: Any, ids: list[int], n_labels: int) -> int:
    """Number of labels that a truncated sequence lost; the last one is complete if the separator follows it."""
    label, separator = tokenizer.convert_tokens_to_ids([LABEL, SEPARATOR])
    return max(n_labels - ids.count(label), int(separator not in ids))


def label_chunks(tokenizer: Any, limit: int, labels: Sequence[str]) -> list[slice]:
    """A single chunk if all labels fit into one sequence, else the package's chunks; does not depend on texts."""
    size = CHUNK if lost_labels(tokenizer, limit, labels) else len(labels)
    return [slice(start, start + size) for start in range(0, len(labels), size)]


def _check_config(folder: Path, system: str) -> None:
    """Reject encoders that the package would load with remote code, and unsupported architectures."""
    config = read_json(folder / "config.json")
    encoder = (config.get("encoder_config") or {}).get("model_type", "deberta-v2")
    if encoder not in CONFIG_MAPPING:
        raise UnknownSystemError(
            f"systems.{system}.model: encoder type {encoder!r} needs remote code, which is never run"
        )
    if config.get("architecture_type", "uni-encoder") != "uni-encoder":
        raise UnknownSystemError(
            f"systems.{system}.model: architecture {config['architecture_type']!r}; allowed: uni-encoder"
        )
