"""Reads the Jobs of an object and their pods."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime

from modelyard.api.v1alpha1.names import LABEL_ATTEMPT, LABEL_OWNER_UID, LABEL_STEP
from modelyard.controller.engine.events import EVENTS
from modelyard.controller.engine.kube import ApiError, KubeClient
from modelyard.controller.engine.manifests import Manifest, ResourceType, name_of, namespace_of, uid_of
from modelyard.controller.engine.store import Store
from modelyard.controller.kinds.attempts import Attempt, AttemptState, attempts_of
from modelyard.controller.kinds.owned import OWNER_INDEX, owners_of
from modelyard.controller.kinds.pods import Problem, diagnose_creation


@dataclass(frozen=True)
class Found:
    """What there is of an object's Jobs."""

    jobs: tuple[Manifest, ...]
    pods: tuple[Manifest, ...]
    refusals: dict[str, Problem]
    """By Job, why its pods may not be created."""

    @property
    def newest(self) -> list[Attempt]:
        """The newest attempt of each step."""
        return [attempts[-1] for attempts in attempts_of(self.jobs, self.pods, self.refusals).values()]


@dataclass(frozen=True)
class JobReader:
    """Reads caches, and live what these may be behind with.

    Attributes:
        client: the API.
        jobs: with the index OWNER_INDEX made by `owners_of`.
        pods: with the same index.
    """

    client: KubeClient
    jobs: Store
    pods: Store

    def cached(self, uid: str) -> Found:
        """Return what caches have of an object's Jobs."""
        return Found(tuple(self.jobs.by_index(OWNER_INDEX, uid)), tuple(self.pods.by_index(OWNER_INDEX, uid)), {})

    async def read(
        self,
        namespace: str,
        uid: str,
        now: datetime,
        *,
        running: Collection[str],
        is_recorded: Callable[[Attempt], bool],
    ) -> Found:
        """Return an object's Jobs and their pods.

        Args:
            namespace: namespace of the object.
            uid: uid of the object.
            now: aware time.
            running: names of Jobs that status knows to run: a cache may be behind, and a lost Job ends the attempt.
            is_recorded: is the end of this attempt in status already?
        """
        found = self.cached(uid)
        missing = set(running) - {name_of(job) for job in found.jobs}
        read = [await get_or_none(self.client, self.jobs.resource, namespace, name) for name in sorted(missing)]
        found = replace(found, jobs=(*found.jobs, *(job for job in read if job and uid in owners_of(job))))
        for attempt in found.newest:
            if attempt.state is not AttemptState.ACTIVE and not is_recorded(attempt):
                found = await self._with_pods(found, namespace, uid, attempt)
        podless = [attempt for attempt in found.newest if attempt.lacks_pods(now)]
        refusals = {a.job: diagnose_creation(await self._events_about(a.manifest)) for a in podless}
        return replace(found, refusals={job: problem for job, problem in refusals.items() if problem})

    async def _with_pods(self, found: Found, namespace: str, uid: str, attempt: Attempt) -> Found:
        """Read the pods of an attempt live: they are cached apart from their Jobs."""
        labels = {LABEL_OWNER_UID: uid, LABEL_STEP: attempt.step, LABEL_ATTEMPT: attempt.number}
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        live = await list_all(self.client, self.pods.resource, namespace, selector)
        uids = {uid_of(pod) for pod in live}
        return replace(found, pods=(*(pod for pod in found.pods if uid_of(pod) not in uids), *live))

    async def _events_about(self, manifest: Manifest) -> list[Manifest]:
        events = await list_all(self.client, EVENTS, namespace_of(manifest))
        return [event for event in events if event["involvedObject"].get("uid") == uid_of(manifest)]


async def get_or_none(client: KubeClient, resource: ResourceType, namespace: str, name: str) -> Manifest | None:
    """Return an object as it is now, or None when there is none."""
    try:
        return await client.get(resource, namespace, name)
    except ApiError as error:
        if error.not_found:
            return None
        raise


async def list_all(
    client: KubeClient, resource: ResourceType, namespace: str, label_selector: str = ""
) -> list[Manifest]:
    """Return all objects of a namespace as they are now."""
    pages = client.list_pages(resource, namespace, label_selector=label_selector)
    return [item async for page in pages for item in page.items]
