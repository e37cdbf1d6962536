"""What Envoy is told at its start."""

from pathlib import Path

import msgspec

from headgate.io.envoy.bootstrap import EnvoyOptions, bootstrap, command


def options(folder: Path, admin_port: int | None = None) -> EnvoyOptions:
    return EnvoyOptions(binary=Path("/bin/envoy"), folder=folder, xds_port=18000, admin_port=admin_port)


def test_the_admin_is_a_private_socket_unless_a_port_is_given(tmp_path: Path) -> None:
    assert bootstrap(options(tmp_path))["admin"]["address"] == {
        "pipe": {"path": str(tmp_path / "envoy.sock"), "mode": 0o600}
    }
    by_port = bootstrap(options(tmp_path, admin_port=19000))["admin"]["address"]
    assert by_port == {"socketAddress": {"address": "127.0.0.1", "portValue": 19000}}


def test_the_xds_server_is_on_loopback(tmp_path: Path) -> None:
    [cluster] = bootstrap(options(tmp_path))["staticResources"]["clusters"]
    [group] = cluster["loadAssignment"]["endpoints"]
    address = group["lbEndpoints"][0]["endpoint"]["address"]["socketAddress"]
    assert address == {"address": "127.0.0.1", "portValue": 18000}


def test_the_command_writes_the_file_it_names(tmp_path: Path) -> None:
    line = command(options(tmp_path))
    written = Path(line[line.index("-c") + 1])
    assert msgspec.json.decode(written.read_bytes()) == bootstrap(options(tmp_path))
    assert "--disable-hot-restart" in line
