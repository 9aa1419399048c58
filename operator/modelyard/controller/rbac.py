"""The table of rights: what each part may do, and why. The charts' roles and docs/security.md come from it."""

from dataclasses import dataclass

from modelyard.api.v1alpha1.names import GROUP, VERSIONS_CONFIG_MAP

READ = ("get", "list", "watch")
CHANGE = ("create", "update", "patch", "delete")


@dataclass(frozen=True, kw_only=True)
class Right:
    """One row: verbs on resources of one API group, and the reason for them.

    Attributes:
        group: API group; empty for the core group.
        resources: plural names, with subresource after a slash.
        verbs: what may be done.
        names: if given, only with objects of these names.
        reason: what it is needed for.
    """

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    reason: str
    names: tuple[str, ...] = ()

    def rule(self) -> dict[str, list[str]]:
        """Return the row as a rule of a Role."""
        rule = {"apiGroups": [self.group], "resources": list(self.resources), "verbs": list(self.verbs)}
        return rule | ({"resourceNames": list(self.names)} if self.names else {})


OPERATOR = (
    Right(
        group=GROUP,
        resources=("pipelines", "trainingruns", "modelversions", "deployments", "observations"),
        verbs=READ,
        reason="to know what is wanted, and what agents have seen",
    ),
    Right(
        group=GROUP,
        resources=("trainingruns",),
        verbs=("create", "delete"),
        reason="to make a Pipeline's runs, to delete those that its limits leave over or a newer one replaces, and "
        "a finished one when its `ttlSecondsAfterFinished` is over; none is ever changed",
    ),
    Right(
        group=GROUP,
        resources=("modelversions",),
        verbs=("create",),
        reason="to record the version that a run made; it is never changed",
    ),
    Right(
        group=GROUP,
        resources=("pipelines/status", "trainingruns/status", "modelversions/status", "deployments/status"),
        verbs=("patch",),
        reason="to report",
    ),
    Right(
        group=GROUP,
        resources=(
            "pipelines/finalizers",
            "trainingruns/finalizers",
            "modelversions/finalizers",
            "deployments/finalizers",
        ),
        verbs=("update",),
        reason="to own children where the cluster checks `blockOwnerDeletion`",
    ),
    Right(
        group="batch",
        resources=("jobs",),
        verbs=(*READ, "create", "patch", "delete"),
        reason="to run steps, to suspend them, and to convert pickles",
    ),
    Right(
        group="apps",
        resources=("deployments",),
        verbs=(*READ, "create", "patch", "delete"),
        reason="to run model servers",
    ),
    Right(
        group="",
        resources=("services",),
        verbs=(*READ, "create", "patch", "delete"),
        reason="to make model servers reachable, and to let the pods of a step find each other",
    ),
    Right(
        group="",
        resources=("pods",),
        verbs=READ,
        reason="to say why a step or a server fails, and to read a step's result",
    ),
    Right(
        group="",
        resources=("configmaps",),
        verbs=("create",),
        reason=f"to make `{VERSIONS_CONFIG_MAP}`; Kubernetes cannot restrict creation to a name",
    ),
    Right(
        group="",
        resources=("configmaps",),
        verbs=("get", "patch"),
        names=(VERSIONS_CONFIG_MAP,),
        reason="to give each version a number that was never used before",
    ),
    Right(
        group="",
        resources=("namespaces",),
        verbs=("get",),
        reason="to read the label `modelyard.dev/tenant`: a Pipeline may watch a Deployment of its own tenant only",
    ),
    Right(
        group="",
        resources=("events",),
        verbs=("list", "create", "patch"),
        reason="to tell people about changes, and to find out why a Job has no pod",
    ),
)
"""The operator in the namespaces that it serves."""

LEADER = (
    Right(
        group="coordination.k8s.io",
        resources=("leases",),
        verbs=("create",),
        reason="to elect a leader; Kubernetes cannot restrict creation to a name",
    ),
    Right(
        group="coordination.k8s.io",
        resources=("leases",),
        verbs=("get", "update"),
        names=("modelyard-operator",),
        reason="to elect a leader",
    ),
)
"""The operator in its own namespace."""

AGENT = (
    Right(
        group=GROUP,
        resources=("pipelines", "trainingruns", "modelversions"),
        verbs=READ,
        reason="to know which inputs, results and artifacts to look at",
    ),
    Right(
        group=GROUP,
        resources=("observations",),
        verbs=(*READ, "create", "patch"),
        reason="to report what it sees; an Observation goes with its subject",
    ),
)
"""A tenant's agent in its namespace."""

VIEWER = (
    Right(
        group=GROUP,
        resources=("pipelines", "trainingruns", "modelversions", "deployments", "observations"),
        verbs=READ,
        reason="to look",
    ),
)
"""People with the role `view`."""

EDITOR = (
    Right(
        group=GROUP,
        resources=("pipelines", "trainingruns", "modelversions", "deployments"),
        verbs=CHANGE,
        reason="to train, register, retire and deploy",
    ),
    Right(group=GROUP, resources=("deployments/scale",), verbs=("get", "update", "patch"), reason="to scale"),
)
"""People with the role `edit`, who have `view` too; not the status, and not what agents report."""


def rules(rights: tuple[Right, ...]) -> list[dict[str, list[str]]]:
    """Return rows as the rules of a Role."""
    return [right.rule() for right in rights]
