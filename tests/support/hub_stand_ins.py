"""Stand-ins, on this machine, of the HTTP interfaces of model hubs.

Each keeps what it was given, by the paths of the files, and can be told to refuse or to break off;
that of Hugging Face gives it to whoever downloads it, and plain files by their paths.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

COMMIT = "0" * 40
KAGGLE_PORT = 7777  # kagglesdk's own, in its environment for tests


@dataclass
class Hub:
    """What a stand-in was given.

    `files` are those of the last whole version of `repository`, `blobs` what was uploaded for it,
    by its key, `refuses` the status that every request gets, `breaks` how many uploads are broken
    off.
    """

    repository: str = "me/net"
    files: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    made: list[dict[str, Any]] = field(default_factory=list)
    refuses: int | None = None
    breaks: int = 0
    requests: list[str] = field(default_factory=list)
    url: str = ""


class Handler(BaseHTTPRequestHandler):
    """What both have in common; `hub` is set where one is served."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 — the base class's
        """Says nothing."""

    def answer(self, content: Any = None, status: int = 200, **headers: str) -> None:
        body = json.dumps({} if content is None else content).encode()
        self.send(body, status, Content_Type="application/json", **headers)

    def send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while length := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(length))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def upload(self) -> None:
        """Takes a file at its own address, or breaks off in the midst of it."""
        if self.hub.breaks:
            self.hub.breaks -= 1
            self.close_connection = True
            self.connection.close()
            return
        key, content = self.path.rpartition("/")[2], self.body()
        if "*/" in self.headers.get("Content-Range", ""):  # asks how much of it is there
            self.answer(status=200 if key in self.hub.blobs else 308)
            return
        self.hub.blobs[key] = content
        self.answer()

    def do_PUT(self) -> None:
        self.hub.requests.append(f"PUT {self.path}")
        self.upload()

    def do_POST(self) -> None:
        self.hub.requests.append(f"POST {self.path}")
        if self.hub.refuses is not None:
            self.body()
            self.answer({"error": "You may not", "message": "You may not"}, self.hub.refuses)
            return
        self.post()

    def post(self) -> None:
        raise NotImplementedError


class HuggingFace(Handler):
    """api/repos/create, preupload, git's large files, commit; api/models, resolve."""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.hub.requests.append(f"{self.command} {path}")
        if path == f"/api/models/{self.hub.repository}":
            siblings = [{"rfilename": name} for name in self.hub.files]
            self.answer({"id": self.hub.repository, "sha": COMMIT, "siblings": siblings})
            return
        # Of a version, of which there is one, or a plain file.
        name = path.partition("/resolve/")[2].partition("/")[2] or path
        content = self.hub.files.get(name)
        if content is None:
            code = "RepoNotFound" if path.startswith("/api/models/") else "EntryNotFound"
            self.answer({"error": "not found"}, 404, X_Error_Code=code)
        else:
            tag = f'"{hashlib.sha256(content).hexdigest()}"'
            self.send(content, ETag=tag, X_Repo_Commit=COMMIT)

    def do_HEAD(self) -> None:
        self.do_GET()

    def post(self) -> None:
        content, path = self.body(), self.path.partition("?")[0]
        if path.endswith("/api/repos/create"):
            self.hub.made.append(json.loads(content))
            self.answer({"url": f"{self.hub.url}/me/net", "name": "me/net"})
        elif "/preupload/" in path:
            asked = json.loads(content)["files"]
            modes = [(each["path"], each["size"] > 10_000) for each in asked]
            answers = [
                {"path": name, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
                for name, large in modes
            ]
            self.answer({"files": answers})
        elif path.endswith("/info/lfs/objects/batch"):
            objects = [
                each
                | (
                    {}
                    if each["oid"] in self.hub.blobs
                    else {"actions": {"upload": {"href": f"{self.hub.url}/blob/{each['oid']}"}}}
                )
                for each in json.loads(content)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})
        elif "/commit/" in path:
            for line in map(json.loads, content.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.hub.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    self.hub.files[value["path"]] = self.hub.blobs[value["oid"]]
            url = f"{self.hub.url}/me/net/commit/1"
            self.answer({"commitUrl": url, "commitOid": "1" * 40, "success": True})
        else:
            self.answer({})


class Kaggle(Handler):
    """GetModel, CreateModel, StartBlobUpload, CreateModelInstance."""

    def post(self) -> None:
        asked, call = json.loads(self.body() or b"{}"), self.path.rpartition("/")[2]
        match call:
            case "GetModel" if not self.hub.made:
                self.answer({"code": 404, "message": "not found"}, 404)
            case "CreateModel":
                self.hub.made.append(asked)
                self.answer({"id": 1})
            case "StartBlobUpload":
                url = f"{self.hub.url}/blob/{asked['name']}"
                self.answer({"token": asked["name"], "createUrl": url})
            case "CreateModelInstance":
                self.hub.made.append(asked)
                names = [each["token"] for each in asked["body"]["files"]]
                self.hub.files = {name: self.hub.blobs[name] for name in names}
                self.answer({"id": 2, "url": self.hub.url})
            case _:
                self.answer({})


@contextmanager
def served(handler: type[Handler], port: int = 0) -> Iterator[Hub]:
    """Meanwhile a stand-in answers at `url`."""
    hub = Hub()
    server = ThreadingHTTPServer(
        ("127.0.0.1", port), type(handler.__name__, (handler,), {"hub": hub})
    )
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def download_from(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets huggingface_hub find a stand-in in the place of its hub, and nothing in its cache."""
    constants = huggingface_hub.constants
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
