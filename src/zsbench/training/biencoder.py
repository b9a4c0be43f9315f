"""A bi-encoder as a task of the shared training loop: text and label are embedded separately and scored by cosine.

Shapes: B batch, K labels, U distinct labels of a batch, T tokens, D embedding size.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.nn.utils.rnn import pad_sequence

from gliznet.batching import token_budget_batches
from gliznet.device import to_device
from zsbench.systems.texts import EscapeSpecialTokens
from zsbench.training.task import VALIDATION_TOKENS, Task

if TYPE_CHECKING:  # takes seconds to import, and only this family needs it
    from sentence_transformers import SentenceTransformer

SCALE = 20.0  # factor of the cosines; the default of sentence-transformers' MultipleNegativesRankingLoss


def multiple_negatives_loss(cosine: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Multiple-negatives ranking loss over each text's own labels.

    Mean over true labels p of -log( e^(s c_p) / (e^(s c_p) + sum over false labels n of e^(s c_n)) ), s = 20.

    Args:
        cosine: (B, K) cosines.
        targets: (B, K) 1 true, 0 false, `task.IGNORED` no label.

    Returns:
        A scalar; a text without a false label contributes zero.

    Source: Henderson et al. 2017 (arXiv 1705.00652), without a text's other true labels in the denominator.
    """
    logits = SCALE * cosine
    false = logits.masked_fill(targets != 0, -1e4).logsumexp(dim=1, keepdim=True)  # (B, 1)
    true = targets == 1
    return (F.softplus(false - logits) * true).sum() / true.sum().clamp(min=1)


class BiEncoder(torch.nn.Module):
    """Cosines (B, K) of texts and labels, in a single forward call per step, as distributed wrappers require.

    Without labels, the embeddings (B, D) of the texts. Sharded weights are gathered only in a forward call.
    """

    def __init__(self, sentences: "SentenceTransformer") -> None:
        super().__init__()
        self.sentences = sentences

    def embed(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """L2-normalised embeddings (B, D) float32 of tokens (B, T)."""
        features = {"input_ids": input_ids, "attention_mask": attention_mask}
        return F.normalize(self.sentences(features)["sentence_embedding"].float(), dim=-1)

    def forward(
        self,
        text_ids: torch.Tensor,
        text_mask: torch.Tensor,
        label_ids: torch.Tensor | None = None,
        label_mask: torch.Tensor | None = None,
        columns: torch.Tensor | None = None,
    ) -> torch.Tensor:
        texts = self.embed(text_ids, text_mask)  # (B, D)
        if label_ids is None or label_mask is None:
            return texts
        labels = self.embed(label_ids, label_mask)[columns]  # (U, D) -> (B, K, D)
        return (texts[:, None] * labels).sum(dim=-1)  # not a matmul, which autocast would run in lower precision


class BiEncoderTask(Task):
    """Mean pooling on the backbone, trained with multiple-negatives ranking over the labels drawn for each row.

    This is sentence-transformers' usual loss for pairs with negatives. Most embedding models were trained with it, so a
    backbone that is an embedding model continues its own training. Negatives are only the row's own false labels: label
    names recur, so another row's label may be true for this text, and the other families see no more negatives.
    """

    model: BiEncoder

    def load(self, backbone: Path) -> None:
        self.backbone = backbone
        sentences = _mean_pooling(backbone, self.recipe.max_length)
        for name, parameter in sentences.named_parameters():
            if ".pooler." in name:
                parameter.requires_grad_(False)  # not used by the scores
        self.model, self.tokenizer = BiEncoder(sentences), sentences.tokenizer
        self.escape = EscapeSpecialTokens(self.tokenizer)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, truncated at the end."""
        return self.tokenizer(self.escape(texts), truncation=True, max_length=self.recipe.max_length)["input_ids"]

    def collate(
        self, texts: Sequence[str], label_lists: Sequence[Sequence[str]], targets: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """Tokens of the texts (B, T) and of the batch's distinct labels (U, T); columns and targets (B, K)."""
        index = {name: i for i, name in enumerate(dict.fromkeys(name for labels in label_lists for name in labels))}
        columns = pad_sequence(
            [torch.tensor([index[name] for name in labels]) for labels in label_lists], batch_first=True
        )  # (B, K)
        text, label = self.pad(self.tokens(texts)), self.pad(self.tokens(list(index)))
        return {
            "text_ids": text["input_ids"],
            "text_mask": text["attention_mask"],
            "label_ids": label["input_ids"],
            "label_mask": label["attention_mask"],
            "columns": columns,
            "targets": targets,
        }

    def losses(self, model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
        """`multiple_negatives_loss` of the batch, as `total`."""
        inputs = {name: tensor for name, tensor in batch.items() if name != "targets"}
        return {"total": multiple_negatives_loss(model(**inputs), batch["targets"])}

    @torch.inference_mode()
    def score(self, texts: Sequence[str], label_lists: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Cosines; each distinct label is embedded once."""
        names = list(dict.fromkeys(name for labels in label_lists for name in labels))
        embedded, vectors = self._embed(texts), dict(zip(names, self._embed(names), strict=True))
        return [
            np.stack([vectors[name] for name in labels]) @ text
            for text, labels in zip(embedded, label_lists, strict=True)
        ]

    def _embed(self, texts: Sequence[str]) -> np.ndarray:
        """L2-normalised embeddings (n, D)."""
        ids = self.tokens(texts)
        batches = token_budget_batches([len(row) for row in ids], VALIDATION_TOKENS)
        padded = (self.pad([ids[i] for i in batch]) for batch in batches)
        vectors = [self.model(*(to_device(tensor, self.device) for tensor in batch.values())) for batch in padded]
        out = np.empty((len(ids), vectors[0].shape[1]), dtype=np.float32)
        out[np.concatenate(batches)] = torch.cat(vectors).float().cpu().numpy()
        return out

    def is_encoder(self, name: str) -> bool:
        return True  # it has no new parameters

    def save(self, state: dict[str, torch.Tensor], folder: Path) -> None:
        """Write a sentence-transformers folder."""
        whole = BiEncoder(_mean_pooling(self.backbone, self.recipe.max_length))  # `self.model` may be sharded
        whole.load_state_dict(state)
        whole.sentences.save(str(folder), create_model_card=False)


def _mean_pooling(backbone: Path, max_length: int) -> "SentenceTransformer":
    """A sentence-transformers model: the backbone, and the mean of its last hidden states over a text's tokens."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    settings: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True, "trust_remote_code": False}
    transformer = Transformer(str(backbone), model_kwargs=settings, max_seq_length=max_length)
    pooling = Pooling(transformer.get_embedding_dimension(), "mean")
    return SentenceTransformer(modules=[transformer, pooling], device="cpu")
