"""As much of a Kubernetes API as the executor plugin asks for; its pods are processes of this machine."""

import json
import subprocess
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml


class Cluster:
    """Keeps the jobs that it is sent, and does each in a folder of its own, as a pod would in `/workdir`."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder, self.environment = folder, dict(environment)
        self.specs: list[dict[str, Any]] = []
        self.status: dict[str, dict[str, int]] = {}
        self.logs: dict[str, str] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    def __enter__(self) -> "Cluster":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    def write_kubeconfig(self, path: Path) -> Path:
        """Where clients find this cluster."""
        cluster = {"name": "here", "cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}
        context = {"name": "here", "context": {"cluster": "here", "user": "me"}}
        known = {"clusters": [cluster], "contexts": [context], "users": [{"name": "me", "user": {}}]}
        path.write_text(yaml.safe_dump({"current-context": "here", "kind": "Config", **known}))
        return path

    def begin(self, spec: dict[str, Any]) -> None:
        """Start the container of a job."""
        self.specs.append(spec)
        self.status[spec["metadata"]["name"]] = {"active": 1}
        threading.Thread(target=self._do, args=(spec,), daemon=True).start()

    def _do(self, spec: dict[str, Any]) -> None:
        name, container = spec["metadata"]["name"], container_of(spec)
        workdir = self.folder / name
        workdir.mkdir()
        done = subprocess.run(
            [*container["command"], *container["args"]],
            cwd=workdir,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.logs[name] = done.stdout
        self.status[name] = {"failed": 1} if done.returncode else {"succeeded": 1}


def container_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The one container of a job."""
    (container,) = spec["spec"]["template"]["spec"]["containers"]
    return dict(container)


def _handler(cluster: Cluster) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *words: object) -> None:
            """Stay silent."""

        def do_POST(self) -> None:
            sent = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.path.startswith("/apis/batch/v1/"):
                cluster.begin(sent)
            self.answer(sent)

        def do_GET(self) -> None:
            path = self.path.partition("?")[0].split("/")
            if path[-1] == "status":
                self.answer({"metadata": {"name": path[-2]}, "status": cluster.status[path[-2]]})
            else:
                self.answer({"items": []})

        def do_DELETE(self) -> None:
            self.answer({})

        def answer(self, what: object) -> None:
            body = json.dumps(what).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
