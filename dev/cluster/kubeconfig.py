"""Kubeconfig files; JSON, which is YAML."""

import base64
import json
from pathlib import Path

from dev.cluster.api import Api

CONTEXT = "modelyard-local"


def render(api: Api) -> str:
    """Return a kubeconfig with the credentials inside."""
    cluster = {"server": api.server, "certificate-authority-data": _data(api.authority)}
    user = {"client-certificate-data": _data(api.client.certificate), "client-key-data": _data(api.client.key)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": CONTEXT, "user": user}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
    }
    return json.dumps(document, indent=2) + "\n"


def _data(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
