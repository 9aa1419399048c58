"""What agents saw of an object, and which object an Observation is of."""

from collections.abc import Iterable

from pydantic import ValidationError

from modelyard.api.v1alpha1.names import observation_name
from modelyard.api.v1alpha1.observation import Observation
from modelyard.controller.engine.keys import Key
from modelyard.controller.engine.manifests import Manifest, name_of, namespace_of, uid_of
from modelyard.controller.engine.store import Store


def observation_of(observations: Store, kind: str, subject: Manifest) -> Observation | None:
    """Return what the agent saw of this very object; what was seen of a predecessor of its name does not count.

    Args:
        observations: the Observations of all namespaces.
        kind: kind of the subject.
        subject: the object as it is stored.
    """
    manifest = observations.get(namespace_of(subject), observation_name(kind, name_of(subject)))
    if manifest is None:
        return None
    try:
        observation = Observation.model_validate(manifest)
    except ValidationError:
        return None
    seen = observation.spec.subject
    return observation if (seen.kind, seen.uid) == (kind, uid_of(subject)) else None


def subject_of(observation: Manifest) -> Iterable[Key]:
    """Return the object that an Observation is of."""
    subject = observation["spec"]["subject"]
    return (Key(subject["kind"], namespace_of(observation), subject["name"]),)
