"""The benchmarks that drive the whole gateway run, with numbers so small that they say nothing of speed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]


def test_control_plane() -> None:
    asked = ("--routes", "20", "--samples", "2", "--changes", "5", "--output", "json")
    command = [sys.executable, "-m", "benchmarks.controlplane", *asked]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["new_route_ms"]["p99"] >= found["new_route_ms"]["p50"] > 0
    figures = {"endpoint_change_cpu_ms", "core_percent", "envoy_core_percent"}
    figures |= {"start_s", "control_plane_mib", "envoy_mib"}
    assert all(found[each] > 0 for each in figures)
    assert list(found["rows"]) == ["no route", "20 routes", "20 routes of one host"]
    for row in found["rows"].values():
        assert figures < row.keys()
        assert all(each["value"] > 0 and each["ratio"] > 0 for each in row.values())
    assert all(each["ratio"] == 1 for each in found["rows"]["no route"].values())
    assert found["picker_stall_ms"] > 0 and list(found["picker"]) == ["4"]
