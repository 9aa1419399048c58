import pytest

from dev.cluster import selection
from dev.cluster.errors import ClusterError


@pytest.mark.parametrize("asked", ["kind", "node"])
def test_variable_decides(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_CLUSTER", asked)
    assert selection.selected() == asked


def test_unknown_choice_names_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELYARD_CLUSTER", "minikube")
    with pytest.raises(ClusterError, match="must be kind or node"):
        selection.selected()


def test_machine_without_docker_gets_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODELYARD_CLUSTER", raising=False)
    monkeypatch.setenv("PATH", "")
    assert selection.selected() == "node"
