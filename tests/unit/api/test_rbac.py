import pytest

from modelyard.controller import rbac
from modelyard.controller.rbac import Right

ROLES = {
    "operator": rbac.OPERATOR,
    "leader": rbac.LEADER,
    "agent": rbac.AGENT,
    "viewer": rbac.VIEWER,
    "editor": rbac.EDITOR,
}
ROWS = [
    pytest.param(right, id=f"{role}-{right.resources[0]}-{right.verbs[0]}")
    for role, rows in ROLES.items()
    for right in rows
]
STANDARD_VERBS = {"get", "list", "watch", "create", "update", "patch", "delete"}


@pytest.mark.parametrize("right", ROWS)
def test_right_is_narrow_and_says_why(right: Right) -> None:
    assert set(right.verbs) <= STANDARD_VERBS
    assert "*" not in (right.group, *right.resources)
    assert "secrets" not in right.resources
    assert right.group not in {"rbac.authorization.k8s.io", "admissionregistration.k8s.io", "apiextensions.k8s.io"}
    assert right.reason


@pytest.mark.parametrize("right", ROWS)
def test_right_by_name_does_not_pretend_to_restrict_what_has_no_name(right: Right) -> None:
    assert not right.names or not {"create", "list", "watch"} & set(right.verbs)


def test_operator_writes_no_spec_that_a_person_wrote() -> None:
    written = {
        resource
        for right in rbac.OPERATOR
        if right.group == "modelyard.dev" and {"update", "patch"} & set(right.verbs)
        for resource in right.resources
        if "/" not in resource
    }
    assert written == set()


def test_operator_reads_configuration_by_name_alone() -> None:
    reads = [r for r in rbac.OPERATOR if "configmaps" in r.resources and {"get", "list", "watch"} & set(r.verbs)]
    assert [(right.verbs, right.names) for right in reads] == [(("get", "patch"), ("modelyard-versions",))]


@pytest.mark.parametrize("role", ["agent", "viewer", "editor"])
def test_nobody_but_the_operator_writes_status(role: str) -> None:
    assert not [right for right in ROLES[role] if any(r.endswith("/status") for r in right.resources)]


def test_only_the_agent_writes_observations() -> None:
    writers = {
        role
        for role, rows in ROLES.items()
        for right in rows
        if "observations" in right.resources and not set(right.verbs) <= set(rbac.READ)
    }
    assert writers == {"agent"}
