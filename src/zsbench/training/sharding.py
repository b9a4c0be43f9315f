"""What FSDP and DeepSpeed must be told that no launch config can say: the model's layers, the recipe's numbers."""

from typing import Any

import torch
from accelerate.utils import DistributedType
from torch.distributed.fsdp import MixedPrecisionPolicy

from zsbench.training.recipe import Recipe


def layer_classes(model: torch.nn.Module) -> list[str]:
    """Names of the classes that a model stacks: what FSDP shards one by one (it refuses the stack itself)."""
    stacks = [module for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    return sorted({type(layer).__name__ for stack in stacks for layer in stack})


def fit_plugins(state: Any, model: torch.nn.Module, recipe: Recipe, per_device_batch: int, accumulation: int) -> None:
    """Complete the plugin that the launch config asked for, if any; before `Accelerator.prepare`.

    Args:
        state: `Accelerator.state`.
        model: what is trained.
        per_device_batch: rows of a forward pass; accumulation: forward passes a step.
    """
    if state.distributed_type == DistributedType.FSDP:
        state.fsdp_plugin.transformer_cls_names_to_wrap = layer_classes(model)
        # Precision is autocast's work, which leaves heads in float32; accelerate would cast every weight and output.
        state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy()
    if state.distributed_type == DistributedType.DEEPSPEED:
        state.deepspeed_plugin.deepspeed_config |= {
            "train_micro_batch_size_per_gpu": per_device_batch,  # otherwise read off a data loader, and there is none
            "gradient_accumulation_steps": accumulation,
            "gradient_clipping": recipe.max_grad_norm,  # its engine clips, not the loop
        }
