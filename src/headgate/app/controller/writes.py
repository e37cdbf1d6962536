"""What a controller writes into a cluster while it leads: statuses, and what runs the Envoys of Gateways."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from headgate.app.controller.certificates import Certificates, OfPicker, authority_of
from headgate.gateway.half import Provisioned, Update
from headgate.gateway.plan.classes import Claim
from headgate.gateway.provision.addresses import Refused, missing
from headgate.gateway.provision.objects import MANAGED, MANAGED_LABEL, Wanted
from headgate.gateway.provision.settings import ProvisionSettings
from headgate.gateway.settings import CONTROLLER
from headgate.io.kube.apply import NOT_OURS, Applier, Owned
from headgate.io.kube.client import ApiError, Collection, KubeClient
from headgate.io.kube.config import Access
from headgate.io.kube.lease import Election, controllers_lease, this_process
from headgate.io.kube.made import Made
from headgate.io.kube.merging import Json
from headgate.io.kube.status import StatusWriter
from headgate.model.meta import GATEWAY_GROUP, Identity

FINALIZER = "gateway-exists-finalizer.gateway.networking.k8s.io"
"""The Gateway API's: keeps a GatewayClass while Gateways have it."""

RESTORED_S = 1.0
"""What somebody deletes of a Gateway's objects is made again after so long: when its Gateway was deleted, its
objects may be seen to go first."""

REFUSED = (400, 403, 404, 409, 422)
"""Answers to an object of ours that waiting does not change."""

Addresses = tuple[tuple[str, str], ...]
"""Type and value of each address of a Gateway."""


class ClusterWrites:
    """Writes for as long as `run` runs and this process leads."""

    def __init__(
        self,
        access: Access,
        collection: Callable[[Identity], Collection | None],
        *,
        lease_namespace: str = "",
        release: str = "headgate",
        provision: ProvisionSettings | None = None,
        address: str = "",
        controller: str = CONTROLLER,
        picker: OfPicker | None = None,
        namespaces: Sequence[str] = (),
    ) -> None:
        """*collection*: see `StatusWriter`. *lease_namespace*: empty: the one of *access*.
        *release*: see `controllers_lease` and `authority_of`. *provision*: how
        Envoys are made for Gateways; None: others do that. *address*: of every Gateway then; empty: none.
        *controller*: whose entries of lists in statuses are ours. *picker*: our own, where Envoys ask it by
        mutual TLS; it is issued a certificate then. None: they do not. *namespaces*: that are followed; none:
        all."""
        self._client = KubeClient(access)
        self._status = StatusWriter(self._client, collection, controller, _now)
        self._address = address
        self.provision = provision
        namespace = lease_namespace or access.namespace
        me = this_process(namespace)
        self._election = Election(self._client, namespace, controllers_lease(release), me, self._lead)
        self._applier = Applier(self._client, self._before, self._tell)
        self._made = Made(self._client, namespaces, self._restore)
        self._owners: dict[tuple[str, str], Identity] = {}
        """Namespace and name of what is made → whose it is."""
        host = "" if provision is None else provision.xds_host
        self.certificates = Certificates(
            self._client, namespace, host, self._anew, authority_of(release), picker
        )
        self.started = asyncio.Event()
        """Set once there are certificates, where Envoys are made."""
        self._provisioned: dict[Identity, Provisioned] = {}
        self._gateways: dict[Identity, Json] = {}
        """Results of Gateways, without addresses."""
        self._addresses: dict[tuple[str, str], Addresses] = {}
        """Namespace and name of a Gateway → those of its Service."""

    def seen(self, identity: Identity, raw: Mapping[str, Any] | None) -> None:
        """This is what the cluster has."""
        if identity.kind != "Service":
            self._status.seen(identity, raw)
        elif raw is None:
            self._restore(identity)
        elif self.provision is not None:
            labels = raw.get("metadata", {}).get("labels") or {}
            name = owner_of(raw)
            if name and labels.get(MANAGED_LABEL) == MANAGED:
                key = (identity.namespace, name)
                found = addresses_of(raw)
                if self._addresses.get(key) != found:
                    self._addresses[key] = found
                    self._tell(Identity("Gateway", *key, GATEWAY_GROUP))

    def updated(self, update: Update) -> None:
        """This is new."""
        for identity, wanted in update.provisioned.items():
            for name in _names(self._provisioned.get(identity)):
                self._owners.pop((identity.namespace, name), None)
            for name in _names(wanted):
                self._owners[identity.namespace, name] = identity
            self._provisioned[identity] = wanted
            if isinstance(wanted, Wanted):
                owned = Owned(identity.namespace, wanted.name, wanted.objects)
                self._applier.want(identity, owned)
            elif wanted is None:
                self._provisioned.pop(identity, None)
                self._addresses.pop((identity.namespace, identity.name), None)
                self._applier.want(identity, None)
            if identity not in update.results:
                self._tell(identity)
        for each, claim in update.claims.items():
            self._applier.want(each, None if claim is None else marked(each.name, claim))
        changes: dict[Identity, Json | None] = {}
        for each, found in update.results.items():
            changes[each] = None if found is None else msgspec.to_builtins(found)
            if each.kind == "Gateway":
                if found is None:
                    self._gateways.pop(each, None)
                else:
                    self._gateways[each] = changes[each] or {}
                    changes[each] = self._gateway(each)
        self._status.want(changes)

    async def run(self) -> None:
        """Until cancelled. Raises ConfigError when the certificates for the API server cannot be used."""
        async with self._client, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._status.run())
            tasks.create_task(self._election.run())
            if self.provision is not None:
                await self.certificates.start()
                self.started.set()
            tasks.create_task(self._applier.run())
            if self.provision is not None:
                tasks.create_task(self.certificates.run(lambda: self._election.leading))
                tasks.create_task(self._made.run())

    def _lead(self, leading: bool) -> None:
        self._status.lead(leading)
        self._applier.lead(leading)

    async def _before(self, owner: Identity) -> None:
        wanted = self._provisioned.get(owner)
        if isinstance(wanted, Wanted):
            dataplane = f"{owner.namespace}/{owner.name}"
            await self.certificates.ensure(wanted, owner.namespace, dataplane, self._applier)

    def _anew(self) -> None:
        for each in self._provisioned:
            self._applier.again(each)

    def _restore(self, identity: Identity) -> None:
        owner = self._owners.get((identity.namespace, identity.name))
        if owner is not None:
            self._applier.again(owner, RESTORED_S)

    def _tell(self, identity: Identity) -> None:
        if identity in self._gateways:
            self._status.want({identity: self._gateway(identity)})

    def _gateway(self, identity: Identity) -> Json:
        found = self._gateways[identity]
        if self.provision is None:
            given = (("IPAddress", self._address),) if self._address else ()
            return with_addresses(found, given) if given else found
        wanted = self._provisioned.get(identity)
        if isinstance(wanted, str):
            return with_condition(found, ("Accepted", "Programmed"), "InvalidParameters", wanted)
        if isinstance(wanted, Wanted) and wanted.refused is not None:
            return with_refusal(found, wanted.refused)
        trouble = self._applier.trouble.get(identity)
        if trouble is not None and is_refusal(trouble):
            return with_trouble(found, trouble)
        addresses = self._addresses.get((identity.namespace, identity.name), ())
        if not addresses:
            message = "its Service has no address yet"
            return with_condition(found, ("Programmed",), "AddressNotAssigned", message)
        asked = wanted.asked if isinstance(wanted, Wanted) else ()
        lacking = missing(asked, (value for _, value in addresses))
        return with_addresses(found if lacking is None else with_refusal(found, lacking), addresses)


def marked(name: str, claim: Claim) -> Owned:
    """A GatewayClass with our finalizer for as long as Gateways have it."""
    finalizers = {"finalizers": [FINALIZER]} if claim.in_use else {}
    meta = {"name": name, "uid": claim.uid, **finalizers}
    made = {"apiVersion": f"{GATEWAY_GROUP}/v1", "kind": "GatewayClass", "metadata": meta}
    return Owned("", name, (made,), shared=True)


def owner_of(raw: Mapping[str, Any]) -> str:
    """Name of the Gateway that a Service belongs to; a label would hold 63 characters of it. Empty: none."""
    owners = raw.get("metadata", {}).get("ownerReferences") or ()
    gateways = [each for each in owners if isinstance(each, Mapping) and each.get("kind") == "Gateway"]
    return str(gateways[0].get("name", "")) if gateways else ""


def is_refusal(error: ApiError) -> bool:
    """Whether waiting does not help, as it does when the server is away or busy."""
    return error.status in REFUSED or error.reason == NOT_OURS or _is_mistyped(error)


def _is_mistyped(error: ApiError) -> bool:
    """What is applied has a value of another type than its field: the server takes that for its own fault."""
    return error.status == 500 and "failed to create typed patch object" in str(error)


def with_trouble(status: Json, error: ApiError) -> Json:
    """A Gateway's status when what is to run it is refused: wrong overrides, rights, quotas, names."""
    message = f"what runs it cannot be made: {error}"
    if error.status in (400, 422) or _is_mistyped(error):
        return with_condition(status, ("Accepted", "Programmed"), "InvalidParameters", message)
    return with_condition(status, ("Programmed",), "NoResources", message)


def with_refusal(status: Json, why: Refused) -> Json:
    """A Gateway's status when it has not the addresses that it asks for."""
    if not why.accepted:
        status = with_condition(status, ("Accepted",), why.reason, why.message)
    return with_condition(status, ("Programmed",), "AddressNotUsable", why.message)


def addresses_of(service: Mapping[str, Any]) -> Addresses:
    """Where a Gateway is reached: a load balancer's addresses, else those within the cluster."""
    spec = service.get("spec") or {}
    if spec.get("type") == "LoadBalancer":
        balancer = (service.get("status") or {}).get("loadBalancer") or {}
        entries = [each for each in balancer.get("ingress") or () if isinstance(each, Mapping)]
        found = [
            ("IPAddress", str(each["ip"]))
            if each.get("ip")
            else ("Hostname", str(each.get("hostname") or ""))
            for each in entries
        ]
        return tuple(each for each in found if each[1])[:16]
    addresses = spec.get("clusterIPs") or [spec.get("clusterIP")]
    return tuple(("IPAddress", str(each)) for each in addresses if each and each != "None")


def with_addresses(status: Json, addresses: Addresses) -> Json:
    """A Gateway's status with these addresses."""
    return {**status, "addresses": [{"type": type_, "value": value} for type_, value in addresses]}


def with_condition(status: Json, types: tuple[str, ...], reason: str, message: str) -> Json:
    """A Gateway's status in which conditions that held do not, for this reason."""
    return {
        **status,
        "conditions": [
            {**each, "status": "False", "reason": reason, "message": message}
            if each["type"] in types and each["status"] == "True"
            else each
            for each in status.get("conditions", ())
        ],
    }


def _names(made: Provisioned) -> tuple[str, ...]:
    """Of the objects that are made for a Gateway."""
    return (made.name, made.certificate) if isinstance(made, Wanted) else ()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
