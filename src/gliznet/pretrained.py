"""What transformers sees of a GliZNet model: loading that refuses anything but an exact match, saving, the hub."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import HfApi
from torch import Tensor
from transformers import PreTrainedModel

from gliznet.card import write_card
from gliznet.config import GliZNetConfig
from gliznet.loading import check_loaded, check_source
from gliznet.tokenizer import GliZNETTokenizer


class GliZNetPreTrainedModel(PreTrainedModel):
    """Base of the model: everything about files. `card_facts` are rows of the card that only the trainer knows."""

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
        self.card_facts: dict[str, str] = {}

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
            state_dict: weights to write instead of the model's (a gathered or best state).
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
