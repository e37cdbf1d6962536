"""The file of `--api-key-file`."""

import logging
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from headgate.io.api_keys import KeyFile, KeyFileError, Keys, read_single
from headgate.model.api_keys import read_key
from headgate.model.endpoints import Endpoint
from headgate.model.ids import EndpointId

KEY, OTHER = "sk-hunter2-hunter2", "sk-other-0ther"


def written(folder: Path, text: str) -> Path:
    path = folder / "keys"
    path.write_text(text)
    return path


def key(file: KeyFile, url: str) -> str | None:
    found = file.of_url(url)
    return None if found is None else found.text


def test_one_key_is_for_every_server(tmp_path: Path) -> None:
    file = KeyFile(written(tmp_path, f"# for all\n\n{KEY}\n"))
    assert key(file, "http://gpu1:8000") == key(file, "https://10.0.0.1:443") == KEY


def test_a_line_with_a_url_is_for_that_server_alone(tmp_path: Path) -> None:
    file = KeyFile(written(tmp_path, f"https://GPU1:8000/v1 {KEY}\n10.0.0.1:80 {OTHER}\n"))
    assert key(file, "https://gpu1:8000") == KEY
    assert key(file, "http://gpu1:8000") is None
    assert key(file, "https://gpu1:8001") is None
    assert key(file, "https://gpu2:8000") is None
    assert key(file, "http://10.0.0.1:80") == OTHER
    found = file.of("https", ("gpu1", "10.9.9.9"), 8000)
    assert found is not None
    assert found.text == KEY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        f"{KEY}\n{OTHER}\n",
        f"http://a:1 {KEY} {OTHER}\n",
        f"ftp://a {KEY}\n",
        f"http://a:1/{KEY} {KEY}\n",
        f"http://a:1 {KEY}é\n",
    ],
)
def test_what_is_no_key_file_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(KeyFileError) as refused:
        KeyFile(written(tmp_path, text))
    assert KEY not in str(refused.value)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no such file"):
        KeyFile(tmp_path / "none")
    with pytest.raises(KeyFileError, match=r"cannot be read|no regular file"):
        read_single(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(KeyFileError, match="no regular file"):
        read_single(tmp_path / "pipe")


def test_a_changed_file_counts_and_a_broken_one_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = written(tmp_path, KEY)
    file = KeyFile(path)
    path.write_text(f"{OTHER}\n")
    assert key(file, "http://a:1") == OTHER
    path.unlink()
    with caplog.at_level(logging.WARNING):
        assert key(file, "http://a:1") == OTHER
        assert key(file, "http://a:1") == OTHER
    assert [record.getMessage() for record in caplog.records] == [
        f"API keys: {path}: it cannot be read: no such file or directory; what was read before stays in force"
    ]


def test_a_key_that_an_object_names_counts_first_and_for_that_server_alone(tmp_path: Path) -> None:
    keys = Keys(KeyFile(written(tmp_path, OTHER)))
    keys.named = {"default/one": read_key(KEY)}
    server = Endpoint(EndpointId("10.0.0.1:80"), "10.0.0.1", 80, "one", hostname="gpu1")
    for endpoint, expected in (
        (server, KEY),
        (replace(server, name="two"), OTHER),
        (replace(server, namespace="other"), OTHER),
        (replace(server, hostname=""), OTHER),  # a Pod
    ):
        found = keys.of(endpoint)
        assert found is not None
        assert found.text == expected
    assert Keys().of(server) is None
