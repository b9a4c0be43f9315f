"""Secrets from the environment and from URLs never appear in files or output of a run."""

import base64
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pytest

from tests.zsbench.resolved_config import scoring_config
from zsbench.store.layout import Layout
from zsbench.store.provenance import file_sha256, write_json
from zsbench.store.secrets import holds_secret, mask

SECRETS = {
    "HF_TOKEN": "corp-hub-word-0001",
    "OPENAI_API_KEY": "plain-openai-word-02",
    "AWS_SECRET_ACCESS_KEY": "cloud-word-000003",
    "LETTER_OF_MARQUE": "word-of-the-endpoint-4",  # the config's `key_variable`: any name
}
OWN = """
import os, sys

class Leaky:
    def __init__(self, fail):
        self.fail = fail
    def score(self, texts, labels):
        print("sent", os.environ["OPENAI_API_KEY"])
        print("to https://me:password-5@example.org/v1?token=signature-6", file=sys.stderr)
        if self.fail:
            raise RuntimeError(os.environ["HF_TOKEN"])
        return [[0.5 for _ in labels] for _ in texts]
    def report(self):
        return {"note": "used " + os.environ["AWS_SECRET_ACCESS_KEY"]}
"""


class Echo(BaseHTTPRequestHandler):
    """An endpoint that echoes the key it received, in answers and in errors."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        key = self.headers["Authorization"]
        if "refuse" in self.path:
            self.send_error(400, f"bad key {key}")
            return
        reply = json.dumps({"choices": [{"message": {"content": f"A, says {key}"}}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def endpoint():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A run with one prepared set of two rows, and a user's package next to it."""
    made = Layout(tmp_path / "results" / "run")
    made.dataset("news").parent.mkdir(parents=True)
    rows = [{"sample_id": f"s{i}", "split": "test", "text": "a text", "gold": [i]} for i in range(2)]
    pd.DataFrame(rows).to_parquet(made.dataset("news"))
    facts = {"id": "news", "labels": ["x", "y"], "label_names": ["x", "y"], "task": "single", "revision": "0"}
    facts |= {"verbalisation": "plain", "rows": {"test": 2}, "rows_sha256": file_sha256(made.dataset("news"))}
    write_json(made.dataset_card("news"), facts)
    (tmp_path / "leaky_of_a_test.py").write_text(OWN)
    return made


def score(layout: Layout, family: str, settings: dict) -> subprocess.CompletedProcess[str]:
    scoring_config(layout.root, "mine", {"family": family, "suites": ["gliclass"], **settings})
    folder = layout.root.parents[1]
    words = ["job", "score", "--root", str(layout.root), "--system", "mine", "--seed", "0"]
    environment = os.environ | SECRETS | {"PYTHONPATH": os.pathsep.join([str(folder), *sys.path])}
    command = [sys.executable, "-m", "zsbench.cli", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment)


def leaks(layout: Layout, done: subprocess.CompletedProcess[str]) -> list[str]:
    """Secrets that occur in output or files (except this test's module)."""
    places = {"output": (done.stdout + done.stderr).encode()}
    places |= {str(path): path.read_bytes() for path in layout.root.rglob("*") if path.is_file()}
    wanted = [*SECRETS.values(), "password-5", "signature-6"]
    return [
        f"{secret} in {where}" for where, content in places.items() for secret in wanted if secret.encode() in content
    ]


def test_an_endpoints_key_is_kept(layout: Layout, endpoint: str) -> None:
    settings = {"url": f"{endpoint}/v1", "name": "m", "key_variable": "LETTER_OF_MARQUE"}
    done = score(layout, "llm", settings)
    assert done.returncode == 0, done.stderr
    assert layout.card("gliclass", "news", "mine", 0).is_file() and list(layout.root.rglob("cache/llm/*.json"))
    assert leaks(layout, done) == []
    done = score(layout, "llm", settings | {"url": f"{endpoint}/refuse"})
    assert done.returncode == 0 and "HTTP 400 bad key Bearer ***" in done.stderr and leaks(layout, done) == []
    assert json.loads(layout.card("gliclass", "news", "mine", 0).read_text())["status"] == "failed"


@pytest.mark.parametrize("fail", [False, True])
def test_what_a_users_class_prints_reports_and_raises_is_masked(layout: Layout, fail: bool) -> None:
    done = score(layout, "custom", {"class": "leaky_of_a_test:Leaky", "arguments": {"fail": fail}})
    assert done.returncode == 0, done.stderr
    assert "sent ***" in done.stdout and ("RuntimeError: ***" in done.stderr) == fail
    card = json.loads(layout.card("gliclass", "news", "mine", 0).read_text())
    if fail:
        assert (card["status"], card["reason"]) == ("failed", "RuntimeError: ***")
    else:
        assert card["note"] == "used ***"
    assert leaks(layout, done) == []


def test_short_values_do_not_blot_out_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "a")
    monkeypatch.setenv("EMPTY_TOKEN", "")
    assert mask("a plain text") == "a plain text"


LOGIN = base64.b64encode(b"reader:tulip-7").decode()
WEB_TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
REAL = [  # (key, value); made up, in the issuers' formats
    ("note", "hf_" + "aBcDeFgHiJ" * 3 + "KLmn"),
    ("note", "use hf_" + "aBcDeFgHiJ" * 3 + "KLmn, please"),
    ("note", "sk-" + "a1B2c3D4" * 6),
    ("note", "sk-proj-" + "a1B2c3D4" * 6 + "_x-Y"),
    ("note", "sk-ant-api03-" + "a1B2c3D4" * 6 + "-AA"),
    ("note", "ghp_" + "a1B2" * 9),
    ("note", "github_pat_" + "11AB" * 6 + "_" + "a1B2" * 12),
    ("note", "glpat-" + "a1B2" * 5),
    ("note", "AKIA" + "IOSFODNN7EXAMPLE"),
    ("note", "AIza" + "SyA1b2C" * 5),
    ("note", "xoxb-1234567890-a1B2c3D4e5F6"),
    ("note", WEB_TOKEN),
    ("note", f"Authorization: Bearer {WEB_TOKEN}"),
    ("note", "Bearer 0123456789abcdef0123"),
    ("note", f"Authorization: Basic {LOGIN}"),
    ("note", f"basic {LOGIN}"),
    ("headers", "{'Authorization': 'Bearer short'}"),
    ("path", "http://me:word@host/x"),
    ("url", "https://a1b2c3d4e5f6a7b8@git.example.org/x"),
    ("url", "https://example.org/data.csv?X-Amz-Signature=1f"),
    ("url", "https://example.org/data.csv?X-Amz-Security-Token=1f"),
    ("url", "https://example.org/data.csv?AWSAccessKeyId=1f"),
    ("url", "https://example.org/data.csv?a=1&api_key=1f"),
    ("url", "https://example.org/v1?key=1f"),
    ("password", "word"),
    ("api_key", "x1"),
    ("hf_token", "word"),
    ("token", "word"),
    ("client_secret", "word"),
    ("own_token", "0123456789abcdef"),
]
HARMLESS = [
    ("plain", "basic research"),
    ("plain", "Basic JavaScript"),
    ("plain", "basic income"),
    ("plain", "bearer securities"),
    ("plain", "bearer of internationalization"),
    ("plain", "the standard-bearer internationalization movement"),
    ("path", "data/hf_reviews.csv"),
    ("path", "data/hf_reviews_of_2023_sampled.csv"),
    ("repo", "sk-learn-contrib/imbalanced-learn"),
    ("title", "sk-LARGE, a Slovak set"),
    ("title", "AKIAchi"),
    ("pad_token", "[PAD]"),
    ("pad_token", "<|endoftext|>"),
    ("mask_token", "<mask>"),
    ("key_variable", "MY_KEY"),
    ("text_prompt", "query: "),
    ("revision", "0123456789abcdef0123456789abcdef01234567"),
    ("sha256", "0123456789abcdef" * 4),
    ("class", "my_pkg.secret_sauce:TokenCounter"),
    ("top-secret", "plain"),
    ("title", "See https://example.org/a?b=c"),
    ("url", "https://example.org/data.csv?download=1"),
    ("url", "https://example.org/search?author=me&design=2&keyword=cats"),
    ("url", "https://example.org/@someone/page"),
    ("url", "ssh://git@example.org/set.git"),
    ("plain", "is it true? token = coin"),
    ("contact", "someone@example.org"),
]


@pytest.mark.parametrize(("key", "value"), REAL)
def test_a_secret_in_a_config_is_seen(key: str, value: str) -> None:
    assert holds_secret(key, value)
    if key == "note":
        assert not {word for word in re.split(r"[ ,]+", mask(value)) if len(word) > 14 and word in value}


@pytest.mark.parametrize(("key", "value"), HARMLESS)
def test_what_only_looks_like_a_secret_is_let_through(key: str, value: str) -> None:
    assert not holds_secret(key, value)
    assert mask(value) == value or "?" in value, "a mask in a label would change what a card says"
