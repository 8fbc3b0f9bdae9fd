"""A web server on this machine that serves ranges of a folder's files, and misbehaves when told to."""

import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class RangeServer(ThreadingHTTPServer):
    """Serves `folder`; `faults` are what it does to the next requests for data, one each."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), RangeHandler)
        self.folder, self.faults, self.served = folder, [], []
        self.address = f"http://127.0.0.1:{self.server_port}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class RangeHandler(BaseHTTPRequestHandler):
    """GET and HEAD of files, with `Range: bytes=first-last`."""

    protocol_version = "HTTP/1.1"
    server: RangeServer

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.server.folder / self.path.lstrip("/")
        fault = self.server.faults.pop(0) if self.server.faults else None
        if fault == "stall":
            time.sleep(1.5)
            self.close_connection = True
            return
        if fault == "hang up":
            self.close_connection = True
            return
        if isinstance(fault, int) or not path.is_file():
            self._send(fault or 404, b"", body)
            return
        content = path.read_bytes()
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if asked is None or fault == "whole":
            self._send(200, content, body)
            return
        first, last = int(asked[1]), min(int(asked[2]), len(content) - 1)
        self.server.served.append((path.name, first, last + 1))
        if first >= len(content):
            self._send(416, b"", body)
            return
        self._send(206, content[first : last + 1], body, f"bytes {first}-{last}/{len(content)}")

    def _send(self, status: int, content: bytes, body: bool, content_range: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Accept-Ranges", "bytes")
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass
