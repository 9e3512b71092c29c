"""A real HTTP server that can be told to misbehave."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves files and writes down each request.

    Attributes:
        content: what is served under every path that is not in `files`.
        files: contents by path.
        etag, modified: sent where not None.
        ranges: whether Range is understood.
        cuts: how many bytes each of the next responses sends before it closes the connection.
        statuses: the next responses' statuses, before any content is served.
        retry_after: sent with a status of 503.
        delay: seconds to sleep between pieces of 16 KiB.
        requests: (path, headers) of each request.
        sent: bytes of content sent.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = b""
        self.files: dict[str, bytes] = {}
        self.etag: str | None = '"one"'
        self.modified: str | None = None
        self.ranges = True
        self.cuts: list[int] = []
        self.statuses: list[int] = []
        self.retry_after: str | None = None
        self.delay = 0.0
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.sent = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/some/file.bin"

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    def asked_ranges(self) -> list[str | None]:
        return [headers.get("range") for _, headers in self.requests]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        headers = {key.lower(): value for key, value in self.headers.items()}
        server.requests.append((self.path, headers))
        if server.statuses:
            self.send_response(server.statuses.pop(0))
            if server.retry_after is not None:
                self.send_header("Retry-After", server.retry_after)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = self._start(headers)
        content = server.files.get(self.path, server.content)
        body = content[start:]
        if start and not body:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            end = len(content)
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{end}")
        if server.etag is not None:
            self.send_header("ETag", server.etag)
        if server.modified is not None:
            self.send_header("Last-Modified", server.modified)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.cuts:
            body = body[: server.cuts.pop(0)]
            self.close_connection = True
        for at in range(0, len(body), 16384):
            piece = body[at : at + 16384]
            # Count first: a client that has received the last piece can read the counter now.
            server.sent += len(piece)
            try:
                self.wfile.write(piece)
            except OSError:
                server.sent -= len(piece)
                return
            if server.delay:
                threading.Event().wait(server.delay)

    def _start(self, headers: dict[str, str]) -> int:
        server = self.server
        asked = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        if not server.ranges or asked is None:
            return 0
        if headers.get("if-range") not in (None, server.etag, server.modified):
            return 0
        return int(asked[1])


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Serves in a thread until the block ends."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
