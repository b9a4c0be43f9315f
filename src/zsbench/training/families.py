"""What can be trained, by family: (module, class) of its task. Named, not imported: the plan of a run asks here too."""

from zsbench.plan.code_identity import code_digest

TASKS = {
    "gliznet": ("zsbench.training.gliznet_task", "GliZNetTask"),
    "nli": ("zsbench.training.nli_task", "NLITask"),
    "gliclass": ("zsbench.training.gliclass_task", "GLiClassTask"),
    "biencoder": ("zsbench.training.biencoder_task", "BiEncoderTask"),
}


def training_code(family: str) -> str:
    """Digest of the code that a training of this family runs: the shared loop and its task."""
    return code_digest("zsbench.training.run", TASKS[family][0])
