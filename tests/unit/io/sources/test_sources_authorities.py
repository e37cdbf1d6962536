"""CA files that ModelServers name."""

from pathlib import Path

from tests import manifests as manifest
from tests.live.harness.certificates import Authority
from tests.resolved import resolve_pools

from headgate.io.sources.api import read_once
from headgate.io.sources.authorities import Authorities


def test_what_was_read_stays_in_force_while_the_file_is_away(tmp_path: Path) -> None:
    pem = tmp_path / "ca.pem"
    server = manifest.model_server("one", "https://gpu.example", "a")
    server["spec"]["tls"] = {"caFile": str(pem)}
    objects = manifest.snapshot(server, manifest.model_server("two", "https://gpu2.example", "a")).objects
    reading = Authorities()
    known, (problem,) = reading.read(objects)
    assert not known
    assert problem.place.field == "spec.tls.caFile"
    assert "No such file" in problem.message
    pem.write_bytes(Authority().pem)
    assert reading.read(objects) == ({str(pem): pem.read_text()}, ())
    good = pem.read_text()
    pem.write_text("half a f")
    known, (problem,) = reading.read(objects)
    assert known == {str(pem): good}
    assert problem.message.endswith("what was read before stays in force")
    assert reading.read(()) == ({}, ())


def test_a_server_whose_ca_cannot_be_read_takes_no_other_along(tmp_path: Path) -> None:
    servers = [manifest.model_server(name, "https://127.0.0.1:1" + name, "p") for name in "12"]
    servers[0]["spec"]["tls"] = {"caFile": str(tmp_path / "gone.pem")}
    found = read_once([manifest.write(tmp_path / "all.yaml", manifest.pool("p"), *servers)])
    (problem,) = found.problems
    assert "gone.pem" in str(problem)
    (pool,), _ = resolve_pools(found)
    assert [each.name for each in pool.endpoints] == ["2"]
