"""Envoy's own validation of every golden case."""

import json
import subprocess
from pathlib import Path

import msgspec
import pytest
import yaml
from tests.live.harness.translated import written_out

from headgate.gateway.envoy.bootstrap import INTERNAL_LISTENERS, RUNTIME
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import translate
from headgate.io.envoy.binary import find_envoy
from headgate.manifests.decode import decode_all
from headgate.model.snapshot import Snapshot

pytestmark = pytest.mark.live

CASES = sorted((Path(__file__).parents[1] / "golden" / "translate").glob("*.yaml"))
CA = Path("/etc/ssl/certs/ca-certificates.crt")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_envoy_accepts(case: Path, tmp_path: Path) -> None:
    settings, *documents = yaml.safe_load_all(case.read_text().partition("# --- expected\n")[0])
    decoded = [each for raw in documents for each in decode_all(raw, "", lambda _: 0)]
    found = Snapshot(tuple(each.object for each in decoded if each.object is not None))
    given = msgspec.convert(settings.get("settings", {}), GatewaySettings)
    if not CA.exists() and "https" in case.stem:
        pytest.skip("no CA bundle on this machine")
    translation = translate(found, msgspec.structs.replace(given, ca_bundle=str(CA)))
    config = tmp_path / "bootstrap.json"
    listeners, clusters = written_out(translation)
    static = {"listeners": listeners, "clusters": clusters}
    whole = {"static_resources": static, "layered_runtime": RUNTIME}
    config.write_text(json.dumps({**whole, "bootstrap_extensions": [INTERNAL_LISTENERS]}))
    command = [str(find_envoy()), "--mode", "validate", "-c", str(config), "-l", "error"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr
