"""What can be trained, by family: (module, class) of its task. Named, not imported: rules declare a family's code."""

TASKS = {
    "gliznet": ("zsbench.training.gliznet_task", "GliZNetTask"),
    "nli": ("zsbench.training.nli_task", "NLITask"),
    "gliclass": ("zsbench.training.gliclass_task", "GLiClassTask"),
    "biencoder": ("zsbench.training.biencoder_task", "BiEncoderTask"),
}
