"""One environment for the tests, whatever the shell, the CI service or the proxy of the machine that runs them."""

import os

for name in [*os.environ]:
    if name.startswith("HF_") or name in ("COLUMNS", "FORCE_COLOR", "GITHUB_ACTIONS", "LINES", "NO_COLOR"):
        del os.environ[name]
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"  # servers of the tests are on this machine
os.environ.setdefault("OMP_NUM_THREADS", "1")  # before anything imports torch
