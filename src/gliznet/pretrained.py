"""The transformers interface of a GliZNet model: strict loading, saving, upload to the hub."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import HfApi
from transformers import PreTrainedModel

from gliznet.card import write_card
from gliznet.config import GliZNetConfig
from gliznet.loading import check_loaded, check_source
from gliznet.published import era, era_switches, stored
from gliznet.tokenizer import GliZNETTokenizer


class GliZNetPreTrainedModel(PreTrainedModel):
    """Base class for loading and saving. `card_facts` are additional rows of the model card, set by the trainer."""

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
        """Load a checkpoint. Weights must match the architecture exactly; remote code and pickles are rejected.

        The era (D to G) of a published checkpoint is detected from its tensors. Arguments are those of
        `PreTrainedModel.from_pretrained`.

        Raises:
            ValueError: missing or unexpected tensors or wrong shapes (listed with the era), an era that is not
                implemented, NaN or infinite weights (listed), pickled weights, `trust_remote_code`.
        """
        wants_info = kwargs.pop("output_loading_info", False)
        check_source(pretrained_model_name_or_path, kwargs)
        content, names = stored(pretrained_model_name_or_path, kwargs)
        switches = era_switches(content, names, str(pretrained_model_name_or_path))
        if isinstance(kwargs.get("config"), GliZNetConfig):
            kwargs["config"].update(switches)
        else:
            kwargs |= switches
        loaded: Any = super().from_pretrained(
            pretrained_model_name_or_path,
            *args,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # rejected below with their names
            **kwargs,
        )
        model, info = loaded
        check_loaded(model, info, f"{pretrained_model_name_or_path} (era {era(content, names)})")
        return (model, info) if wants_info else model

    def save_pretrained(  # type: ignore[override]
        self, save_directory: str | Path, is_main_process: bool = True, **kwargs: Any
    ) -> None:
        """As in transformers, with a model card. To upload it all, call `push_to_hub`."""
        # push_to_hub=True is refused: transformers would upload a card of its own.
        super().save_pretrained(save_directory, is_main_process=is_main_process, push_to_hub=False, **kwargs)
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
        """Upload weights, configuration, model card and, if given, the tokenizer. Returns the commit URL.

        Args:
            repo_id: "owner/name"; created if missing.
            tokenizer: the tokenizer of the model; without it the checkpoint is not self-contained.
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
