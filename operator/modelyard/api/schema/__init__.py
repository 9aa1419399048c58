"""From the API types to what Kubernetes and people read: CRDs and the field reference."""

from modelyard.api.schema.crd import custom_resource_definition
from modelyard.api.schema.reference import field_reference
from modelyard.api.schema.structural import SchemaError

__all__ = ["SchemaError", "custom_resource_definition", "field_reference"]
