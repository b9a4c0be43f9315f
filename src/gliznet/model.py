"""GliZNet: one encoder pass over a text and all its labels, one logit per label (docs/models/gliznet.md section 1).

Ordered bottom up: label vectors and label-specific text vectors from hidden states, the score of such a pair, and the
model. Shapes: B batch, K labels, T tokens, D hidden size.
"""

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from transformers import (
    MODEL_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.utils import ModelOutput

from gliznet.batching import position_limit
from gliznet.config import GliZNetConfig
from gliznet.fast.encoders import use_fast_encoders
from gliznet.fast.text_cache import TextStates
from gliznet.loading import load_model
from gliznet.losses import PADDING, total_loss
from gliznet.masks import encoder_mask
from gliznet.options import GliZNetOptions
from gliznet.order_invariant import check_supported, encode_order_invariant, label_numbers
from gliznet.pretrained import GliZNetPreTrainedModel
from gliznet.tokenizer import GliZNETTokenizer

MAX_LOGIT_SCALE = math.log(100.0)


def lab_positions(is_lab: Tensor, num_labels: int) -> tuple[Tensor, Tensor]:
    """Token position of each [LAB] of a sample, from left to right.

    Args:
        is_lab: (B, T) bool.
        num_labels: K, number of columns to return.

    Returns:
        positions (B, K) int64, 0 for a missing [LAB], and present (B, K) bool.
    """
    B, T = is_lab.shape
    rank = is_lab.long().cumsum(1) - 1  # (B, T) 0-based column of a [LAB]
    column = torch.where(is_lab & (rank < num_labels), rank, num_labels)  # other tokens go to an extra column
    index = torch.arange(T, device=is_lab.device).expand(B, T)
    positions = torch.zeros(B, num_labels + 1, dtype=torch.long, device=is_lab.device)
    positions = positions.scatter(1, column, index)[:, :num_labels]
    present = torch.arange(num_labels, device=is_lab.device) < is_lab.sum(1, keepdim=True)
    return positions * present, present


def masked_mean(H: Tensor, mask: Tensor) -> Tensor:
    """Means (B, K, D) of states H (B, T, D) over each row of a mask (B, K, T); 0 for an empty row."""
    weight = mask.to(H.dtype)
    return weight @ H / weight.sum(-1, keepdim=True).clamp(min=1)


def attend(queries: Tensor, H: Tensor, text_mask: Tensor, scale: Tensor | float) -> Tensor:
    """Label-specific text vectors: attention over the text with weights softmax(scale * query . state), no projections.

    Args:
        queries: (B, K, D).
        H: (B, T, D) keys and values.
        text_mask: (B, T) bool, with at least one true value per row.
        scale: factor of the dot products.

    Returns:
        (B, K, D).

    Source: docs/models/gliznet.md 1.3.
    """
    scores = queries @ H.transpose(1, 2) * scale  # (B, K, T)
    return scores.masked_fill(~text_mask.unsqueeze(1), float("-inf")).softmax(-1) @ H


class LabelEnrichment(nn.Module):
    """Labels attend to each other through f = W[e, t]: e <- normalise(e + MHA(e, f, f)).

    Source: docs/models/gliznet.md 1.6.
    """

    def __init__(self, hidden: int, heads: int = 8) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"enrichment: hidden size {hidden} is not a multiple of its {heads} heads")
        self.fuse = nn.Linear(2 * hidden, hidden)
        self.attn = nn.MultiheadAttention(hidden, heads, batch_first=True)

    def forward(self, label: Tensor, text: Tensor, present: Tensor) -> Tensor:
        """Enriched label vectors (B, K, D) from label and text vectors (B, K, D) and `present` (B, K)."""
        fused = self.fuse(torch.cat([label, text], dim=-1))
        absent = ~present
        absent[:, 0] = False  # labels fill columns from the left, so this only affects rows without labels (avoids NaN)
        change, _ = self.attn(label, fused, fused, key_padding_mask=absent, need_weights=False)
        return F.normalize(label + change, dim=-1)


class LabelScorer(nn.Module):
    """One logit per (text vector, label vector) pair.

    With text vector t and label vector e:
    - bilinear: t^T W e + c.
    - bilinear with identity initialisation: scale * t^T W e + c on normalised vectors, initially W = I, so the initial
      logit is `identity_scale * (cos(t, e) - identity_offset)`.
    - cosine: scale * cos(t, e), where scale starts at 1/0.07.
    - dot: scale * t . e, where scale starts at 1/sqrt(D).
    Scales are learned and at most 100.

    Source: docs/models/gliznet.md 1.4; identity initialisation is an addition of this project.
    """

    def __init__(self, hidden: int, options: GliZNetOptions) -> None:
        super().__init__()
        self.unit = options.head == "cosine" or options.head_init == "identity"
        self.bilinear = nn.Bilinear(hidden, hidden, 1) if options.head == "bilinear" else None
        first = {"bilinear": options.identity_scale, "cosine": 1 / 0.07, "dot": hidden**-0.5}[options.head]
        scaled = options.head != "bilinear" or options.head_init == "identity"
        self.logit_scale = nn.Parameter(torch.tensor(math.log(first))) if scaled else None
        if self.bilinear is not None:
            self._init_bilinear(self.bilinear, options)

    @staticmethod
    @torch.no_grad()
    def _init_bilinear(layer: nn.Bilinear, options: GliZNetOptions) -> None:
        hidden = layer.in1_features
        if options.head_init == "scaled":
            bound = math.sqrt(3) / hidden  # Var(W) = 1/D^2 cancels |t|^2 |e|^2 = D^2 of unit-variance states
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.zeros_(layer.bias)
        elif options.head_init == "identity":
            layer.weight.copy_(torch.eye(hidden).unsqueeze(0))
            nn.init.constant_(layer.bias, -options.identity_scale * options.identity_offset)

    def forward(self, text: Tensor, label: Tensor) -> Tensor:
        """Logits (B, K) of text vectors (B, K, D) and label vectors (B, K, D)."""
        text, label = self._project(text, label)
        return self._scale((text * label).sum(-1))

    def every_pair(self, text: Tensor, label: Tensor) -> Tensor:
        """Logits (B, K) of each text vector (B, D) with each label vector (K, D)."""
        text, label = self._project(text, label)
        return self._scale(text @ label.T)

    def _project(self, text: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors whose dot product is the score."""
        if self.unit:
            text, label = F.normalize(text, dim=-1), F.normalize(label, dim=-1)
        return (text if self.bilinear is None else text @ self.bilinear.weight[0]), label

    def _scale(self, score: Tensor) -> Tensor:
        """Logits from dot products."""
        if self.logit_scale is not None:
            score = score * self.logit_scale.clamp(max=MAX_LOGIT_SCALE).exp()
        return score if self.bilinear is None else score + self.bilinear.bias


class LabelAggregator(nn.Module):
    """Everything above the encoder: label vectors, text vectors and logits from hidden states. Computes in float32.

    Parameters are named as in the published checkpoints: `scoring.bilinear.*` (era D), `attn_temperature` (since era
    E), `label_context.{fuse,attn}.*` (since era F), `scoring.logit_scale` (cosine head).

    Arguments of the methods: `H` (B, T, D) hidden states; `label_ids` (B, T) is j at the tokens averaged for label j,
    else 0; `text_mask` (B, T) bool; `lab_position` and `present` (B, K) from `lab_positions`.
    """

    def __init__(self, hidden: int, options: GliZNetOptions) -> None:
        super().__init__()
        self.options = options
        self.dropout = nn.Dropout(options.dropout)
        self.scoring = LabelScorer(hidden, options)
        self.label_context = LabelEnrichment(hidden) if options.enrichment else None
        learned = options.text_repr == "attention-normalized"
        self.attn_temperature = (
            nn.Parameter(torch.tensor(math.log(hidden) / 2)) if learned else None
        )  # exp(.) is initially sqrt(D)

    def forward(
        self, H: Tensor, label_ids: Tensor, text_mask: Tensor, lab_position: Tensor, present: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (B, K), text vectors (B, K, D) and label vectors (B, K, D) from hidden states H (B, T, D)."""
        if self.attn_temperature is not None:
            H = F.normalize(H, dim=-1)
        label = self.dropout(self.label_vectors(H, label_ids, lab_position))
        text = self.text_vectors(label, H, text_mask)
        if self.label_context is not None:
            label = self.label_context(label, text, present)
            text = self.text_vectors(label, H, text_mask)
        return self.scoring(text, label), text, label

    def score_apart(self, H: Tensor, text_mask: Tensor, label: Tensor) -> Tensor:
        """Logits (B, K) of each text with each label vector (K, D), from states H (B, S, D) of the texts alone.

        Without enrichment. With `text_repr` "cls" or "mean", this is one matrix product.
        """
        if self.attn_temperature is not None:
            H = F.normalize(H, dim=-1)
        if self.options.text_repr in ("cls", "mean"):
            return self.scoring.every_pair(self.text_vectors(H[:, :1], H, text_mask).squeeze(1), label)
        return self.scoring(self.text_vectors(label.expand(len(H), -1, -1), H, text_mask), label)

    def label_vectors(self, H: Tensor, label_ids: Tensor, lab_position: Tensor) -> Tensor:
        """(B, K, D): the state of each [LAB], or the mean of each label's tokens."""
        if self.options.label_repr == "lab":
            return H.gather(1, lab_position.unsqueeze(-1).expand(-1, -1, H.shape[-1]))
        number = torch.arange(1, lab_position.shape[1] + 1, device=H.device).view(1, -1, 1)
        return masked_mean(H, label_ids.unsqueeze(1) == number)

    def text_vectors(self, label: Tensor, H: Tensor, text_mask: Tensor) -> Tensor:
        """(B, K, D): one text vector per label vector (B, K, D); all equal for "cls" and "mean"."""
        if self.options.text_repr == "cls":
            return H[:, :1].expand_as(label)
        if self.options.text_repr == "mean":
            return masked_mean(H, text_mask.unsqueeze(1)).expand_as(label)
        scale = H.shape[-1] ** -0.5 if self.attn_temperature is None else self.attn_temperature.exp()
        return attend(label, H, text_mask, scale)


@dataclass
class GliZNetOutput(ModelOutput):
    """Output of `GliZNetForSequenceClassification`.

    Attributes:
        loss: weighted sum of the loss terms; None without targets.
        losses: unweighted loss terms by name; terms with weight 0 are absent.
        logits: (B, K) float32; -inf where a sample has fewer labels.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    losses: dict[str, Tensor] | None = None


class GliZNetForSequenceClassification(GliZNetPreTrainedModel):
    """An encoder that reads a text with its labels, and a head that scores each label.

    Create it with `from_backbone` (new head on a pretrained encoder) or `from_pretrained` (trained checkpoint).
    """

    def __init__(self, config: GliZNetConfig) -> None:
        super().__init__(config)
        encoder_config = config.encoder_config
        # transformers selects SDPA for this class by default; an encoder without SDPA (DeBERTa) keeps its own default.
        encoder_class: Any = MODEL_MAPPING[type(encoder_config)]
        if config._attn_implementation != "sdpa" or encoder_class._supports_sdpa:
            encoder_config._attn_implementation = config._attn_implementation
        self._attach(AutoModel.from_config(encoder_config, trust_remote_code=False), config)
        self.post_init()

    def _attach(self, backbone: Any, config: GliZNetConfig) -> None:
        """Attach a newly initialised head to an encoder."""
        options = config.options
        if options.order_invariant:
            check_supported(backbone.config)
        if hasattr(backbone, "pooler"):
            backbone.pooler = None  # unused, so its weights would get no gradient
        use_fast_encoders(backbone)  # exact
        self.backbone = backbone
        self.aggregator = LabelAggregator(backbone.config.hidden_size, options)
        self.options = options

    @classmethod
    def from_backbone(
        cls, backbone: str | Path | PreTrainedModel, tokenizer: GliZNETTokenizer, options: GliZNetOptions | None = None
    ) -> "GliZNetForSequenceClassification":
        """Create a model with a newly initialised head on a pretrained encoder.

        Args:
            backbone: folder or hub id of an encoder in safetensors, or an encoder (used as is, not copied).
            tokenizer: the encoder's tokenizer with `[LAB]`; the embedding matrix grows only if it has no row for it.
            options: model options; None uses those of the tokenizer.

        Raises:
            ValueError: pickled weights, missing weights, or `max_length` above the encoder's number of positions.
        """
        options = options or tokenizer.options
        if isinstance(backbone, PreTrainedModel):
            encoder, name = backbone, ""
        else:
            encoder, name = load_model(AutoModel, backbone), str(backbone)
        limit = position_limit(encoder)
        if limit is not None and options.max_length > limit:
            raise ValueError(f"max_length: {options.max_length} is too large; this encoder has {limit} positions")
        embeddings: Any = encoder.get_input_embeddings()
        if len(tokenizer) > embeddings.num_embeddings:
            embeddings = encoder.resize_token_embeddings(len(tokenizer))
        if options.lab_init == "sep":
            rows = embeddings.weight.data
            rows[tokenizer.lab_token_id] = rows[tokenizer.backend.sep_token_id]
        public_name = Path(name).name if Path(name).is_dir() else name  # do not store local paths
        config = GliZNetConfig.from_options(options, encoder.config, tokenizer.lab_token_id, public_name)
        with torch.device("meta"):
            model = cls(config)
        model._attach(encoder, config)
        return model

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        lmask: Tensor,
        labels: Tensor | None = None,
        num_labels: int | None = None,
    ) -> GliZNetOutput:
        """Score the labels in each sequence; with targets, also compute the loss.

        Args:
            input_ids, attention_mask, lmask: (B, T) from `GliZNETTokenizer`.
            labels: (B, K) float targets: 1 true, 0 false, -100 where a sample has fewer labels.
            num_labels: K, if there are no targets; None counts the [LAB] tokens (which synchronises a GPU).

        Returns:
            Logits (B, K); with targets, also the loss terms and their weighted sum.

        Raises:
            ValueError: a sample has more than K [LAB] tokens (checked on the CPU only).
        """
        is_lab = (input_ids == self.config.lab_token_id) & attention_mask.bool()  # (B, T)
        if labels is not None:
            num_labels = labels.shape[1]
        elif num_labels is None:
            num_labels = int(is_lab.sum(1).max())
        if input_ids.device.type == "cpu" and not torch.compiler.is_compiling():
            most = int(is_lab.sum(1).max())  # on a CPU, this does not synchronise
            if most > num_labels:
                raise ValueError(f"a sample has {most} [LAB] tokens, but labels or num_labels has {num_labels} columns")
        H = self.encode(input_ids, attention_mask, lmask, is_lab)  # (B, T, D)
        text_mask = (lmask == 0) & attention_mask.bool() & ~is_lab  # (B, T): CLS and SEP are text
        label_ids = label_numbers(lmask, is_lab) if self.options.label_frame else lmask  # a frame includes its [LAB]
        position, present = lab_positions(is_lab, num_labels)  # (B, K)
        with torch.autocast(device_type=H.device.type, enabled=False):
            logits, text, label = self._aggregate(H.float(), label_ids, text_mask, position, present)
            losses = None
            if labels is not None:
                targets = labels.float().masked_fill(~present, PADDING)
                losses = total_loss(logits, targets, text, label, self.options)
        loss = losses.pop("total") if losses is not None else None
        return GliZNetOutput(loss=loss, losses=losses, logits=logits.masked_fill(~present, float("-inf")))

    def encode(self, input_ids: Tensor, attention_mask: Tensor, lmask: Tensor, is_lab: Tensor) -> Tensor:
        """Last hidden states (B, T, D), without pooler or further normalisation."""
        if self.options.order_invariant:
            return encode_order_invariant(self.backbone, input_ids, attention_mask, lmask, is_lab, self.options)
        mask = encoder_mask(self.backbone.config, attention_mask)
        return self.backbone(input_ids=input_ids, attention_mask=mask).last_hidden_state

    def _aggregate(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the aggregator in float32, even if its weights are stored in lower precision (bfloat16, sharding)."""
        weights = dict(self.aggregator.named_parameters())
        if all(weight.dtype == torch.float32 for weight in weights.values()):
            return self.aggregator(*inputs)
        return functional_call(self.aggregator, {name: weight.float() for name, weight in weights.items()}, inputs)

    @torch.inference_mode()
    def score_states(self, text: TextStates, labels: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, K) of separately encoded texts and labels (order-invariant mode).

        Args:
            text: of B texts, from `fast.text_cache.encode_text`; S tokens each.
            labels: (B, K, M, D) states from `encode_labels`.
            mask: (B or 1, K, M) bool, true at label tokens; all false for a missing label (its logit is -inf).
        """
        (B, S), (K, M) = text.mask.shape, mask.shape[1:]
        mask = mask.bool().expand(B, K, M)
        H = torch.cat([text.last, labels.expand(B, K, M, -1).flatten(1, 2)], dim=1)  # (B, S + K M, D)
        lengths = mask.sum(-1)  # (B, K)
        step, number = torch.arange(M, device=H.device), torch.arange(K, device=H.device)
        pieces = mask if self.options.label_frame else mask & (step != lengths.unsqueeze(-1) - 1)  # the last is [LAB]
        label_ids = ((number + 1).unsqueeze(-1) * pieces).flatten(1)  # (B, K M)
        label_ids = torch.cat([label_ids.new_zeros(B, S), label_ids], dim=1)
        text_mask = torch.cat([text.mask, mask.new_zeros(B, K * M)], dim=1)
        position = S + number * M + (lengths - 1).clamp(min=0)
        with torch.autocast(device_type=H.device.type, enabled=False):
            logits, _, _ = self._aggregate(H.float(), label_ids, text_mask, position, lengths > 0)
        return logits.masked_fill(lengths == 0, float("-inf"))

    @torch.inference_mode()
    def label_matrix(self, labels: Tensor, mask: Tensor) -> Tensor:
        """Label vectors (K, D), float32, of labels that see no text (`label_context="none"`).

        Args:
            labels: (K, M, D) states from `fast.text_cache.encode_labels`.
            mask: (K, M) bool, true at label tokens, at least one per label.
        """
        last = mask.sum(1, keepdim=True) - 1  # (K, 1), the position of [LAB]
        pieces = mask if self.options.label_frame else mask & (torch.arange(mask.shape[1], device=mask.device) != last)
        with torch.autocast(device_type=labels.device.type, enabled=False):
            head, H = self._float32_aggregator(), labels.float()
            H = H if head.attn_temperature is None else F.normalize(H, dim=-1)
            return head.label_vectors(H, pieces.long(), last).squeeze(1)

    @torch.inference_mode()
    def score_matrix(self, text: TextStates, labels: Tensor) -> Tensor:
        """Logits (B, K) of B texts from `fast.text_cache.encode_text` and label vectors (K, D)."""
        with torch.autocast(device_type=labels.device.type, enabled=False):
            return self._float32_aggregator().score_apart(text.last.float(), text.mask, labels)

    def _float32_aggregator(self) -> LabelAggregator:
        """The aggregator, or a copy in float32 if its weights are stored in lower precision."""
        if all(weight.dtype == torch.float32 for weight in self.aggregator.parameters()):
            return self.aggregator
        return copy.deepcopy(self.aggregator).float()


AutoConfig.register("gliznet", GliZNetConfig, exist_ok=True)
AutoModel.register(GliZNetConfig, GliZNetForSequenceClassification)
AutoModelForSequenceClassification.register(GliZNetConfig, GliZNetForSequenceClassification)
AutoTokenizer.register(GliZNetConfig, fast_tokenizer_class=PreTrainedTokenizerFast)
