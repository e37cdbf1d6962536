"""How model servers behind https URLs are reached."""

from collections.abc import Iterable

from headgate.gateway import ir
from headgate.gateway.envoy import names
from headgate.gateway.plan.classes import settings
from headgate.model import topology
from headgate.model.ids import PoolKey
from headgate.model.objects import ModelServer, ServerTls
from headgate.model.server_urls import parse_url
from headgate.model.store import Store


def of_pool(world: Store, key: PoolKey) -> ir.LabelledTls:
    """Of all ModelServers that the pool selects."""
    return of_servers(world, world.get(topology.pool_servers, key))


def of_servers(world: Store, servers: Iterable[ModelServer]) -> ir.LabelledTls:
    """Of these servers."""
    found: dict[str, ir.UpstreamTls] = {}
    for server in servers:
        if "https" not in server.spec.url.lower():
            continue  # most: this runs for all servers of a pool when one of them changes
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
