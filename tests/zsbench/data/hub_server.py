"""A small hub on the loopback interface: the endpoints that huggingface_hub calls, with faults on demand."""

import hashlib
import json
import re
import threading
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "c" * 40
SIGNED = "X-Amz-Signature=verysecretsignature"  # in a real download link, anybody with this signature can use it


@dataclass
class Repo:
    """One repository: files by name, which of them are large (LFS), branches, and access rights."""

    files: dict[str, bytes]
    large: tuple[str, ...] = ()
    revisions: dict[str, str] = field(default_factory=lambda: {"main": COMMIT})
    gated: bool = False


@dataclass
class Hub:
    """The running server's state. `repos` by "datasets/owner/name" or "models/owner/name"; `plain` files by path."""

    address: str = ""
    repos: dict[str, Repo] = field(default_factory=dict)
    plain: dict[str, bytes] = field(default_factory=dict)
    log: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)  # (method, path, headers)
    faults: list[tuple[str, str, dict]] = field(default_factory=list)  # (method, path pattern, fault), each used once
    ranges: bool = True

    def fault(self, method, pattern, times=1, **fault):
        """Let the next matching requests fail: `status`, `cut` after bytes, or `body` instead.

        `headers` go with any of them; a header that is None is left out.
        """
        self.faults += [(method, pattern, fault)] * times

    def take_fault(self, method, path):
        for entry in self.faults:
            if entry[0] == method and re.search(entry[1], path):
                self.faults.remove(entry)
                return entry[2]
        return {}

    def asked(self, method, pattern):
        return [headers for verb, path, headers in self.log if verb == method and re.search(pattern, path)]


def git_sha1(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer("GET")

    def do_HEAD(self):
        self.answer("HEAD")

    def log_message(self, *arguments):
        pass

    def answer(self, method):
        hub = self.server.hub
        path = urllib.parse.unquote(urllib.parse.urlsplit(self.path).path)
        hub.log.append((method, path, {key.lower(): value for key, value in self.headers.items()}))
        fault = hub.take_fault(method, path)
        if "status" in fault:
            return self.reply(fault["status"], fault.get("headers", {}), b"{}")
        if path in hub.plain:
            return self.send_file(hub.plain[path], fault)
        if path.startswith("/cdn/"):
            contents = [content for repo in hub.repos.values() for content in repo.files.values()]
            found = [content for content in contents if hashlib.sha256(content).hexdigest() == path[5:]]
            return self.send_file(found[0], fault)
        match = re.fullmatch(r"(/api)?/(datasets/|models/)?([^/]+/[^/]+)(?:/(resolve|revision)/(.+))?", path)
        if match is None:
            return self.reply(404, {}, b"{}")
        key = f"{(match[2] or 'models/')}{match[3]}"
        repo = hub.repos.get(key)
        if repo is None:  # the real hub hides whether a repository exists from unauthorised clients
            return self.reply(401, {"X-Error-Code": "RepoNotFound"}, b"{}")
        if match[1]:
            return self.listing(repo, key, match[5] or "main")
        return self.resolve(repo, match[5], fault)

    def listing(self, repo, key, revision):
        commit = self.commit(repo, revision)
        if commit is None:
            return self.reply(404, {"X-Error-Code": "RevisionNotFound"}, b"{}")
        siblings = []
        for name, content in repo.files.items():
            entry = {"rfilename": name, "size": len(content), "blobId": git_sha1(content)}
            if name in repo.large:
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 130}
            siblings.append(entry)
        body = {"id": key.partition("/")[2], "sha": commit, "siblings": siblings, "gated": repo.gated, "private": False}
        return self.reply(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def resolve(self, repo, rest, fault):
        revision = next(name for name in [*repo.revisions, *repo.revisions.values()] if rest.startswith(f"{name}/"))
        name, commit = rest[len(revision) + 1 :], self.commit(repo, revision)
        if repo.gated and "authorization" not in {key.lower() for key in self.headers}:
            return self.reply(401, {"X-Error-Code": "GatedRepo", "X-Repo-Commit": commit}, b"{}")
        if name not in repo.files:
            return self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b"{}")
        content = repo.files[name]
        if name in repo.large:
            digest = hashlib.sha256(content).hexdigest()
            port = self.server.server_port  # a different host name, like the real hub's storage
            headers = {"Location": f"http://localhost:{port}/cdn/{digest}?{SIGNED}", "X-Repo-Commit": commit}
            headers |= {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content)), "ETag": '"other"'}
            return self.reply(302, headers, b"")
        return self.send_file(content, fault, {"ETag": f'"{git_sha1(content)}"', "X-Repo-Commit": commit})

    def commit(self, repo, revision):
        return repo.revisions.get(revision) or (revision if revision in repo.revisions.values() else None)

    def send_file(self, content, fault, headers=None):
        content = fault.get("body", content)
        status, headers = 200, dict(headers or {}) | {"Accept-Ranges": "bytes"} | fault.get("headers", {})
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if wanted and self.server.hub.ranges:
            start = int(wanted[1])
            if start >= len(content):
                return self.reply(416, {"Content-Range": f"bytes */{len(content)}"}, b"")
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            status, content = 206, content[start:]
        return self.reply(status, headers, content, fault.get("cut"))

    def reply(self, status, headers, body, cut=None):
        self.send_response(status)
        headers = {"Content-Length": str(len(body))} | headers
        for key, value in headers.items():
            if value is not None:
                self.send_header(key, value)
        self.close_connection = not str(headers["Content-Length"]).isdigit()
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(2)


def serve(handler=Handler):
    """Start a server; returns (hub, function that stops it)."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.hub = Hub(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()

    def stop():
        server.shutdown()
        server.server_close()
        thread.join()

    return server.hub, stop
