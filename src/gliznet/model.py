"""GliZNet: one encoder pass over a text and all its labels, one logit a label (docs/models/gliznet.md section 1).

B batch, K labels, T tokens, D hidden.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from huggingface_hub import HfApi
from torch import Tensor
from torch.func import functional_call
from transformers import MODEL_MAPPING, AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from gliznet.attention.cached import TextStates
from gliznet.attention.invariant import check_supported, encode_invariant, segments
from gliznet.card import write_card
from gliznet.config import GliZNetConfig, GliZNetOptions
from gliznet.encoders.deberta_fast import accelerate_encoder
from gliznet.heads import LabelAggregator, lab_positions
from gliznet.lengths import position_limit
from gliznet.loading import check_loaded, check_names, check_source
from gliznet.losses import PADDING, total_loss
from gliznet.tokenizer import GliZNETTokenizer


@dataclass
class GliZNetOutput(ModelOutput):
    """What `GliZNetForSequenceClassification` returns.

    Attributes:
        loss: weighted sum of the terms, or None without targets.
        losses: the terms by name, unweighted; a term of weight 0 is absent.
        logits: (B, K) float32, -inf where a sample has no such label.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    losses: dict[str, Tensor] | None = None


class GliZNetForSequenceClassification(PreTrainedModel):
    """Joint text-and-labels encoder with a bilinear score a label.

    Build with `from_backbone` (fresh head on a pretrained encoder) or `from_pretrained` (a trained checkpoint).
    """

    config_class = GliZNetConfig
    base_model_prefix = "backbone"
    main_input_name = "input_ids"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _keep_in_fp32_modules_strict = {"aggregator"}
    _no_split_modules: list[str] = []

    def __init__(self, config: GliZNetConfig) -> None:
        super().__init__(config)
        encoder_config = config.encoder_config
        # transformers picks SDPA for us by default; an encoder without it (DeBERTa) keeps its own default.
        encoder_class: Any = MODEL_MAPPING[type(encoder_config)]
        if config._attn_implementation != "sdpa" or encoder_class._supports_sdpa:
            encoder_config._attn_implementation = config._attn_implementation
        self._attach(AutoModel.from_config(encoder_config, trust_remote_code=False), config)
        self.post_init()

    def _attach(self, backbone: Any, config: GliZNetConfig) -> None:
        """Take an encoder and put a fresh head on it."""
        options = config.options
        if options.order_invariant:
            check_supported(backbone.config)
        if hasattr(backbone, "pooler"):
            backbone.pooler = None  # never used: its weights would get no gradient
        accelerate_encoder(backbone)  # exact, and without effect on other architectures
        self.backbone = backbone
        self.aggregator = LabelAggregator(backbone.config.hidden_size, options)
        self.options = options
        self.card_facts: dict[str, str] = {}  # rows of the model card that only the trainer knows

    @classmethod
    def from_backbone(
        cls, backbone: str | Path | PreTrainedModel, tokenizer: GliZNETTokenizer, options: GliZNetOptions | None = None
    ) -> "GliZNetForSequenceClassification":
        """Put a fresh head on a pretrained encoder.

        Args:
            backbone: folder (or hub id) of an encoder in safetensors, or an encoder (it is taken over, not copied).
            tokenizer: the encoder's tokenizer with `[LAB]`; the embedding matrix grows only if it has no row for it.
            options: switches; None means the tokenizer's.

        Raises:
            ValueError: pickled weights, weights missing in the folder, more positions than the encoder has.
        """
        options = options or tokenizer.options
        name = "" if isinstance(backbone, PreTrainedModel) else str(backbone)
        encoder: Any = backbone if isinstance(backbone, PreTrainedModel) else _load_encoder(name)
        limit = position_limit(encoder)
        if limit is not None and options.max_length > limit:
            raise ValueError(f"max_length={options.max_length} is not allowed: this encoder has {limit} positions")
        if len(tokenizer) > encoder.get_input_embeddings().num_embeddings:
            encoder.resize_token_embeddings(len(tokenizer))
        if options.lab_init == "sep":
            rows = encoder.get_input_embeddings().weight.data
            rows[tokenizer.lab_token_id] = rows[tokenizer.backend.sep_token_id]
        config = GliZNetConfig.from_options(options, encoder.config, tokenizer.lab_token_id, _public_name(name))
        with torch.device("meta"):
            model = cls(config)
        model._attach(encoder, config)
        return model

    @classmethod
    def from_pretrained(  # type: ignore[override]
        cls, pretrained_model_name_or_path: str | Path, *args: Any, **kwargs: Any
    ) -> Any:
        """Load a checkpoint and refuse anything but an exact match, remote code and pickles.

        Args and keywords are those of `PreTrainedModel.from_pretrained`.

        Raises:
            ValueError: tensors missing, unexpected or of another shape (named), NaN or infinite weights (named),
                pickled weights, `trust_remote_code`.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        check_source(pretrained_model_name_or_path, kwargs)
        loaded: Any = super().from_pretrained(
            pretrained_model_name_or_path,
            *args,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are refused below, by name
            **kwargs,
        )
        model, info = loaded
        check_loaded(model, info, str(pretrained_model_name_or_path))
        return (model, info) if wants_info else model

    def save_pretrained(  # type: ignore[override]
        self,
        save_directory: str | Path,
        is_main_process: bool = True,
        state_dict: dict[str, Tensor] | None = None,
        max_shard_size: int | str = "50GB",
    ) -> None:
        """Write config.json, model.safetensors and a model card.

        Args:
            save_directory: folder, made if missing.
            is_main_process: of several processes, only this one writes.
            state_dict: weights to write instead of the model's own (a gathered or best state).
            max_shard_size: of one weights file.
        """
        super().save_pretrained(
            save_directory, is_main_process=is_main_process, state_dict=state_dict, max_shard_size=max_shard_size
        )
        if is_main_process:
            write_card(save_directory, self.config, self.card_facts)  # type: ignore[arg-type]

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        tokenizer: GliZNETTokenizer | None = None,
        *,
        private: bool | None = None,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str = "Upload GliZNet checkpoint",
    ) -> str:
        """Upload weights, configuration, model card and (if given) the tokenizer; returns the commit's address.

        Args:
            repo_id: "owner/name", made if missing.
            tokenizer: the model's; without it the checkpoint cannot be used alone.
            private, token, revision, commit_message: as in `huggingface_hub`.
        """
        api = HfApi(token=token)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            if tokenizer is not None:
                tokenizer.save_pretrained(folder)
            commit = api.upload_folder(
                repo_id=repo_id, folder_path=folder, revision=revision, commit_message=commit_message
            )
        return str(commit.commit_url)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        lmask: Tensor,
        labels: Tensor | None = None,
        num_labels: int | None = None,
    ) -> GliZNetOutput:
        """Score the labels in each sequence; with targets, also the loss.

        Args:
            input_ids, attention_mask, lmask: (B, T) from `GliZNETTokenizer`.
            labels: (B, K) float targets, 1 / 0, -100 where a sample has no such label; gives K.
            num_labels: K when there are no targets; None counts the most [LAB] of the batch (synchronises a GPU).

        Raises:
            ValueError: on CPU, more [LAB] tokens in a sample than K.
        """
        is_lab = (input_ids == self.config.lab_token_id) & attention_mask.bool()  # (B, T)
        if labels is not None:
            num_labels = labels.shape[1]
        elif num_labels is None:
            num_labels = int(is_lab.sum(1).max())
        if input_ids.device.type == "cpu" and not torch.compiler.is_compiling():
            most = int(is_lab.sum(1).max())  # no synchronisation here
            if most > num_labels:
                raise ValueError(
                    f"a sample has {most} [LAB] tokens, but targets or num_labels have {num_labels} columns"
                )
        H = self._encode(input_ids, attention_mask, lmask, is_lab)
        text_mask = (lmask == 0) & attention_mask.bool() & ~is_lab  # (B, T): CLS and SEP are text
        members = segments(lmask, is_lab) if self.options.label_frame else lmask  # (B, T): a frame includes its [LAB]
        position, present = lab_positions(is_lab, num_labels)
        with torch.autocast(device_type=H.device.type, enabled=False):
            logits, text, label = self._head(H.float(), members, text_mask, position, present)
            losses = None
            if labels is not None:
                targets = labels.float().masked_fill(~present, PADDING)
                losses = total_loss(logits, targets, text, label, self.options)
        loss = losses.pop("total") if losses is not None else None
        return GliZNetOutput(loss=loss, losses=losses, logits=logits.masked_fill(~present, float("-inf")))

    @torch.inference_mode()
    def score_states(self, text: TextStates, labels: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, K) of texts and labels that were encoded apart (order-invariant mode).

        Args:
            text: of B texts, from `attention.cached.encode_text`.
            labels: (B, K, M, D) states from `encode_labels`, or (1, K, M, D) for all texts alike.
            mask: (B or 1, K, M) bool, true at a label's tokens; none for a label that is not there (its logit is -inf).
        """
        (B, S), (K, M) = text.mask.shape, mask.shape[1:]
        mask = mask.bool().expand(B, K, M)
        H = torch.cat([text.last, labels.expand(B, K, M, -1).flatten(1, 2)], dim=1)  # (B, S + K M, D)
        lengths = mask.sum(-1)  # (B, K)
        step, number = torch.arange(M, device=H.device), torch.arange(K, device=H.device)
        pieces = mask if self.options.label_frame else mask & (step != lengths.unsqueeze(-1) - 1)  # the last is [LAB]
        members = ((number + 1).unsqueeze(-1) * pieces).flatten(1)  # (B, K M)
        members = torch.cat([members.new_zeros(B, S), members], dim=1)
        text_mask = torch.cat([text.mask, mask.new_zeros(B, K * M)], dim=1)
        position = S + number * M + (lengths - 1).clamp(min=0)
        with torch.autocast(device_type=H.device.type, enabled=False):
            logits, _, _ = self._head(H.float(), members, text_mask, position, lengths > 0)
        return logits.masked_fill(lengths == 0, float("-inf"))

    def _head(self, *inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The aggregator in float32, also when its weights are kept in less (`model.to(torch.bfloat16)`, sharding)."""
        weights = dict(self.aggregator.named_parameters())
        if all(weight.dtype == torch.float32 for weight in weights.values()):
            return self.aggregator(*inputs)
        return functional_call(self.aggregator, {name: weight.float() for name, weight in weights.items()}, inputs)

    def _encode(self, input_ids: Tensor, attention_mask: Tensor, lmask: Tensor, is_lab: Tensor) -> Tensor:
        """Last hidden states (B, T, D)."""
        if self.options.order_invariant:
            return encode_invariant(self.backbone, input_ids, attention_mask, lmask, is_lab, self.options)
        return self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state


def _public_name(name: str) -> str:
    """A hub id as it is, a folder by its last part."""
    return Path(name).name if Path(name).is_dir() else name


def _load_encoder(name: str) -> PreTrainedModel:
    """An encoder in float32 from safetensors, complete but for a pooler."""
    check_source(name, {})
    encoder, info = AutoModel.from_pretrained(  # type: ignore[misc]
        name, dtype=torch.float32, use_safetensors=True, trust_remote_code=False, output_loading_info=True
    )
    info["missing_keys"] = [key for key in info["missing_keys"] if not key.startswith("pooler.")]
    check_names(info, name, exact=False)
    return encoder
