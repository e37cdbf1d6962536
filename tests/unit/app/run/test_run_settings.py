"""The command lines of the children."""

from pathlib import Path

import msgspec

from headgate.app.run.listen_ports import Ports
from headgate.app.run.settings import (
    AccessLog,
    Folder,
    RunSettings,
    controller_command,
    envoy_options,
    picker_command,
)

SETTINGS = RunSettings(
    urls=("http://a:1",),
    files=(Path("x.yaml"),),
    ports=Ports(gateway=1, metrics=4, admin=6, envoy_admin=7),
    host="127.0.0.1",
    policy="round-robin",
    picker_timeout_s=1.5,
)
FOLDER = Folder(Path("/run/x"))


def value(line: list[str], flag: str) -> str:
    return line[line.index(flag) + 1]


def test_both_halves_get_the_same_sources() -> None:
    for line in (controller_command(SETTINGS, FOLDER), picker_command(SETTINGS, FOLDER)):
        assert value(line, "-f") == "x.yaml"
        assert value(line, "--url") == "http://a:1"


def test_keys_are_passed_by_the_path_of_their_file_and_to_the_picker_alone() -> None:
    settings = msgspec.structs.replace(SETTINGS, api_key_file=Path("/etc/keys"))
    assert value(picker_command(settings, FOLDER), "--api-key-file") == "/etc/keys"
    assert "--api-key-file" not in controller_command(settings, FOLDER)
    assert "--api-key-file" not in picker_command(SETTINGS, FOLDER)


def test_the_processes_find_each_other_on_sockets_in_the_private_folder() -> None:
    controller, picker = controller_command(SETTINGS, FOLDER), picker_command(SETTINGS, FOLDER)
    envoy = envoy_options(SETTINGS, FOLDER, Path("/bin/envoy"), 2)
    assert value(controller, "--picker-address") == f"unix:{value(picker, '--grpc-socket')}"
    assert value(controller, "--xds-socket") == str(envoy.xds_socket)
    for socket in (value(picker, "--grpc-socket"), value(controller, "--xds-socket")):
        assert Path(socket).parent == FOLDER.path
    assert (envoy.xds_port, value(picker, "--grpc-health-port")) == (None, "-1")
    assert value(picker, "--policy") == "round-robin"
    assert "--no-secure-serving" in picker
    assert value(picker, "--body-limit") == value(controller, "--body-limit")


def test_the_access_log_goes_through_a_pipe_to_standard_output_or_into_a_file_or_nowhere() -> None:
    def told(where: AccessLog) -> list[str]:
        return controller_command(msgspec.structs.replace(SETTINGS, access_log=where), FOLDER)

    assert value(told("stdout"), "--access-log") == str(FOLDER.access_pipe)
    assert value(told(Path("/var/log/x")), "--access-log") == "/var/log/x"
    assert "--access-log" not in told("off")
