"""The command line of the demo's gateway."""

import pytest

from headgate.app.demo.plan import DemoSettings, set_scene
from headgate.app.demo.stages import run_args


@pytest.mark.parametrize("flow_control", [True, False])
def test_the_gateway_gets_the_demos_choices(flow_control: bool) -> None:
    scene = set_scene(DemoSettings(flow_control=flow_control, port=0))
    args = run_args(scene, "least-requests", ["http://127.0.0.1:1"])
    assert args[0] == "http://127.0.0.1:1"
    assert args[args.index("--policy") + 1] == "least-requests"
    assert ("--flow-control" in args, "--no-flow-control" in args) == (flow_control, not flow_control)
