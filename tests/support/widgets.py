"""A kind that only the engine's tests know: a Widget has a ConfigMap, which is applied, and Jobs, made once."""

from typing import Any

from modelyard.controller.engine.conditions import Condition
from modelyard.controller.engine.manifests import Manifest, ResourceType, TypeTable, adopt, name_of, namespace_of
from modelyard.controller.engine.plan import Event, Plan

WIDGETS = ResourceType("engine.test", "v1", "widgets", "Widget")
CONFIG_MAPS = ResourceType("", "v1", "configmaps", "ConfigMap")
JOBS = ResourceType("batch", "v1", "jobs", "Job")
TYPES = (WIDGETS, CONFIG_MAPS, JOBS)
TABLE = TypeTable.of(*TYPES)

SELECTOR = "app.kubernetes.io/managed-by=engine-test"
LABELS = {"app.kubernetes.io/managed-by": "engine-test"}

_CONDITION = {
    "type": "object",
    "required": ["type"],
    "properties": {
        "type": {"type": "string"},
        "status": {"type": "string"},
        "observedGeneration": {"type": "integer"},
        "lastTransitionTime": {"type": "string"},
        "reason": {"type": "string"},
        "message": {"type": "string"},
    },
}

CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.engine.test"},
    "spec": {
        "group": "engine.test",
        "names": {"kind": "Widget", "plural": "widgets"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"text": {"type": "string"}, "image": {"type": "string"}},
                            },
                            "status": {
                                "type": "object",
                                "properties": {
                                    "observedGeneration": {"type": "integer"},
                                    "conditions": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["type"],
                                        "items": _CONDITION,
                                    },
                                    "text": {"type": "string"},
                                    "note": {"type": "string"},
                                },
                            },
                        },
                    }
                },
            }
        ],
    },
}


def widget(namespace: str, name: str, text: str = "hello") -> Manifest:
    return {
        "apiVersion": "engine.test/v1",
        "kind": "Widget",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"text": text},
    }


def config_map(owner: Manifest, text: str) -> Manifest:
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"namespace": namespace_of(owner), "name": name_of(owner), "labels": LABELS},
        "data": {"text": text},
    }
    return adopt(manifest, owner)


def job(owner: Manifest, image: str = "example.test/image:1") -> Manifest:
    container = {
        "name": "main",
        "image": image,
        "resources": {"requests": {"cpu": "1000m", "memory": "1024Mi"}, "limits": {"cpu": 1, "memory": "1Gi"}},
        "env": [{"name": "EMPTY", "value": ""}],
    }
    manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"namespace": namespace_of(owner), "name": f"{name_of(owner)}-1", "labels": LABELS},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }
    return adopt(manifest, owner)


def decide(widget: Manifest) -> Plan:
    """Ready as soon as both children are asked for; tells once of each new text."""
    text = widget["spec"]["text"]
    is_new = (widget.get("status") or {}).get("text") != text
    return Plan(
        create=(job(widget),),
        apply=(config_map(widget, text),),
        status={"text": text},
        conditions=(Condition("Ready", "True", "Applied", f"the text is {text}"),),
        events=(Event("Normal", "Applied", f"the text is {text}"),) if is_new else (),
    )
