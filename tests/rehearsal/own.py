"""What a user would bring to a run: a custom system, imported scores, a generative model on loopback."""

import json
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zsbench.config.load import load_yaml
from zsbench.store.layout import Layout
from zsbench.store.progress import progress_logger
from zsbench.store.provenance import read_json
from zsbench.systems.imported import import_scores


class WordCount:
    """A user's custom system: how often the words of a label occur in a text."""

    def score(self, texts: Sequence[str], labels: Sequence[str]) -> np.ndarray:
        """Counts (n, L)."""
        words = [text.lower().split() for text in texts]
        return np.array(
            [[sum(map(one.count, label.lower().split())) for label in labels] for one in words], dtype=float
        )


def bring_scores(root: Path, config: Path) -> int:
    """Import a csv with `WordCount`'s scores for every system of family `imported` in a config.

    Args:
        root: `results/<run>`, its datasets prepared.
        config: the config, or the overlay that names the systems.

    Returns:
        Number of files imported.
    """
    layout, brought = Layout(root), 0
    wanted = [name for name, entry in load_yaml(config)["systems"].items() if entry["family"] == "imported"]
    for path in sorted(layout.root.glob("datasets/*/card.json")):
        card = read_json(path)
        if card["task"] != "single":
            continue
        rows = pd.read_parquet(layout.dataset(card["id"]), columns=["sample_id", "text"])
        frame = pd.DataFrame(WordCount().score(rows["text"].tolist(), card["labels"]), columns=card["label_names"])
        frame.insert(0, "sample_id", rows["sample_id"])
        with tempfile.TemporaryDirectory() as folder:
            csv = Path(folder) / "scores.csv"
            frame.to_csv(csv, index=False)
            for name in wanted:
                import_scores(layout.root, name, card["id"], csv)
                brought += 1
    return brought


class _Chat(BaseHTTPRequestHandler):
    """Chat completions of a model that looks for the labels' words; with log-probabilities, like hosted models."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = json.loads(body["messages"][1]["content"])
        menu: dict[str, str] = asked.get("labels") or {"yes": asked["label"], "no": ""}
        counts = WordCount().score([asked["text"]], list(menu.values()))[0]
        chances = np.log(np.exp(counts) / np.exp(counts).sum())
        answer = list(menu)[int(chances.argmax())]
        top = [{"token": key, "logprob": float(chance)} for key, chance in zip(menu, chances, strict=True)]
        content = [{"token": answer, "top_logprobs": top}]
        choice = {"message": {"content": answer}, "logprobs": {"content": content}}
        usage = {"prompt_tokens": len(asked["text"].split()), "completion_tokens": 1}
        reply = json.dumps({"choices": [choice], "usage": usage}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *arguments: Any) -> None:
        """No output."""


@contextmanager
def endpoint(port: int) -> Iterator[str]:
    """An OpenAI-compatible endpoint on loopback while the block runs; yields its URL.

    Args:
        port: 0 for any free port.
    """
    server = ThreadingHTTPServer(("127.0.0.1", port), _Chat)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


def with_endpoint(port: int, command: list[str]) -> int:
    """Run a command while the endpoint is up; returns its exit code."""
    with endpoint(port) as address:
        progress_logger("rehearsal")(f"a generative model answers at {address}")
        return subprocess.run(command).returncode
