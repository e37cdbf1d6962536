"""Secrets whose values are in other files."""

from pathlib import Path

from tests import manifests as manifest
from tests.live.harness.certificates import Authority, write_pair

from headgate.io.sources.secret_files import SecretFiles
from headgate.model.objects import Object, Secret
from headgate.model.tls_material import Pair, read_pair


def secret(**values: str) -> manifest.Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "stringData": values}


def only(found: tuple[Object, ...]) -> Secret:
    (one,) = found
    assert isinstance(one, Secret)
    return one


def test_a_certificate_that_is_renewed_counts_once_it_fits_its_key(tmp_path: Path) -> None:
    ca = Authority()
    folder = write_pair(tmp_path / "pair", ca.sign("a.example"))
    written = secret(**{"tls.crt": f"file:{folder}/tls.crt", "tls.key": f"file:{folder}/tls.key"})
    objects = manifest.snapshot(written).objects
    reading = SecretFiles()
    found, problems = reading.read(objects)
    first = read_pair(only(found))
    assert isinstance(first, Pair) and not problems
    assert only(reading.read(objects)[0]) is only(found)
    new = ca.sign("a.example")
    (folder / "tls.crt").write_bytes(new.chain)
    found, (problem,) = reading.read(objects)
    assert read_pair(only(found)) == first
    assert "stays in force" in problem.message and problem.place.field == "stringData.tls.key"
    (folder / "tls.key").write_bytes(new.key)
    found, problems = reading.read(objects)
    assert read_pair(only(found)) == Pair(new.chain.decode(), new.key.decode()) and not problems
    (folder / "tls.key").unlink()
    found, (problem,) = reading.read(objects)
    assert isinstance(read_pair(only(found)), Pair)
    assert "No such file" in problem.message or "no such file" in problem.message


def test_what_cannot_be_read_at_first_is_no_value(tmp_path: Path) -> None:
    written = secret(one="file:relative", two=f"file:{tmp_path}/missing", three="file", four="text")
    found, problems = SecretFiles().read(manifest.snapshot(written).objects)
    assert only(found).string_data == {"three": "file", "four": "text"}
    assert [each.place.field for each in problems] == ["stringData.one", "stringData.two"]
    assert "absolute" in problems[0].message


def test_other_objects_pass_by() -> None:
    objects = manifest.snapshot(manifest.gateway(), secret(one="text")).objects
    assert SecretFiles().read(objects) == (objects, ())
