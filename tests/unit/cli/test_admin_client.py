"""Asking the admin API, and what is said when it does not answer."""

import http.server
import threading
from collections.abc import Iterator

import pytest

from headgate.cli.admin_client import AdminError, NotKnownError, get_json

ANSWERS = {
    "/good": (200, b'{"a": 1}'),
    "/gone": (404, b'{"error": {"code": "x", "message": "no such thing"}}'),
    "/plain": (404, b'{"error": "nothing here"}'),
    "/bad": (503, b"oops"),
    "/elsewhere": (404, b"<h1>Not Found</h1>"),
    "/model": (404, b'{"error": {"message": "no such model", "type": "x"}}'),
    "/busy": (503, b'{"error": {"code": "picker-away", "message": "it is away"}}'),
    "/html": (200, b"<html>"),
}


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS[self.path]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture(scope="module")
def admin() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_the_scheme_may_be_left_out_and_a_slash_is_harmless(admin: str) -> None:
    assert get_json(admin, "/good") == get_json(f"http://{admin}/", "/good") == {"a": 1}


def test_what_is_not_known_has_the_servers_own_words(admin: str) -> None:
    with pytest.raises(NotKnownError, match="no such thing"):
        get_json(admin, "/gone")
    with pytest.raises(NotKnownError, match="nothing here"):
        get_json(admin, "/plain")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/bad", "answers 503 and is no admin API"),
        ("/elsewhere", "answers 404 and is no admin API.*--admin"),
        ("/busy", "answers 503: it is away"),
        ("/html", "no JSON"),
    ],
)
def test_other_answers_are_errors(admin: str, path: str, words: str) -> None:
    with pytest.raises(AdminError, match=words):
        get_json(admin, path)


def test_nobody_there_says_how_to_name_another() -> None:
    with pytest.raises(AdminError, match=r"no gateway answers at http://127\.0\.0\.1:1.*--admin"):
        get_json("127.0.0.1:1", "/v1/status")
    with pytest.raises(AdminError, match="no http URL"):
        get_json("ftp://x", "/v1/status")
