"""What a revision is: everything whose change is a roll-out rather than a change of size or place. Pure."""

import hashlib
from collections.abc import Mapping
from typing import Final, Self

from pydantic import ValidationError

from modelyard.api.canonical import compact_json
from modelyard.api.v1alpha1.common import ApiModel
from modelyard.api.v1alpha1.deployment import Endpoint
from modelyard.api.v1alpha1.modelversion import ModelVersion
from modelyard.api.v1alpha1.names import GROUP, LABEL_REVISION
from modelyard.controller.engine.manifests import Manifest

ANNOTATION_REVISION: Final = f"{GROUP}/revision-inputs"
ANNOTATION_TEMPLATE: Final = f"{GROUP}/template-digest"


class Revision(ApiModel):
    """A version, the image that serves it, and the fields of the user that change how it behaves.

    It is kept whole in an annotation of its workload, so that it can be applied again after the spec has moved on.
    A field that is added later needs a default that means "as before": defaults are left out of the identity.
    """

    model: str
    version: int
    uri: str
    digest: str
    image: str
    timeout_seconds: int
    max_request_bytes: int
    max_rows: int
    runtime_class_name: str | None = None
    labels: Mapping[str, str] | None = None
    annotations: Mapping[str, str] | None = None
    tls_secret: str | None = None
    """Clients must change with it, so that it changes for all pods at once."""

    @classmethod
    def of(cls, version: ModelVersion, endpoint: Endpoint, image: str) -> Self:
        """Return the revision that serves `version` as `endpoint` says."""
        template = endpoint.pod_template
        artifact = version.served_artifact or version.spec.artifact
        return cls(
            model=version.spec.model,
            version=version.spec.version,
            uri=artifact.uri,
            digest=artifact.digest,
            image=image,
            timeout_seconds=endpoint.timeout_seconds,
            max_request_bytes=endpoint.max_request_bytes,
            max_rows=endpoint.max_rows,
            runtime_class_name=template.runtime_class_name,
            labels=template.labels or None,
            annotations=template.annotations or None,
            tls_secret=endpoint.tls.secret_name if endpoint.tls else None,
        )

    @classmethod
    def recorded_in(cls, workload: Manifest) -> Self | None:
        """Return the revision that a workload records, or None when this operator cannot rebuild it exactly."""
        metadata = workload["metadata"]
        try:
            revision = cls.model_validate_json(metadata.get("annotations", {}).get(ANNOTATION_REVISION, ""))
        except ValidationError:
            return None
        return revision if revision.id == metadata.get("labels", {}).get(LABEL_REVISION) else None

    @property
    def id(self) -> str:
        """Ten hexadecimal digits that name the revision."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()[:10]

    def canonical(self) -> str:
        """Return the revision as JSON, the same for the same revision."""
        return compact_json(self.model_dump(by_alias=True, exclude_defaults=True, mode="json"))
