"""The memory that scoring needs does not grow with the test set."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SCORING = """
import json, sys
from pathlib import Path
import numpy as np, pandas as pd
from tiny_run import score_spec, write_dataset
from zsbench.systems import load
from zsbench.evaluation.scoring import score_job
from zsbench.store.layout import Layout
from zsbench.jobs.runtime import Meter

class Zeros:
    def score(self, texts, labels):
        return np.zeros((len(texts), len(labels)))

load.build = lambda spec, layout: Zeros()
load.identity = lambda spec, layout: {"weights_sha256": None, "source": "test"}
layout, words = Layout(Path(sys.argv[1])), np.random.default_rng(0).integers(0, 10**9, 100_000).astype(str)
peaks = []
for name, rows in (("warm", 4_000), ("small", 4_000), ("large", 40_000)):
    texts = [" ".join(words[(i * 97 + np.arange(100)) % 100_000]) for i in range(rows)]
    frame = pd.DataFrame({"split": "test", "text": texts, "gold": [[i % 2] for i in range(rows)]})
    write_dataset(layout, name, frame, "single", ["a", "b"], ["a", "b"])
    del texts, frame
for name in ("warm", "small", "large"):
    meter = Meter("cpu")
    score_job(layout.root, score_spec("nli", datasets=[name], model=("source", "x")))
    peaks.append(meter.peak_mb())
print(json.dumps(peaks))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_scoring_a_large_set_needs_no_more_memory_than_a_small_one(tmp_path: Path) -> None:
    """40,000 texts of one kilobyte against 4,000; loading them all at once would take 110 MB more."""
    command = [sys.executable, "-c", SCORING, str(tmp_path / "run")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(HERE), os.environ.get("PYTHONPATH")]))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    _, small, large = json.loads(done.stdout)
    assert large - small < 25, f"{small} MB for 4,000 texts, {large} MB for 40,000"
