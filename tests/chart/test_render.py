"""What the charts render, for the values that people set."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from dev.generate import REPOSITORY
from modelyard.api.schema import custom_resource_definition
from modelyard.api.v1alpha1 import KINDS, names
from modelyard.controller import rbac
from modelyard.controller.engine.settings import load_settings
from tests.chart.conftest import TENANT, Helm, HelmError, Object, find

PROMETHEUS = ["--api-versions=monitoring.coreos.com/v1"]
SCHEDULING = {
    "nodeSelector": {"pool": "system"},
    "tolerations": [{"key": "system", "operator": "Exists"}],
    "priorityClassName": "system-cluster-critical",
    "podLabels": {"team": "ml"},
    "podAnnotations": {"example.com/note": "x"},
}
OPERATOR_VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "high-availability": {"operator": {"replicas": 2, **SCHEDULING}, "podDisruptionBudget": {"enabled": True}},
    "one-namespace": {"operator": {"watchNamespaces": ["air-development", "air-production"]}},
    "demo": {"embeddedStore": {"enabled": True, "persistence": {"enabled": False}}},
    "persistent": {"embeddedStore": {"enabled": True, "persistence": {"storageClassName": "fast"}}},
    "locked-down": {"networkPolicy": {"enabled": True}, "rbac": {"aggregateToUserRoles": False}},
    "registry": {
        "images": {
            "registry": "registry.example.com/team/",
            "pullSecrets": ["pull"],
            "operator": {"digest": "sha256:" + "a" * 64},
            "server": {"tag": "1.2.3"},
        }
    },
}
TENANT_VALUES: dict[str, dict[str, Any]] = {
    "defaults": TENANT,
    "own-namespace": {**TENANT, "namespace": {"create": False}},
    "own-secret": {**TENANT, "store": {"create": False}},
    "limits": {**TENANT, "resourceQuota": {"requests.nvidia.com/gpu": "2"}, "limitRange": [], "agent": SCHEDULING},
    "restricted-egress": {
        **TENANT,
        "networkPolicy": {"egress": {"restrict": True, "store": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]}},
    },
}
ALL = [
    *(pytest.param("modelyard", values, id=f"modelyard-{name}") for name, values in OPERATOR_VALUES.items()),
    *(
        pytest.param("modelyard-tenant", values, id=f"modelyard-tenant-{name}")
        for name, values in TENANT_VALUES.items()
    ),
]


@pytest.mark.parametrize(("chart", "values"), ALL)
def test_chart_passes_lint(helm: Helm, chart: str, values: Mapping[str, Any]) -> None:
    assert "0 chart(s) failed" in helm.run("lint", "--strict", str(REPOSITORY / "charts" / chart), values=values)


@pytest.mark.parametrize(("chart", "values"), ALL)
def test_every_pod_keeps_to_the_restricted_standard(helm: Helm, chart: str, values: Mapping[str, Any]) -> None:
    for workload, pod in _pods(helm.template(chart, values)):
        assert pod["securityContext"]["runAsNonRoot"] is True, workload
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, workload
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), workload
        assert all(volume.keys() & {"emptyDir", "persistentVolumeClaim"} for volume in pod["volumes"]), workload
        for container in pod["containers"] + pod.get("initContainers", []):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, workload
            assert security["readOnlyRootFilesystem"] is True, workload
            assert security["capabilities"] == {"drop": ["ALL"]}, workload
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}, workload
            assert "memory" in container["resources"]["limits"], workload
            assert {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys(), workload


@pytest.mark.parametrize(("chart", "values"), ALL)
def test_every_object_is_labelled_and_names_its_namespace(helm: Helm, chart: str, values: Mapping[str, Any]) -> None:
    cluster_scoped = {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", "Namespace"}
    for rendered in helm.template(chart, values):
        name = (rendered["kind"], rendered["metadata"]["name"])
        assert rendered["metadata"]["labels"]["app.kubernetes.io/part-of"] == "modelyard", name
        assert ("namespace" in rendered["metadata"]) == (rendered["kind"] not in cluster_scoped), name


@pytest.mark.parametrize(("chart", "values"), ALL)
def test_objects_of_a_chart_are_not_taken_for_children(helm: Helm, chart: str, values: Mapping[str, Any]) -> None:
    for rendered in helm.template(chart, values):
        assert rendered["metadata"]["labels"].get(names.LABEL_MANAGED_BY) != names.MANAGED_BY


def test_roles_grant_what_the_table_says_and_nothing_else(helm: Helm) -> None:
    roles = {
        (o["kind"], o["metadata"]["name"]): o["rules"]
        for o in [*helm.template("modelyard"), *helm.template("modelyard-tenant", TENANT)]
        if o["kind"] in {"Role", "ClusterRole"}
    }
    assert roles == {
        ("ClusterRole", "modelyard-operator"): rbac.rules(rbac.OPERATOR),
        ("ClusterRole", "modelyard-view"): rbac.rules(rbac.VIEWER),
        ("ClusterRole", "modelyard-edit"): rbac.rules(rbac.EDITOR),
        ("Role", "modelyard-operator-leader"): rbac.rules(rbac.LEADER),
        ("Role", "modelyard-agent"): rbac.rules(rbac.AGENT),
    }


def test_operator_is_bound_in_all_namespaces_or_in_those_listed_alone(helm: Helm) -> None:
    everywhere = _bindings(helm.template("modelyard"))
    assert everywhere == {("ClusterRoleBinding", None), ("RoleBinding", "modelyard-system")}
    listed = _bindings(helm.template("modelyard", OPERATOR_VALUES["one-namespace"]))
    namespaces = ("air-development", "air-production", "modelyard-system")
    assert listed == {("RoleBinding", namespace) for namespace in namespaces}


def test_operator_understands_its_environment(helm: Helm) -> None:
    settings = {"workers": 3, "resyncSeconds": 60, "logLevel": "DEBUG", "logFormat": "text"}
    values = {**OPERATOR_VALUES["registry"], "operator": {**OPERATOR_VALUES["one-namespace"]["operator"], **settings}}
    deployment = find(helm.template("modelyard", values), "Deployment", "modelyard-operator")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    environment = {variable["name"]: variable.get("value", "from-the-pod") for variable in container["env"]}
    understood = load_settings(environment)
    assert understood.watch_namespaces == ("air-development", "air-production")
    assert (understood.workers, understood.resync_seconds) == (3, 60)
    assert (understood.log_level, understood.log_format) == ("DEBUG", "text")
    assert understood.trainer_image == "registry.example.com/team/modelyard-trainer:0.1.0"
    assert understood.server_image == "registry.example.com/team/modelyard-server:1.2.3"
    assert container["image"] == "registry.example.com/team/modelyard-operator@sha256:" + "a" * 64
    assert [port["containerPort"] for port in container["ports"]] == [understood.port]
    assert understood.lease_name in rbac.LEADER[1].names


def test_tenant_has_what_the_contracts_name(helm: Helm) -> None:
    objects = helm.template("modelyard-tenant", TENANT)
    namespace = find(objects, "Namespace", "air-development")
    assert (
        namespace["metadata"]["labels"].items()
        >= {
            names.LABEL_TENANT: "air",
            names.LABEL_ENVIRONMENT: "development",
            "pod-security.kubernetes.io/enforce": "restricted",
        }.items()
    )
    for account in (names.STEP_SERVICE_ACCOUNT, names.SERVER_SERVICE_ACCOUNT, "modelyard-agent"):
        assert find(objects, "ServiceAccount", account)["automountServiceAccountToken"] is False
    agent = find(objects, "Deployment", "modelyard-agent")["spec"]["template"]["spec"]
    assert agent["automountServiceAccountToken"] is True
    assert agent["containers"][0]["envFrom"] == [{"secretRef": {"name": names.STORE_SECRET, "optional": True}}]
    assert "MODELYARD_STORE_URI" in find(objects, "Secret", names.STORE_SECRET)["data"]
    assert {o["metadata"].get("namespace", "air-development") for o in objects} == {"air-development"}


def test_tenant_without_its_own_secret_or_namespace_makes_neither(helm: Helm) -> None:
    values = {**TENANT, "store": {"create": False}, "namespace": {"create": False}}
    objects = helm.template("modelyard-tenant", values, namespace="mine")
    assert not {"Secret", "Namespace"} & {o["kind"] for o in objects}
    assert {o["metadata"]["namespace"] for o in objects} == {"mine"}


def test_network_policies_open_what_is_needed(helm: Helm) -> None:
    objects = helm.template("modelyard-tenant", TENANT_VALUES["restricted-egress"])
    policies = {o["metadata"]["name"]: o["spec"] for o in objects if o["kind"] == "NetworkPolicy"}
    assert policies["modelyard-deny-ingress"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    server_ports = [port["port"] for port in policies["modelyard-server"]["ingress"][0]["ports"]]
    assert server_ports == [8080, 8081, 9000]
    egress = policies["modelyard-egress"]["egress"]
    assert {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]} in egress
    assert [port["port"] for port in egress[0]["ports"]] == [53, 53]
    conversion = policies["modelyard-conversion"]
    assert conversion["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "conversion"
    assert conversion["egress"] == [egress[0], {"to": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}]
    assert "ingress" not in conversion
    (others,) = policies["modelyard-egress"]["podSelector"]["matchExpressions"]
    assert (others["operator"], others["values"]) == ("NotIn", ["conversion"])
    assert [p["port"] for p in policies["modelyard-agent-egress"]["egress"][0]["ports"]] == [443, 6443]
    assert not any("Egress" in o["spec"]["policyTypes"] for o in _policies(helm.template("modelyard-tenant", TENANT)))


def test_definitions_are_those_of_the_api_and_are_kept(helm: Helm) -> None:
    rendered = {o["metadata"]["name"]: o for o in helm.template("modelyard") if o["kind"] == "CustomResourceDefinition"}
    for kind in KINDS:
        definition = rendered.pop(f"{kind.plural}.modelyard.dev")
        assert definition["metadata"].pop("annotations") == {"helm.sh/resource-policy": "keep"}
        assert definition == custom_resource_definition(kind)
    assert rendered == {}


def test_definitions_can_be_dropped_or_left_out(helm: Helm) -> None:
    dropped = helm.template("modelyard", {"crds": {"keep": False}})
    definition = find(dropped, "CustomResourceDefinition", "trainingruns.modelyard.dev")
    assert "annotations" not in definition["metadata"]
    kinds = {o["kind"] for o in helm.template("modelyard", {"crds": {"enabled": False}})}
    assert "CustomResourceDefinition" not in kinds


@pytest.mark.parametrize(
    ("chart", "values", "kinds"),
    [
        ("modelyard", {"metrics": {"serviceMonitor": {"enabled": True}}}, ["ServiceMonitor"]),
        ("modelyard", {"metrics": {"podMonitor": {"enabled": True}}}, ["PodMonitor"]),
        ("modelyard-tenant", {**TENANT, "metrics": {"podMonitor": {"enabled": True}}}, ["PodMonitor", "PodMonitor"]),
    ],
)
def test_monitors_are_made_where_the_cluster_knows_them(
    helm: Helm, chart: str, values: Mapping[str, Any], kinds: list[str]
) -> None:
    objects = helm.template(chart, values, options=PROMETHEUS)
    assert [o["kind"] for o in objects if o["kind"].endswith("Monitor")] == kinds
    with pytest.raises(HelmError, match=r"monitor\.enabled: the cluster does not have|Monitor\.enabled: the cluster"):
        helm.template(chart, values)


@pytest.mark.parametrize(
    ("chart", "values", "message"),
    [
        ("modelyard", {"operatr": {}}, "additional properties 'operatr' not allowed"),
        ("modelyard", {"operator": {"replicas": "two"}}, "at '/operator/replicas': got string, want integer"),
        ("modelyard", {"operator": {"logLevel": "LOUD"}}, "'DEBUG', 'INFO', 'WARNING', 'ERROR'"),
        ("modelyard", {"operator": {"resyncSeconds": 1}}, "at '/operator/resyncSeconds': minimum: got 1, want 10"),
        ("modelyard", {"operator": {"watchNamespaces": ["Air"]}}, "at '/operator/watchNamespaces/0': 'Air' does not"),
        ("modelyard", {"images": {"operator": {"digest": "abc"}}}, "at '/images/operator/digest'"),
        ("modelyard", {"embeddedStore": {"buckets": ["no/slash"]}}, "at '/embeddedStore/buckets/0'"),
        (
            "modelyard",
            {"embeddedStore": {"enabled": True, "accessKeyId": "abc"}},
            "embeddedStore: accessKeyId and secretAccessKey must be set both, or neither",
        ),
        ("modelyard", {"podDisruptionBudget": {"enabled": True}}, "needs operator.replicas of 2 or more"),
        ("modelyard-tenant", {}, "tenant: must be set, such as air"),
        ("modelyard-tenant", {"tenant": "air"}, "environment: must be set"),
        ("modelyard-tenant", {"tenant": "air", "environment": "x"}, "store.uri: must be set, such as s3://"),
        ("modelyard-tenant", {**TENANT, "tenant": "Air"}, "at '/tenant': 'Air' does not match pattern"),
        ("modelyard-tenant", {**TENANT, "store": {"uri": "s3://b"}}, "at '/store/uri': 's3://b' does not match"),
        (
            "modelyard-tenant",
            {**TENANT, "store": {"uri": "s3://b/", "env": {"a-b": "x"}}},
            "at '/store/env': additional properties 'a-b'",
        ),
        ("modelyard-tenant", {**TENANT, "namespace": {"name": "modelyard-system"}}, "install the release into another"),
        (
            "modelyard-tenant",
            {**TENANT, "networkPolicy": {"egress": {"restrict": True}}},
            "networkPolicy.egress.store: must be set",
        ),
    ],
)
def test_value_that_is_not_allowed_is_refused_by_name(
    helm: Helm, chart: str, values: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(HelmError) as refused:
        helm.template(chart, values)
    assert message in str(refused.value)


@pytest.mark.parametrize("chart", ["modelyard", "modelyard-tenant"])
def test_each_value_is_in_the_schema(chart: str) -> None:
    folder = REPOSITORY / "charts" / chart
    schema = yaml.safe_load((folder / "values.schema.json").read_text())
    assert list(_undescribed(yaml.safe_load((folder / "values.yaml").read_text()), schema, schema, "")) == []


def _undescribed(values: Mapping[str, Any], node: Object, root: Object, path: str) -> Iterator[str]:
    properties = node.get("properties", {})
    for name, value in values.items():
        child = properties.get(name)
        if child is None:
            if "additionalProperties" not in node or node["additionalProperties"] is False:
                yield f"{path}.{name}"
            continue
        if "$ref" in child:
            child = root["$defs"][child["$ref"].rsplit("/", 1)[-1]]
        if isinstance(value, dict):
            yield from _undescribed(value, child, root, f"{path}.{name}")


def _pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    for rendered in objects:
        if rendered["kind"] == "Deployment":
            yield rendered["metadata"]["name"], rendered["spec"]["template"]["spec"]


def _bindings(objects: list[Object]) -> set[tuple[str, str | None]]:
    return {(o["kind"], o["metadata"].get("namespace")) for o in objects if o["kind"].endswith("Binding")}


def _policies(objects: list[Object]) -> list[Object]:
    return [o for o in objects if o["kind"] == "NetworkPolicy"]
