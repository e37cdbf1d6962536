"""The Helm chart: it lints, renders, refuses wrong values, and asks for no right that nobody uses."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from tools import generate_crds, render_chart

from headgate.io.kube.doctor import MAY, PROGRAMS
from headgate.io.kube.kinds import OF_PICKER, PODS, REFERRED, WHOLE
from headgate.manifests.decode import decode

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def helm() -> Path:
    try:
        return render_chart.find_helm()
    except LookupError as error:
        pytest.skip(str(error))


def objects(helm: Path, *more: str, release: str = "headgate") -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(render_chart.rendered(helm, *more, release=release)) if each]


def named(found: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return next(each for each in found if each["kind"] == kind and each["metadata"]["name"] == name)


def allowed(found: list[dict[str, Any]], who: str) -> set[tuple[str, str, str]]:
    """(group, resource, verb) of everything that a ServiceAccount may do."""
    bound = {
        (each["roleRef"]["kind"], each["roleRef"]["name"])
        for each in found
        if each["kind"] in ("RoleBinding", "ClusterRoleBinding") and each["subjects"][0]["name"] == who
    }
    return {
        (group, resource, verb)
        for each in found
        if (each["kind"], each["metadata"]["name"]) in bound
        for rule in each["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_it_lints(helm: Path) -> None:
    args = [str(helm), "lint", "--strict", str(render_chart.CHART)]
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_plain_manifests_and_the_crds_are_up_to_date(helm: Path) -> None:
    assert render_chart.PLAIN.read_text() == render_chart.HEAD + render_chart.rendered(helm)
    for cls, plural in generate_crds.KINDS:
        text = (generate_crds.FOLDER / f"{plural}.yaml").read_text()
        assert yaml.safe_load(text) == generate_crds.crd(cls, plural)


@pytest.mark.parametrize(
    "wrong",
    [
        *("controller.replicas=0", "picker.logLevel=loud", "namespaces={Team_A}", "contoller.replicas=1"),
        *(
            "monitoring.serviceMonitor=often",
            "networkPolicies.pickerClients[0].pods=x",
            "picker.pool=Llama",
            "gatewayClass.name=Ours",
        ),
        *("controller=null", "image=null", "picker.replicas=null", "picker.tls=maybe"),
    ],
)
def test_wrong_values_are_refused(helm: Path, wrong: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        render_chart.rendered(helm, "--set", wrong)
    assert "schema" in error.value.stderr


def values_of(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties of a part of the schema; empty where it is open."""
    while "$ref" in schema or "allOf" in schema:
        schema = (
            whole["definitions"][schema["$ref"].rpartition("/")[2]]
            if "$ref" in schema
            else schema["allOf"][0]
        )
    assert schema.get("type") != "object" or "additionalProperties" in schema or "properties" not in schema
    found = schema.get("properties", {})
    assert isinstance(found, Mapping)
    return found


def test_the_schema_knows_every_value_and_no_other() -> None:
    schema = json.loads((render_chart.CHART / "values.schema.json").read_text())
    values = yaml.safe_load((render_chart.CHART / "values.yaml").read_text())

    def differing(part: Mapping[str, Any], described: Mapping[str, Any], at: str) -> Iterator[str]:
        for name in sorted({*part, *described} - {"global"}):
            if name not in part or name not in described:
                yield f"{at}{name}"
            elif inner := values_of(described[name], schema):
                yield from differing(part[name], inner, f"{at}{name}.")

    assert list(differing(values, schema["properties"], "")) == []


def test_two_releases_of_one_namespace_share_nothing(helm: Path) -> None:
    mine = ("gatewayClass.name=other", "gatewayClass.controllerName=headgate.dev/other", "crds.install=false")
    options = (
        "monitoring.podMonitors=true,monitoring.serviceMonitor=true,monitoring.dashboards=true",
        "namespaces={a}",
    )
    sets = [part for each in options for part in ("--set", each)]
    first = objects(helm, *sets)
    second = objects(helm, *sets, *(part for each in mine for part in ("--set", each)), release="other")

    def named_objects(found: list[dict[str, Any]]) -> set[tuple[str, str, str]]:
        return {
            (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]) for each in found
        }

    assert not named_objects(first) & named_objects(second)
    role = named(second, "Role", "other-controller-own")
    names = [each["resourceNames"] for each in role["rules"] if "resourceNames" in each]
    assert names == [["other-controller"], ["other-xds-authority", "other-picker-tls"]]
    args = named(second, "Deployment", "other-controller")["spec"]["template"]["spec"]["containers"][0][
        "args"
    ]
    assert {
        "--release=other",
        "--xds-address=other-controller.headgate-system.svc",
        "--picker-address=other-picker.headgate-system.svc:9002",
        "--picker-secret=other-picker-tls",
    } <= set(args)


def test_other_gateways_may_be_admitted_to_the_picker(helm: Path) -> None:
    peer = "networkPolicies.pickerClients[0].namespaceSelector.matchLabels.team=mesh"
    rules = named(objects(helm, "--set", peer), "NetworkPolicy", "headgate-picker")["spec"]["ingress"]
    ports = {
        json.dumps(each["from"]): [port["port"] for port in each["ports"]] for each in rules if each["ports"]
    }
    assert ports['[{"namespaceSelector": {"matchLabels": {"team": "mesh"}}}]'] == [9002, 9003]
    plain = named(objects(helm), "NetworkPolicy", "headgate-picker")["spec"]["ingress"]
    assert len(plain) == len(rules) - 1


def test_a_release_may_be_nothing_but_the_picker_of_one_pool(helm: Path) -> None:
    """Behind another vendor's gateway, in the pool's namespace, with rights there and nowhere else."""
    pool = ("--set", "picker.pool=llama")
    found = objects(helm, *pool, release="llama")
    assert {(each["kind"], each["metadata"]["name"]) for each in found} == {
        *((kind, "llama-picker") for kind in ("Deployment", "Service", "ServiceAccount", "NetworkPolicy")),
        *((kind, "llama-picker") for kind in ("Role", "RoleBinding")),
    }
    assert {each["metadata"]["namespace"] for each in found} == {render_chart.NAMESPACE}
    args = arguments(found, "llama-picker")
    assert {"--pool-name=llama", f"--pool-namespace={render_chart.NAMESPACE}"} <= set(args)
    assert "--secure-serving=false" not in args, "gateways ask over TLS"
    (port,) = named(found, "Service", "llama-picker")["spec"]["ports"]
    assert (port["port"], port["appProtocol"]) == (9002, "http2")
    who = named(found, "NetworkPolicy", "llama-picker")["spec"]["ingress"][0]
    (gateways,) = who["from"]
    expressions = gateways["podSelector"]["matchExpressions"]
    assert [each["key"] for each in expressions] == ["gateway.networking.k8s.io/gateway-name"]
    whole = allowed(objects(helm, "--set", "picker.tls=none"), "headgate-picker")
    assert allowed(found, "llama-picker") == whole
    replicas = (*pool, "--set", "picker.replicas=2,picker.extraArgs={--ha-enable-leader-election}")
    lease = {("coordination.k8s.io", "leases", verb) for verb in ("get", "create", "update")}
    assert allowed(objects(helm, *replicas, release="llama"), "llama-picker") == whole | lease
    rule = named(
        objects(helm, *pool, "--set", "picker.destinationRule=true", release="llama"),
        "DestinationRule",
        "llama-picker",
    )
    tls = {"mode": "SIMPLE", "sni": rule["spec"]["host"], "insecureSkipVerify": True}
    assert rule["spec"]["trafficPolicy"]["tls"] == tls


@pytest.mark.parametrize(
    ("values", "controller", "picker", "protocol"),
    [
        ("", True, {"--cert-secret=headgate-picker-tls"}, "http2"),
        ("picker.tls=none", False, {"--secure-serving=false"}, "kubernetes.io/h2c"),
        (
            "picker.tls=server",
            True,
            {"--cert-secret=headgate-picker-tls", "--no-client-certificates"},
            "http2",
        ),
        (
            "networkPolicies.pickerClients[0].podSelector.matchLabels.a=b",
            True,
            {"--cert-secret=headgate-picker-tls", "--no-client-certificates"},
            "http2",
        ),
    ],
)
def test_how_the_picker_is_asked(
    helm: Path, values: str, controller: bool, picker: set[str], protocol: str
) -> None:
    """By Envoys with a certificate of ours alone, unless values say otherwise."""
    found = objects(helm, *(("--set", values) if values else ()))
    assert ("--picker-secret=headgate-picker-tls" in arguments(found, "headgate-controller")) is controller
    options = ("--cert-secret", "--no-client-certificates", "--secure-serving")
    assert {each for each in arguments(found, "headgate-picker") if each.startswith(options)} == picker
    (port,) = named(found, "Service", "headgate-picker")["spec"]["ports"]
    assert port["appProtocol"] == protocol


def test_prometheus_may_ask_the_picker_by_a_service(helm: Path) -> None:
    found = objects(helm, "--set", "monitoring.serviceMonitor=true,monitoring.podMonitors=true")
    monitor = named(found, "ServiceMonitor", "headgate-picker")
    service = named(found, "Service", "headgate-picker-metrics")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    pod = named(found, "Deployment", "headgate-picker")["spec"]["template"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert [each["metadata"]["name"] for each in found if each["kind"] == "PodMonitor"] == ["headgate-envoy"]


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    known = dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", page, re.MULTILINE))
    board = json.loads((render_chart.CHART / "files" / "dashboards" / "headgate.json").read_text())
    asked = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"(?:headgate|inference)_\w+(?=[{\[])", target["expr"])
    }
    assert {name.removesuffix("_bucket") for name in asked} <= set(known)
    assert any("flow_control" in name for name in asked)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]}
    assert len(places) == len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_who_follows_a_kind_may_and_nobody_may_do_everything(helm: Path) -> None:
    found = objects(helm)
    for who, kinds in (("headgate-controller", (*WHOLE, PODS)), ("headgate-picker", (*OF_PICKER, PODS))):
        rights = allowed(found, who)
        for each in kinds:
            assert {(each.group, each.plural, verb) for verb in ("list", "watch")} <= rights, (
                f"{who}: {each.plural}"
            )
        assert not any("*" in part for right in rights for part in right)
        assert not any(
            verb in ("update", "delete", "escalate", "bind")
            for _, resource, verb in rights
            if resource == "deployments"
        )
    controller = allowed(found, "headgate-controller")
    for each in REFERRED.values():
        assert (each.group, each.plural, "watch") in controller
    single = {(group, resource) for group, resource, verb in controller if verb == "get"}
    answered = {
        (group, resource.removesuffix("/status")) for group, resource, _ in controller if "/" in resource
    }
    made = {(group, resource) for group, resource, verb in controller if verb in ("create", "update")}
    assert single == answered | made, "one object is asked for before it is written, and never otherwise"
    picker = allowed(found, "headgate-picker")
    assert not any(verb not in ("list", "watch") for _, _, verb in picker), "it only reads"
    role = named(found, "Role", "headgate-picker-own")
    assert [each["resourceNames"] for each in role["rules"]] == [["headgate-picker-tls"]]
    assert not any(
        "secrets" in rule["resources"] for rule in named(found, "ClusterRole", "headgate-picker")["rules"]
    )
    assert ("", "secrets", "list") in allowed(
        objects(helm, "--set", "picker.readSecrets=true"), "headgate-picker"
    )


def test_the_doctor_asks_for_the_rights_that_the_chart_gives(helm: Path) -> None:
    found = objects(helm)
    for who in PROGRAMS:
        asked = {(group, resource, verb) for name, group, resource, verb in MAY if name == who}
        rights = allowed(found, who)
        assert asked <= rights
        # Of its own namespace: the Lease, which is looked at itself, and the certificate
        own = {"leases", *(["secrets"] if who == "headgate-picker" else [])}
        left = {each for each in rights - asked if each[1] not in own}
        assert {verb for _, _, verb in left} <= {"get", "update"}, left


def test_with_namespaces_there_are_no_rights_elsewhere(helm: Path) -> None:
    found = objects(helm, "--set", "namespaces={a,b}")
    wide = [each for each in found if each["kind"] == "ClusterRole"]
    assert [each["metadata"]["name"] for each in wide] == ["headgate-controller-cluster"]
    assert {resource for rule in wide[0]["rules"] for resource in rule["resources"]} == {
        "gatewayclasses",
        "gatewayclasses/status",
        "namespaces",
    }
    for name in ("headgate-controller", "headgate-picker"):
        args = named(found, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]["args"]
        assert [each for each in args if each.startswith("--namespace")] == ["--namespace=a", "--namespace=b"]


def test_pods_run_without_privileges(helm: Path) -> None:
    for each in objects(helm):
        if each["kind"] == "Deployment":
            pod = each["spec"]["template"]["spec"]
            assert pod["securityContext"]["runAsNonRoot"] is True
            for container in pod["containers"]:
                security = container["securityContext"]
                assert security["readOnlyRootFilesystem"] is True and security["capabilities"] == {
                    "drop": ["ALL"]
                }


def test_options_make_objects_and_by_default_there_are_none_that_need_other_crds(helm: Path) -> None:
    plain = {each["kind"] for each in objects(helm)}
    assert "PodMonitor" not in plain and "NetworkPolicy" in plain
    more = objects(
        helm,
        "--set",
        "monitoring.podMonitors=true,monitoring.dashboards=true,picker.enabled=false,networkPolicies.enabled=false",
    )
    kinds = {each["kind"] for each in more}
    assert {"PodMonitor", "ConfigMap"} <= kinds and "NetworkPolicy" not in kinds
    assert not any(each["metadata"]["name"] == "headgate-picker" for each in more)


def test_the_doctor_sees_whether_a_picker_belongs_to_it(helm: Path) -> None:
    for enabled in (True, False):
        found = objects(helm, "--set", f"picker.enabled={str(enabled).lower()}")
        args = arguments(found, "headgate-controller")
        assert any(each.startswith("--picker-address=") for each in args) is enabled


def test_who_may_read_the_pickers_metrics_is_said(helm: Path) -> None:
    """By the NetworkPolicy, by tokens, or by nobody: then the picker warns."""
    plain = objects(helm)
    assert "--no-metrics-endpoint-auth" in arguments(plain, "headgate-picker")
    rules = named(plain, "NetworkPolicy", "headgate-picker")["spec"]["ingress"]
    (metrics,) = [each for each in rules if each["ports"][0]["port"] == 9090]
    labels = {"kubernetes.io/metadata.name": "monitoring"}
    assert metrics["from"] == [{"namespaceSelector": {"matchLabels": labels}}]

    nobody = objects(helm, "--set", "networkPolicies.metricsClients=null")
    rules = named(nobody, "NetworkPolicy", "headgate-picker")["spec"]["ingress"]
    assert not [each for each in rules if each["ports"][0]["port"] == 9090]

    tokens = objects(helm, "--set", "picker.metricsTokens=true,monitoring.serviceMonitor=true")
    assert "--metrics-endpoint-auth" in arguments(tokens, "headgate-picker")
    assert named(tokens, "ClusterRoleBinding", "headgate-picker-readers")
    monitor = named(tokens, "ServiceMonitor", "headgate-picker")
    assert monitor["spec"]["endpoints"][0]["bearerTokenFile"]

    neither = objects(helm, "--set", "networkPolicies.enabled=false")
    assert not [each for each in arguments(neither, "headgate-picker") if "endpoint-auth" in each]


def arguments(found: list[dict[str, Any]], name: str) -> list[str]:
    """Of the only container of a Deployment."""
    return list(named(found, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]["args"])


def test_the_commands_take_the_arguments_that_the_chart_gives_them(helm: Path) -> None:
    from tests.live.harness.processes import run_headgate

    alone = arguments(objects(helm, "--set", "picker.pool=llama"), "headgate-picker")
    for args in (*(arguments(objects(helm), f"headgate-{each}") for each in ("controller", "picker")), alone):
        done = run_headgate(*args)
        assert done.returncode == 2 and "not in a Pod with a ServiceAccount" in done.stderr, done.stderr


def test_the_crds_take_what_the_reader_takes(helm: Path) -> None:
    made = {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "GatewayParameters",
        "metadata": {"name": "p"},
        "spec": {
            "replicas": 2,
            "envoy": {"resources": {"limits": {"cpu": "1"}}},
            "pod": {"tolerations": [{"key": "k"}]},
        },
    }
    assert decode(made, "", lambda _: 0).problems == ()
    crd = named(objects(helm), "CustomResourceDefinition", "gatewayparameters.headgate.dev")
    spec = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    assert spec["envoy"]["properties"]["resources"] == {
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": True,
    }
    assert spec["replicas"] == {"type": "integer", "minimum": 1, "maximum": 1000}
