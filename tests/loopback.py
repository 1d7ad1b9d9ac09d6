"""A web server on this machine whose files can be good, cut short, wrong, missing or slow, for tests that download."""

import contextlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


class Loopback:
    """`files` maps a path to its bytes or to a function that answers; `requests` are the paths asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes | Callable[[http.server.BaseHTTPRequestHandler], None]] = {}
        self.requests: list[str] = []
        self.closing = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                answer = outer.files.get(self.path)
                with contextlib.suppress(ConnectionError):  # a client that gave up
                    if answer is None:
                        self.send_error(404)
                    elif callable(answer):
                        answer(self)
                    else:
                        send(self, answer)

            def log_message(self, *_: object) -> None:
                """Nothing on standard error."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.address = f"http://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def silent(self, handler: http.server.BaseHTTPRequestHandler) -> None:
        """Accepts the request and never answers."""
        self.closing.wait(60)

    def stalls_after(self, content: bytes) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
        """Announces more than the content, sends the content and then nothing."""

        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            head(handler, len(content) + 100_000)
            handler.wfile.write(content)
            handler.wfile.flush()
            self.closing.wait(60)

        return answer

    def drips(self, content: bytes, pause: float) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
        """Sends the content byte by byte, for ever alive and of no use."""

        def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
            head(handler, len(content))
            for k in range(len(content)):
                if self.closing.wait(pause):
                    return
                handler.wfile.write(content[k : k + 1])
                handler.wfile.flush()

        return answer


def head(handler: http.server.BaseHTTPRequestHandler, length: int) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(length))
    handler.end_headers()


def send(handler: http.server.BaseHTTPRequestHandler, content: bytes) -> None:
    head(handler, len(content))
    handler.wfile.write(content)


def breaks_off(content: bytes) -> Callable[[http.server.BaseHTTPRequestHandler], None]:
    """Announces the whole content, sends half of it and closes the connection."""

    def answer(handler: http.server.BaseHTTPRequestHandler) -> None:
        head(handler, len(content))
        handler.wfile.write(content[: len(content) // 2])
        handler.close_connection = True

    return answer


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    server = Loopback()
    yield server
    server.close()


@pytest.fixture
def server(loopback: Loopback) -> Callable[[Path], str]:
    """serve(folder) -> address below which the folder's files are served."""

    def serve(folder: Path) -> str:
        for file in folder.rglob("*"):
            if file.is_file():
                loopback.files[f"/{file.relative_to(folder).as_posix()}"] = file.read_bytes()
        return loopback.address

    return serve
