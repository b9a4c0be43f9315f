"""The loopback hub with upload endpoints: create repository, validate card, commit."""

import base64
import json
import re

from hub_server import Handler, Repo, serve


class UploadHandler(Handler):
    """All files are part of the commit, like small ones on the real hub (large ones use another protocol)."""

    def do_POST(self):  # noqa: N802
        hub, path = self.server.hub, self.path.partition("?")[0]
        hub.log.append(("POST", path, {key.lower(): value for key, value in self.headers.items()}))
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.headers.get("Authorization"):
            return self.answer_json({"error": "no token"}, 401)
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(preupload|commit)/([^/]+)", path)
        if match:
            return getattr(self, f"take_{match[2]}")(match, body)
        return {"/api/repos/create": self.create, "/api/validate-yaml": self.check_card}[path](body)

    def answer_json(self, value, status=200):
        self.reply(status, {"Content-Type": "application/json"}, json.dumps(value).encode())

    def create(self, body):
        hub, asked = self.server.hub, json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        if f"models/{name}" in hub.repos:
            return self.answer_json({"error": "exists", "url": f"{hub.address}/{name}"}, 409)
        hub.repos[f"models/{name}"] = Repo({})
        return self.answer_json({"url": f"{hub.address}/{name}"})

    def check_card(self, body):
        head = json.loads(body)["content"].split("---")[1]
        bad = [line for line in head.strip().splitlines() if not re.match(r"\w+: \S", line)]
        self.answer_json({"errors": [{"message": line} for line in bad], "warnings": []}, 400 if bad else 200)

    def take_preupload(self, match, body):
        names = [file["path"] for file in json.loads(body)["files"]]
        self.answer_json({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})

    def take_commit(self, match, body):
        hub = self.server.hub
        repo = hub.repos[f"models/{match[1]}"]
        for line in map(json.loads, body.decode().splitlines()):
            if line["key"] == "file":
                repo.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        commit = repo.revisions[match[3]]
        self.answer_json({"commitUrl": f"{hub.address}/{match[1]}/commit/{commit}", "commitOid": commit})


def serve_uploads():
    """Start a hub that accepts uploads; returns (hub, function that stops it)."""
    return serve(UploadHandler)
