"""What Envoy is told at its start."""

from pathlib import Path
from typing import Any

import msgspec

from headgate.gateway.envoy.bootstrap import CLOSE_AT, END_AT, REFUSE_AT, SPARE_AT
from headgate.io.envoy.bootstrap import EnvoyOptions, bootstrap, command


def test_the_heap_is_bounded(tmp_path: Path) -> None:
    made = msgspec.structs.replace(options(tmp_path, 19000), heap_bytes=1 << 30)
    manager = bootstrap(made)["overloadManager"]
    assert manager["resourceMonitors"][1]["typedConfig"]["maxHeapSizeBytes"] == 1 << 30
    assert {each["triggers"][0]["name"] for each in manager["actions"] + manager["loadshedPoints"]} == {
        manager["resourceMonitors"][1]["name"]
    }


def test_what_is_done_before_the_heap_is_full_comes_in_order(tmp_path: Path) -> None:
    """Spare, then refuse, then end: nobody's stream is ended while new ones are let in."""
    manager = bootstrap(options(tmp_path))["overloadManager"]

    def begins(each: Any) -> float:
        (trigger,) = each["triggers"]
        value: float = (trigger.get("threshold") or {}).get("value") or trigger["scaled"]["scalingThreshold"]
        return value

    actions = {each["name"].rpartition(".")[2]: begins(each) for each in manager["actions"]}
    points = {each["name"].rpartition(".")[2]: begins(each) for each in manager["loadshedPoints"]}
    assert actions == {
        "shrink_heap": SPARE_AT,
        "reduce_timeouts": SPARE_AT,
        "stop_accepting_requests": REFUSE_AT,
        "disable_http_keepalive": REFUSE_AT,
        "reset_high_memory_stream": END_AT[0],
        "stop_accepting_connections": CLOSE_AT,
    }
    assert points == {
        "http2_server_go_away_on_dispatch": REFUSE_AT,
        "http1_server_abort_dispatch": END_AT[0],
        "http2_server_go_away_and_close_on_dispatch": CLOSE_AT,
        "hcm_ondata_creating_codec": CLOSE_AT,
        "tcp_listener_accept": CLOSE_AT,
    }
    assert SPARE_AT < REFUSE_AT < END_AT[0] < CLOSE_AT < END_AT[1] < 1
    timers = next(each for each in manager["actions"] if "typedConfig" in each)["typedConfig"]
    scaled = {each["timer"] for each in timers["timerScaleFactors"]}
    assert scaled == {"HTTP_DOWNSTREAM_CONNECTION_IDLE", "TRANSPORT_SOCKET_CONNECT"}, "answers keep theirs"


def options(folder: Path, admin_port: int | None = None) -> EnvoyOptions:
    return EnvoyOptions(binary=Path("/bin/envoy"), folder=folder, xds_port=18000, admin_port=admin_port)


def test_the_admin_is_a_private_socket_unless_a_port_is_given(tmp_path: Path) -> None:
    assert bootstrap(options(tmp_path))["admin"]["address"] == {
        "pipe": {"path": str(tmp_path / "envoy.sock"), "mode": 0o600}
    }
    by_port = bootstrap(options(tmp_path, admin_port=19000))["admin"]["address"]
    assert by_port == {"socketAddress": {"address": "127.0.0.1", "portValue": 19000}}


def xds_address(options: EnvoyOptions) -> object:
    [cluster] = bootstrap(options)["staticResources"]["clusters"]
    [group] = cluster["loadAssignment"]["endpoints"]
    return group["lbEndpoints"][0]["endpoint"]["address"]


def test_the_xds_server_is_on_a_socket_in_the_folder_unless_a_loopback_port_is_given(tmp_path: Path) -> None:
    by_port = xds_address(options(tmp_path))
    assert by_port == {"socketAddress": {"address": "127.0.0.1", "portValue": 18000}}
    by_socket = xds_address(EnvoyOptions(binary=Path("/bin/envoy"), folder=tmp_path))
    assert by_socket == {"pipe": {"path": str(tmp_path / "xds.sock")}}


def test_envoy_warns_of_deprecated_fields_only_where_debugging_is_asked_for(tmp_path: Path) -> None:
    for level, expected in (("info", "misc:error"), ("warning", "misc:error"), ("debug", "misc:info")):
        line = command(msgspec.structs.replace(options(tmp_path), log_level=level))
        assert line[line.index("--component-log-level") + 1] == expected


def test_the_command_writes_the_file_it_names(tmp_path: Path) -> None:
    line = command(options(tmp_path))
    written = Path(line[line.index("-c") + 1])
    assert msgspec.json.decode(written.read_bytes()) == bootstrap(options(tmp_path))
    assert "--disable-hot-restart" in line
