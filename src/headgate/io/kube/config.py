"""How an API server is reached: from a kubeconfig, or from inside a Pod."""

import base64
import binascii
import os
import ssl
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

MAX_BYTES = 4 << 20
"""Of a kubeconfig, and of each file that it names."""

IN_POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ConfigError(ValueError):
    """A kubeconfig that cannot be used; the message names file and field, and no value of it."""


class Access(msgspec.Struct, frozen=True, kw_only=True):
    """One API server, and who asks it."""

    server: str
    """`https://host:port`, without a slash at its end."""
    authorities: str = ""
    """PEM; empty: the system's."""
    insecure: bool = False
    """Whatever certificate the server shows is taken."""
    server_name: str = ""
    """Name that its certificate is checked for; empty: the host of `server`."""
    token: str = ""
    token_file: Path | None = None
    """Read again and again: tokens of Pods last an hour."""
    certificate: str = ""
    """PEM, with `key`."""
    key: str = ""
    namespace: str = "default"

    def __repr__(self) -> str:
        """Where, and nothing of who."""
        return f"Access({self.server})"

    def bearer(self) -> str:
        """The token to show now; empty: none. Raises OSError when its file cannot be read."""
        if self.token_file is None:
            return self.token
        return _read(self.token_file).decode(errors="replace").strip()

    def tls(self) -> ssl.SSLContext | None:
        """How the server is talked to; None: without TLS. Raises ConfigError for material that is none."""
        if not self.server.startswith("https://"):
            return None
        context = ssl.create_default_context()
        try:
            if self.authorities:
                context = ssl.create_default_context(cadata=self.authorities)
            if self.certificate:
                _load_pair(context, self.certificate, self.key)
        except (ssl.SSLError, ValueError) as error:
            raise ConfigError(f"certificates of {self.server} cannot be used: {error}") from None
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def read_kubeconfig(path: Path, context: str = "") -> Access:
    """The server and user of *context*, or of the file's current one.

    Raises:
        ConfigError: the file cannot be read or used; the message says what to mend.
    """
    raw = _yaml(path)
    wanted = context or raw.get("current-context")
    if not isinstance(wanted, str) or not wanted:
        raise ConfigError(f"{path}: current-context is empty; set it, or name a context with --kube-context")
    chosen = _named(path, raw, "contexts", "context", wanted)
    cluster = _named(path, raw, "clusters", "cluster", str(chosen.get("cluster")))
    user = _named(path, raw, "users", "user", str(chosen.get("user"))) if chosen.get("user") else {}
    for key in ("exec", "auth-provider", "username"):
        if key in user:
            raise ConfigError(
                f"{path}: user {chosen.get('user')} signs in by {key}, which is not supported; "
                "use a token, a tokenFile or a client certificate"
            )
    server = str(cluster.get("server", "")).rstrip("/")
    if not server.startswith(("https://", "http://")):
        raise ConfigError(f"{path}: cluster {chosen.get('cluster')} has no server such as https://host:6443")
    token_file = user.get("tokenFile")
    certificate = _data(path, user, "client-certificate")
    key = _data(path, user, "client-key")
    if bool(certificate) != bool(key):
        raise ConfigError(f"{path}: user {chosen.get('user')} needs both client-certificate and client-key")
    return Access(
        server=server,
        authorities=_data(path, cluster, "certificate-authority"),
        insecure=cluster.get("insecure-skip-tls-verify") is True,
        server_name=str(cluster.get("tls-server-name") or ""),
        token=str(user.get("token") or ""),
        token_file=None if not token_file else _beside(path, str(token_file)),
        certificate=certificate,
        key=key,
        namespace=str(chosen.get("namespace") or "default"),
    )


def in_pod(environ: Mapping[str, str] = os.environ, folder: Path = IN_POD) -> Access | None:
    """The API server of the cluster that this process runs in, by its ServiceAccount; None: in none."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    token = folder / "token"
    if not host or not token.is_file():
        return None
    try:
        authorities = _read(folder / "ca.crt").decode()
        namespace = _read(folder / "namespace").decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the ServiceAccount's files cannot be read: {error}") from None
    shown = f"[{host}]" if ":" in host else host
    return Access(
        server=f"https://{shown}:{port}", authorities=authorities, token_file=token, namespace=namespace
    )


def _yaml(path: Path) -> Mapping[str, Any]:
    try:
        raw = yaml.safe_load(_read(path))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (yaml.YAMLError, ValueError, RecursionError):
        raise ConfigError(f"{path}: is no YAML") from None  # the text may hold a token
    if not isinstance(raw, Mapping):
        raise ConfigError(f"{path}: is no kubeconfig: a mapping with clusters, users and contexts")
    return raw


def _named(path: Path, raw: Mapping[str, Any], many: str, one: str, name: str) -> Mapping[str, Any]:
    entries = raw.get(many)
    for each in entries if isinstance(entries, list) else ():
        if isinstance(each, Mapping) and each.get("name") == name:
            found = each.get(one)
            return found if isinstance(found, Mapping) else {}
    raise ConfigError(f"{path}: {many} has no {one} named {name}")


def _data(path: Path, where: Mapping[str, Any], field: str) -> str:
    """PEM from `field-data` (base64) or from the file that `field` names; empty: neither."""
    data, file = where.get(f"{field}-data"), where.get(field)
    try:
        if data:
            return base64.b64decode(str(data), validate=True).decode()
        if file:
            return _read(_beside(path, str(file))).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise ConfigError(f"{path}: {field} is no PEM") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {field} cannot be read: {error}") from None
    return ""


def _beside(path: Path, named: str) -> Path:
    return path.parent / Path(named).expanduser()


def _read(path: Path) -> bytes:
    """A file, bounded. Raises OSError, also for what is no regular file."""
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(number, "rb") as file:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(f"{path} is no regular file")
        found = file.read(MAX_BYTES + 1)
    if len(found) > MAX_BYTES:
        raise OSError(f"{path} is longer than {MAX_BYTES >> 20} MiB")
    return found


def _load_pair(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """OpenSSL takes a client's certificate from a file only: one in memory, which nobody else can open."""
    number = os.memfd_create("headgate-kube", os.MFD_CLOEXEC)
    try:
        os.write(number, f"{certificate}\n{key}".encode())
        context.load_cert_chain(f"/proc/self/fd/{number}")
    finally:
        os.close(number)
