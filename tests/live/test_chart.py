"""The Helm chart: it lints, renders, refuses wrong values, and asks for no right that nobody uses."""

import subprocess
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


def objects(helm: Path, *more: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(render_chart.rendered(helm, *more)) if each]


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
    "wrong", ["controller.replicas=0", "picker.logLevel=loud", "namespaces={Team_A}", "contoller.replicas=1"]
)
def test_wrong_values_are_refused(helm: Path, wrong: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as error:
        render_chart.rendered(helm, "--set", wrong)
    assert "schema" in error.value.stderr


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
    for each in REFERRED.values():
        assert (each.group, each.plural, "watch") in allowed(found, "headgate-controller")
    picker = allowed(found, "headgate-picker")
    assert not any(verb not in ("list", "watch") for _, _, verb in picker), "it only reads"
    assert not any(resource == "secrets" for _, resource, _ in picker)
    assert ("", "secrets", "list") in allowed(
        objects(helm, "--set", "picker.readSecrets=true"), "headgate-picker"
    )


def test_the_doctor_asks_for_the_rights_that_the_chart_gives(helm: Path) -> None:
    found = objects(helm)
    for who in PROGRAMS:
        asked = {(group, resource, verb) for name, group, resource, verb in MAY if name == who}
        rights = allowed(found, who)
        assert asked <= rights
        own = {"coordination.k8s.io"}  # of its own namespace: the Lease, which is looked at itself
        left = {each for each in rights - asked if each[0] not in own}
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


def test_the_commands_take_the_arguments_that_the_chart_gives_them(helm: Path) -> None:
    from tests.live.harness.processes import run_headgate

    for name in ("headgate-controller", "headgate-picker"):
        args = named(objects(helm), "Deployment", name)["spec"]["template"]["spec"]["containers"][0]["args"]
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
