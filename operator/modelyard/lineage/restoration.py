"""ModelVersions made again from the records of a store. Pure."""

from collections.abc import Iterable
from typing import Any

from modelyard.api.canonical import as_json
from modelyard.api.v1alpha1.modelversion import ModelVersion, ModelVersionSpec
from modelyard.api.v1alpha1.names import (
    API_VERSION,
    LABEL_MANAGED_BY,
    LABEL_MODEL,
    LABEL_PART_OF,
    LABEL_VERSION,
    MANAGED_BY,
    model_version_name,
)


def published(records: Iterable[ModelVersionSpec]) -> list[ModelVersionSpec]:
    """Return the records that stand for a version, by model and number.

    A run publishes one version. Where it has several records, it was given a new number on the way, and the highest is
    the one that it published.
    """
    ordered = sorted(records, key=lambda record: (record.model, record.version))
    last = {_run(record): record for record in ordered}
    return [record for record in ordered if last[_run(record)] is record]


def model_version(record: ModelVersionSpec, namespace: str | None) -> dict[str, Any]:
    """Return the ModelVersion of a record, to be created in a namespace; None leaves that to who creates it."""
    labels = {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_PART_OF: MANAGED_BY,
        LABEL_MODEL: record.model,
        LABEL_VERSION: str(record.version),
    }
    name = model_version_name(record.model, record.version)
    return {
        "apiVersion": API_VERSION,
        "kind": ModelVersion.kind,
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {}), "labels": labels},
        "spec": as_json(record),
    }


def _run(record: ModelVersionSpec) -> str:
    name = model_version_name(record.model, record.version)
    return record.lineage.training_run.uid if record.lineage else name
