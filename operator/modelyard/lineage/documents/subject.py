"""What the documents speak of: a recorded model, the run that made it, its files and its signature."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from modelyard.api.v1alpha1.modelversion import ModelVersionSpec
from modelyard.api.v1alpha1.names import model_version_name
from modelyard.lineage.run import RunRecord
from modelyard.model.signature import Signature
from modelyard.storage.manifests import FileEntry


@dataclass(frozen=True)
class Subject:
    """A recorded model and all that is known of how it was made."""

    record: ModelVersionSpec
    run: RunRecord
    files: tuple[FileEntry, ...]
    """Files of the model directory."""
    signature: Signature
    modelyard_version: str
    """Version of Modelyard that writes the documents."""

    @property
    def name(self) -> str:
        """Name of the ModelVersion."""
        return model_version_name(self.record.model, self.record.version)

    @property
    def run_digest(self) -> str:
        """Digest of `run.json` as it is stored."""
        lineage = self.record.lineage
        return lineage.run_digest if lineage and lineage.run_digest else self.run.digest

    @property
    def end_time(self) -> str | None:
        """When the last step ended; the register step itself is not over yet."""
        return next((step.completion_time for step in reversed(self.run.steps) if step.completion_time), None)


def hexadecimal(digest: str) -> str:
    """Return a digest without its `sha256:`."""
    return digest.removeprefix("sha256:")


def image_digest(image: str) -> str | None:
    """Return `sha256:<hex>` of an image that is named by digest."""
    _, at, digest = image.partition("@")
    return digest if at and digest.startswith("sha256:") else None


def to_text(document: Mapping[str, Any]) -> str:
    """Return a JSON document as people and programs read it."""
    return json.dumps(document, ensure_ascii=False, indent=2) + "\n"
