"""kubeconfigs: which server, which user, and what is said of those that cannot be used."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from headgate.io.kube.config import ConfigError, in_pod, read_kubeconfig


def write(path: Path, user: dict[str, Any], **cluster: Any) -> Path:
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "team"}}],
        "clusters": [{"name": "k", "cluster": {"server": "https://10.0.0.1:6443/", **cluster}}],
        "users": [{"name": "u", "user": user}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


def test_server_authorities_and_token(tmp_path: Path) -> None:
    data = base64.b64encode(b"-----PEM-----").decode()
    path = write(tmp_path / "config", {"token": "s3cret"}, **{"certificate-authority-data": data})
    found = read_kubeconfig(path)
    assert (found.server, found.namespace) == ("https://10.0.0.1:6443", "team")
    assert (found.authorities, found.bearer()) == ("-----PEM-----", "s3cret")
    assert "s3cret" not in repr(found)


def test_files_are_looked_for_beside_the_kubeconfig_and_tokens_are_read_again(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("ca")
    (tmp_path / "token").write_text("one\n")
    path = write(tmp_path / "config", {"tokenFile": "token"}, **{"certificate-authority": "ca.pem"})
    found = read_kubeconfig(path)
    assert (found.authorities, found.bearer()) == ("ca", "one")
    (tmp_path / "token").write_text("two\n")
    assert found.bearer() == "two"


@pytest.mark.parametrize(
    ("user", "cluster", "said"),
    [
        ({"exec": {"command": "x"}}, {}, "signs in by exec"),
        ({"client-certificate-data": base64.b64encode(b"c").decode()}, {}, "needs both"),
        ({"client-key-data": "%%"}, {}, "client-key is no PEM"),
        ({"token": "t"}, {"certificate-authority": "missing.pem"}, "certificate-authority cannot be read"),
        ({"token": "t"}, {"server": "10.0.0.1"}, "no server such as"),
    ],
)
def test_what_cannot_be_used_is_named(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        read_kubeconfig(write(tmp_path / "config", user, **cluster))


def test_a_file_that_is_no_kubeconfig(tmp_path: Path) -> None:
    path = tmp_path / "config"
    with pytest.raises(ConfigError, match="cannot be read"):
        read_kubeconfig(path)
    path.write_text("token: [s3cret")
    with pytest.raises(ConfigError, match="is no YAML") as error:
        read_kubeconfig(path)
    assert "s3cret" not in str(error.value)
    with pytest.raises(ConfigError, match="no context named other"):
        read_kubeconfig(write(path, {}), "other")


def test_certificates_that_are_none_are_named_with_their_server(tmp_path: Path) -> None:
    data = base64.b64encode(b"nonsense").decode()
    access = read_kubeconfig(write(tmp_path / "config", {}, **{"certificate-authority-data": data}))
    with pytest.raises(ConfigError, match=r"certificates of https://10\.0\.0\.1:6443"):
        access.tls()


def test_inside_a_pod(tmp_path: Path) -> None:
    assert in_pod({}, tmp_path) is None
    for name, text in (("token", "t"), ("ca.crt", "ca"), ("namespace", "headgate-system")):
        (tmp_path / name).write_text(text)
    found = in_pod({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}, tmp_path)
    assert found is not None
    assert (found.server, found.namespace, found.bearer()) == (
        "https://[fd00::1]:443",
        "headgate-system",
        "t",
    )
