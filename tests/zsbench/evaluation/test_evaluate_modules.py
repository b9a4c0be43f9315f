"""The `evaluate` modules load by path without the hub and give the numbers that the measure step writes."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from zsbench.evaluation.metrics import load_module, multi_label, one_hot, single_label

SCRIPT = """
import json, sys
from zsbench.evaluation.metrics import load_module
data = json.load(sys.stdin)
found = {name: load_module(name).compute(predictions=p, references=r) for name, (p, r) in data.items()}
print("\\n" + json.dumps(found))
"""


def test_modules_agree_with_the_functions_offline(tmp_path):
    rng = np.random.default_rng(3)
    single = rng.integers(4, size=(2, 30))
    multi = (rng.random((2, 30, 5)) < 0.4).astype(int)
    data = {"suite_macro_f1": single.tolist(), "topic_f1": multi.tolist()}
    caches = {"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_EVALUATE_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT],
        input=json.dumps(data),
        capture_output=True,
        text=True,
        env=os.environ | caches,
        check=True,
    )
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["suite_macro_f1"] == pytest.approx(single_label(one_hot(single[1], 4), one_hot(single[0], 4)))
    assert found["topic_f1"] == pytest.approx(multi_label(multi[1], multi[0]))


def test_an_unknown_module_is_named_with_what_there_is():
    with pytest.raises(ValueError, match="'rouge' is not a metric module; available: suite_macro_f1, topic_f1"):
        load_module("rouge")
