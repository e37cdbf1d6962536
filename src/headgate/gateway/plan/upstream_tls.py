"""How model servers behind https URLs are reached."""

from collections.abc import Iterable, Iterator

from headgate.gateway import ir
from headgate.gateway.envoy import names
from headgate.gateway.plan.classes import settings
from headgate.model import topology
from headgate.model.ids import PoolKey
from headgate.model.meta import KubeObject
from headgate.model.objects import ModelServer, ServerTls
from headgate.model.server_urls import parse_url
from headgate.model.store import Store


def by_secured(each: KubeObject) -> Iterator[tuple[str, str, str]]:
    """Keys of the index `secured`: namespace and labels of ModelServers with https URLs; two empty texts for
    whoever selects everything. All that is said here of a pool depends on no other server."""
    if isinstance(each, ModelServer) and _may_be_secured(each):
        for label in ("", ""), *each.metadata.labels.items():
            yield each.namespace, *label


def of_pool(world: Store, key: PoolKey) -> ir.LabelledTls:
    """Of all ModelServers that the pool selects."""
    pool = world.get(topology.written, key)
    if pool is None:
        return ()
    labels = sorted(pool.spec.selector.match_labels.items()) or [("", "")]
    found = topology.having(world, "secured", [(pool.namespace, *each) for each in labels])
    servers = (world.any_object(each) for each in found)
    return of_servers(world, (each for each in servers if isinstance(each, ModelServer)))


def _may_be_secured(server: ModelServer) -> bool:
    return "https" in server.spec.url.lower()


def of_servers(world: Store, servers: Iterable[ModelServer]) -> ir.LabelledTls:
    """Of these servers."""
    found: dict[str, ir.UpstreamTls] = {}
    for server in servers:
        if not _may_be_secured(server):
            continue
        url = parse_url(server.spec.url)
        if isinstance(url, str) or url.scheme != "https":
            continue
        tls = server.spec.tls or ServerTls()
        authorities = world.entry("authorities", tls.ca_file) if tls.ca_file else None
        if tls.ca_file and authorities is None:
            continue  # it has no endpoints either: its file could not be read
        insecure = tls.insecure_skip_verify or (settings(world).insecure and not tls.ca_file)
        label = names.tls_label_of(url.host, tls.ca_file, tls.insecure_skip_verify)
        found[label] = ir.UpstreamTls(hostname=url.host, authorities=authorities, insecure=insecure)
    return tuple(sorted(found.items()))
