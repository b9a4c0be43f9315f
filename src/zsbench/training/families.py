"""What can be trained, by family: (module, class) of its task. Named, not imported: the plan of a run asks here too."""

from zsbench.families import FAMILIES
from zsbench.plan.code_identity import code_digest

TASKS = {
    name: (family.task_class.partition(":")[0], family.task_class.partition(":")[2])
    for name, family in FAMILIES.items()
    if family.task_class
}


def training_code(family: str) -> str:
    """Digest of the code that a training of this family runs: the shared loop and its task."""
    return code_digest("zsbench.training.run", TASKS[family][0])
