"""A web server on this machine whose answers a test decides, and small datasets to fetch from it."""

import hashlib
import http.server
import io
import math
import pickle
import socketserver
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lapwing.datasets.base import Dataset, RemoteFile
from lapwing.datasets.remote import Patience

Answer = Callable[["Handler"], None]

IMPATIENT = Patience(timeout_s=1, attempts=3, pause_s=0.001)


class Handler(http.server.BaseHTTPRequestHandler):
    """Gives the answers of its server's `answers`, the last one again and again."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))
        answers = self.server.answers[self.path]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        answer(self)

    def head(self, status: int, **headers: object) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """Remembers what it was asked: [(path, Range header)]."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.over = threading.Event()

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # without asking for the name of this machine
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, *_: object) -> None:
        """Clients that go away are what these tests are about."""

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server_port}{path}"

    def says(self, path: str, *answers: Answer) -> str:
        self.answers[path] = list(answers)
        return self.url(path)


def whole(content: bytes, resumable: bool = True) -> Answer:
    """The content, or the rest of it where that is asked for."""

    def answer(handler: Handler) -> None:
        asked = handler.headers.get("Range")
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and resumable else 0
        if start >= len(content) > 0:
            handler.head(416, Content_Range=f"bytes */{len(content)}", Content_Length=0)
        elif start:
            span = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.head(206, Content_Length=len(content) - start, Content_Range=span)
            handler.wfile.write(content[start:])
        else:
            handler.head(200, Content_Length=len(content))
            handler.wfile.write(content)

    return answer


def broken_off(content: bytes, after: int) -> Answer:
    """Announces all of the content, and ends the connection after some of it."""

    def answer(handler: Handler) -> None:
        handler.head(200, Content_Length=len(content))
        handler.wfile.write(content[:after])

    return answer


def hanging(content: bytes = b"", after: int = 0) -> Answer:
    """Sends some of the content, then nothing until the test is over."""

    def answer(handler: Handler) -> None:
        handler.head(200, Content_Length=max(1, len(content)))
        handler.wfile.write(content[:after])
        handler.server.over.wait(30)

    return answer


def endless(handler: Handler) -> None:
    handler.head(200)
    for _ in range(10_000):
        handler.wfile.write(bytes(2**16))


def status(code: int) -> Answer:
    return lambda handler: handler.head(code, Content_Length=0)


def redirect(address: str) -> Answer:
    return lambda handler: handler.head(302, Location=address, Content_Length=0)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join(10)


# -- small datasets --------------------------------------------------------------------------------


def read_nothing(folder: Path) -> dict[str, Any]:
    raise AssertionError(f"{folder} is not to be read here")


def dataset_of(*files: RemoteFile, **more: Any) -> Dataset:
    declared: dict[str, Any] = {
        "title": "Small",
        "version": 1,
        "task": "classification",
        "classes": 10,
        "scale": 1.0,
        "input_shape": (2,),
        "rows": {"train": 4},
        "licence": "CC0",
        "read": read_nothing,
        "mirror_folder": "small-set",
        "files": files,
    }
    return Dataset(**{**declared, **more})


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tar_of(members: dict[str, bytes | tarfile.TarInfo]) -> bytes:
    """A gzipped tar; a TarInfo stands for a member that is no plain file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
            else:
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


class _Python2Pickler(pickle._Pickler):
    """Pickles as Python 2 did: all text is byte strings."""

    dispatch = dict(pickle._Pickler.dispatch)

    def save_text(self, text: str | bytes) -> None:
        content = text if isinstance(text, bytes) else text.encode("latin1")
        self.write(pickle.BINSTRING + len(content).to_bytes(4, "little") + content)
        self.memoize(text)

    dispatch[str] = dispatch[bytes] = save_text


def cifar_batch(images: np.ndarray, **lists: list[Any]) -> bytes:
    """A batch in the official format: rows of red, green, blue planes, and lists by name."""
    buffer = io.BytesIO()
    _Python2Pickler(buffer, protocol=2).dump(
        {"data": images.reshape(len(images), math.prod(images.shape[1:])), **lists}
    )
    return buffer.getvalue().replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def torch_file(content: Any, folder: str = "archive") -> bytes:
    """What PyTorch writes for plain values and arrays: a zip file that holds a pickle of protocol 2."""
    buffer = io.BytesIO()
    pickled = content if isinstance(content, bytes) else pickle.dumps(content, 2)
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{folder}/data.pkl", pickled)
        archive.writestr(f"{folder}/version", "3\n")
    return buffer.getvalue()
