"""What a cluster lacks for Headgate: kinds, rights, classes, programs. Only reads, and asks who may what."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from headgate.io.kube.client import ApiError, Collection, KubeClient
from headgate.io.kube.kinds import OF_PICKER, PODS, REFERRED, REQUIRED, WHOLE
from headgate.io.kube.lease import LEASES, controllers_lease
from headgate.model import meta

NAMESPACE = "headgate-system"
RELEASE = "headgate"
PROGRAMS = ("headgate-controller", "headgate-picker")
"""Deployments of the chart, and their ServiceAccounts, as RELEASE; others begin with their own name."""

OLDEST = (1, 31)
"""Version of the API server from which on everything is there."""

ASK_AS_ANOTHER = "ask with a kubeconfig whose user may"

State = Literal["ok", "note", "warning", "error"]


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    what: str
    state: State
    message: str
    """What is there; otherwise what is wrong, and what to do."""


BROUGHT_BY: Mapping[str, str] = {
    meta.GATEWAY_GROUP: "install the CRDs of the Gateway API (its standard-install.yaml)",
    meta.INFERENCE_GROUP: "install the CRDs of the Gateway API Inference Extension (its manifests.yaml)",
    meta.HEADGATE_GROUP: "install the chart deploy/helm/headgate, which brings them",
}
"""API group → what to do where a kind is missing."""

NEEDED = ((meta.INFERENCE_GROUP, "inferencepools"), (meta.HEADGATE_GROUP, "modelservers"))
"""Kinds without which a part of Headgate does nothing, besides those that are required."""

FORMER = {(meta.INFERENCE_GROUP, "inferencepools"): (meta.INFERENCE_X_GROUP, "inferencepools")}
"""Of these, what does the same in a former group: one of both is enough."""

_ANSWERED = frozenset(
    {
        *("gatewayclasses", "gateways", "httproutes", "grpcroutes", "listenersets", "backendtlspolicies"),
        *(
            "inferencepools",
            "inferencepoolimports",
            "inferencemodels",
            "inferenceobjectives",
            "inferencemodelrewrites",
        ),
        *("accesspolicies", "backendauthpolicies", "flowpolicies"),
    }
)
"""Kinds whose status is written."""

_MADE: Mapping[tuple[str, str], tuple[str, ...]] = {
    (meta.GATEWAY_GROUP, "gatewayclasses"): ("patch",),
    ("", "configmaps"): ("create", "get", "patch"),
    ("", "secrets"): ("create", "get", "patch"),
    ("", "serviceaccounts"): ("create", "get", "list", "patch", "watch"),
    ("", "services"): ("create", "get", "patch", "delete"),
    ("apps", "deployments"): ("create", "get", "list", "patch", "watch"),
    ("autoscaling", "horizontalpodautoscalers"): ("create", "get", "patch", "delete"),
    ("policy", "poddisruptionbudgets"): ("create", "get", "patch", "delete"),
}
"""What Gateways are run by, and their classes → what is done to it."""

MAY: Sequence[tuple[str, str, str, str]] = (
    *(
        ("headgate-controller", each.group, each.plural, verb)
        for each in (*WHOLE, PODS, *REFERRED.values())
        for verb in ("list", "watch")
    ),
    *(
        ("headgate-controller", each.group, f"{each.plural}/status", "patch")
        for each in WHOLE
        if each.plural in _ANSWERED
    ),
    *(
        ("headgate-controller", group, plural, verb)
        for (group, plural), verbs in _MADE.items()
        for verb in verbs
    ),
    *(
        ("headgate-picker", each.group, each.plural, verb)
        for each in (*OF_PICKER, PODS)
        for verb in ("list", "watch")
    ),
)
"""ServiceAccount, group, resource, verb: without them objects are not seen, not answered or not run."""


class Doctor:
    """Looks at one cluster."""

    def __init__(self, client: KubeClient, namespace: str = NAMESPACE, release: str = RELEASE) -> None:
        """*client*: open. *namespace*: where Headgate is installed. *release*: as what."""
        self._client, self._namespace, self._release = client, namespace, release
        self._served: set[Collection] = set()
        self._installed = False
        """Whether one of the programs is there."""
        self._followed: dict[str, list[str]] = {}
        """Program → the namespaces that it is told to follow; none: all."""
        self._controller = ""
        """controllerName that the controller is told; empty: nobody says it."""
        self._programs = list(PROGRAMS)
        """Those that belong to this installation, as far as is known."""

    async def findings(self) -> AsyncIterator[Finding]:
        """What there is to say, one after the other. Raises ApiError when the server does not answer."""
        yield await self._version()
        async for each in self._kinds():
            yield each
        deployments = [await self._deployment(name) for name in PROGRAMS]
        async for each in self._classes():
            yield each
        for finding in deployments:
            yield finding
        if self._installed:
            yield await self._lease()
            async for each in self._rights():
                yield each

    async def _version(self) -> Finding:
        found = await self._client.get("/version")
        text = str(found.get("gitVersion", "unknown")) if isinstance(found, Mapping) else "unknown"
        numbers = tuple(int(part) for part in text.lstrip("v").split(".")[:2] if part.isdigit())
        if numbers and numbers < OLDEST:
            wanted = ".".join(map(str, OLDEST))
            return Finding(
                "API server",
                "warning",
                f"{text} is older than {wanted}, the oldest that is tested: upgrade the cluster",
            )
        return Finding("API server", "ok", f"{self._client.access.server} is {text}")

    async def _kinds(self) -> AsyncIterator[Finding]:
        found: dict[tuple[str, str], list[str]] = {}
        for group, version in sorted({(each.group, v) for each in WHOLE for v in each.versions}):
            root = Collection(group, version, "").root
            for plural in await self._plurals(root):
                found.setdefault((group, plural), []).append(version)
                self._served.add(Collection(group, version, plural))
        for group in sorted({each.group for each in WHOLE}):
            kinds = [each for each in WHOLE if each.group == group]
            missing = [
                each for each in kinds if not set(each.versions) & set(found.get((group, each.plural), ()))
            ]
            bundle = await self._bundle(group, kinds[0].plural)
            what = f"kinds of {group or 'the core'}"
            if not missing:
                there = f"all {len(kinds)} are there" if len(kinds) > 1 else f"{kinds[0].kind} is there"
                yield Finding(what, "ok", f"{there}{bundle}")
                continue
            bad = [
                each
                for each in missing
                if each.kind in REQUIRED
                or ((group, each.plural) in NEEDED and FORMER.get((group, each.plural)) not in found)
            ]
            state: State = "error" if bad else "note"
            names = ", ".join(each.kind for each in missing)
            help_ = BROUGHT_BY.get(group, "they are needed only where you use them")
            former = {FORMER.get((group, each.plural)) for each in missing}
            if former <= found.keys():
                help_ = f"those of {', '.join(each[0] for each in former if each)} are, and are served"
            yield Finding(what, state, f"not there: {names}{bundle}; {help_}")

    async def _plurals(self, root: str) -> set[str]:
        try:
            found = await self._client.get(root)
        except ApiError as error:
            if error.status in (401, 0):
                raise
            return set()
        listed = found.get("resources") if isinstance(found, Mapping) else None
        return {str(each.get("name")) for each in listed or () if isinstance(each, Mapping)}

    async def _bundle(self, group: str, plural: str) -> str:
        """`, version …` where the CRD says which release it is of, and may be read."""
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{group}"
        try:
            found = await self._client.get(path) if group else {}
        except ApiError:
            return ""
        notes = found.get("metadata", {}).get("annotations", {}) if isinstance(found, Mapping) else {}
        version = next((value for key, value in notes.items() if key.endswith("/bundle-version")), "")
        return f", release {version}" if version else ""

    async def _classes(self) -> AsyncIterator[Finding]:
        what = "GatewayClass"
        collection = Collection(meta.GATEWAY_GROUP, "v1", "gatewayclasses")
        try:
            found = await self._client.get(collection.path()) if collection in self._served else {}
        except ApiError as error:
            yield Finding(what, "warning", f"cannot be read: {error}; {ASK_AS_ANOTHER}")
            return
        ours = [
            each
            for each in found.get("items", ())
            if self._is_ours(str(each.get("spec", {}).get("controllerName", "")))
        ]
        if not ours and self._controller:
            do = "make one, or set gatewayClass.create=true of the chart"
            yield Finding(what, "error", f"none has the controllerName {self._controller}: {do}")
        elif not ours:
            yield Finding(
                what, "error", "none is Headgate's: install the chart, which makes one called headgate"
            )
        for each in ours:
            name, accepted = each["metadata"]["name"], _condition(each, "Accepted")
            if accepted.get("status") == "True":
                yield Finding(what, "ok", f"{name} is accepted")
            else:
                logs = self._logs(PROGRAMS[0])
                why = accepted.get("message") or f"no controller has answered: {logs}"
                yield Finding(what, "error", f"{name} is not accepted: {why}")

    def _is_ours(self, controller: str) -> bool:
        """Whether a class is served here; where nobody says so, whether it may be."""
        if self._controller:
            return controller == self._controller
        return controller.startswith(f"{meta.HEADGATE_GROUP}/")

    def _named(self, program: str) -> str:
        """A program of PROGRAMS by its name in this release."""
        return program.replace(RELEASE, self._release, 1)

    def _logs(self, program: str) -> str:
        return f"kubectl -n {self._namespace} logs deploy/{self._named(program)}"

    async def _deployment(self, program: str) -> Finding:
        name = self._named(program)
        path = Collection("apps", "v1", "deployments").path(self._namespace, name)
        what = f"Deployment {self._namespace}/{name}"
        try:
            found = await self._client.get(path)
        except ApiError as error:
            if error.status == 404 and program not in self._programs:
                served = "pools are served that name a picker of their own"
                return Finding(what, "note", f"is not there, as with picker.enabled=false: {served}")
            if error.status == 404:
                do = "install the chart deploy/helm/headgate, or name its --namespace and --release"
                return Finding(what, "error", f"is not there: {do}")
            return Finding(what, "warning", f"cannot be read: {error}; {ASK_AS_ANOTHER}")
        self._installed = True
        containers = found.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ())
        args = [str(each) for one in containers for each in one.get("args") or ()]
        self._followed[program] = _values(args, "--namespace")
        if program == PROGRAMS[0]:
            self._controller = (_values(args, "--controller-name") or [""])[-1]
            if args and not _values(args, "--picker-address"):
                self._programs.remove(PROGRAMS[1])
        status, spec = found.get("status", {}), found.get("spec", {})
        ready, wanted = status.get("readyReplicas", 0), spec.get("replicas", 1)
        if not wanted:
            scale = f"kubectl -n {self._namespace} scale deploy/{name} --replicas=1"
            return Finding(what, "warning", f"is scaled to nothing: {scale}")
        if ready < wanted:
            state: State = "error" if not ready else "warning"
            return Finding(what, state, f"{ready} of {wanted} are ready: {self._logs(program)}")
        return Finding(what, "ok", f"{ready} of {wanted} are ready")

    async def _lease(self) -> Finding:
        what = "Lease"
        try:
            found = await self._client.get(LEASES.path(self._namespace, controllers_lease(self._release)))
        except ApiError as error:
            if error.status == 404:
                nobody = "no controller holds it, so nobody writes status"
                return Finding(what, "error", f"{nobody}: {self._logs(PROGRAMS[0])}")
            return Finding(what, "warning", f"cannot be read: {error}; {ASK_AS_ANOTHER}")
        holder = found.get("spec", {}).get("holderIdentity") or ""
        if not holder:
            nobody = "nobody holds it just now; if it stays so"
            return Finding(what, "warning", f"{nobody}: {self._logs(PROGRAMS[0])}")
        return Finding(what, "ok", f"{holder} writes status")

    async def _rights(self) -> AsyncIterator[Finding]:
        """Of the ServiceAccounts, for kinds that are there."""
        lacking: dict[str, list[str]] = {}
        served = {(each.group, each.plural) for each in self._served} | _ALWAYS
        for who, group, resource, verb in MAY:
            if who not in self._programs or (group, resource.partition("/")[0]) not in served:
                continue
            try:
                spaces = (self._followed.get(who) or [""]) if resource not in _WIDE else [""]
                may = all([await self._may(who, group, resource, verb, each) for each in spaces])
            except ApiError as error:
                yield Finding(
                    "rights", "note", f"may not be asked for by this user: {error}; {ASK_AS_ANOTHER}"
                )
                return
            if not may:
                lacking.setdefault(who, []).append(f"{verb} {resource}{'.' if group else ''}{group}")
        for who in self._programs:
            what = f"rights of {self._named(who)}"
            if lacking.get(who):
                some = ", ".join(lacking[who][:5]) + (" …" if len(lacking[who]) > 5 else "")
                yield Finding(what, "error", f"may not: {some}; give its ServiceAccount the chart's roles")
            else:
                yield Finding(what, "ok", "everything that it needs")

    async def _may(self, who: str, group: str, resource: str, verb: str, namespace: str) -> bool:
        plural, _, sub = resource.partition("/")
        account = f"system:serviceaccount:{self._namespace}:{self._named(who)}"
        attributes = {
            "group": group,
            "resource": plural,
            "subresource": sub,
            "verb": verb,
            "namespace": namespace,
        }
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": account, "resourceAttributes": attributes},
        }
        found = await self._client.create("/apis/authorization.k8s.io/v1/subjectaccessreviews", body)
        return bool(found.get("status", {}).get("allowed"))


_ALWAYS = frozenset({*_MADE, *((each.group, each.plural) for each in (PODS, *REFERRED.values()))})
_WIDE = frozenset(
    name for each in WHOLE if not each.namespaced for name in (each.plural, f"{each.plural}/status")
)


def _values(args: Sequence[str], option: str) -> list[str]:
    """What a program's arguments say of *option*."""
    both = zip(args, [*args[1:], ""], strict=False)
    return [
        each.partition("=")[2] if "=" in each else after
        for each, after in both
        if each == option or each.startswith(f"{option}=")
    ]


def _condition(each: Mapping[str, Any], type_: str) -> Mapping[str, Any]:
    found = each.get("status", {}).get("conditions", ())
    return next((one for one in found if one.get("type") == type_), {})
