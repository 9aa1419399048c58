"""Carries out plans: children, one status write, events, deletions; nothing that is so already."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from modelyard.controller.engine.conditions import Condition, cut, merge_conditions
from modelyard.controller.engine.drift import contains
from modelyard.controller.engine.errors import Terminal, Transient, Waiting
from modelyard.controller.engine.events import Recorder
from modelyard.controller.engine.kube import ApiError, KubeClient
from modelyard.controller.engine.manifests import (
    Manifest,
    Ref,
    check_ownership,
    controller_uid,
    digest_of,
    is_deleting,
    name_of,
    namespace_of,
    owner_uid_of,
    uid_of,
    without_nulls,
)
from modelyard.controller.engine.plan import Event, Plan
from modelyard.controller.engine.store import Stores

logger = logging.getLogger(__name__)

DESIRED_HASH = "modelyard.dev/desired-hash"

CONFLICT_DELAY = 1.0
"""Seconds until a pass that met somebody else's change is made again."""
FORBIDDEN_DELAY = 60.0
"""Seconds until what access control, policy or quota refused is tried again."""
REMEMBERED = 10_000
"""Applied objects that are remembered."""

_SUMMARY_TYPES = frozenset({"Ready", "Reconciling", "Stalled"})


class _Refused(Exception):  # noqa: N818 an answer, not a fault
    """A child cannot be written until somebody changes something; `delay` None: until the object changes."""

    def __init__(self, reason: str, message: str, *, delay: float | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = cut(message)
        self.delay = delay


class _Gone(Exception):  # noqa: N818 an answer, not a fault
    """The object or its namespace is going away: nothing is left to do."""


class Writer:
    """Makes the writes of a plan that are not made yet; a converged object costs no request.

    What the API server answers means:

    - 404 for the object's status, or a namespace that is going away: the pass ends quietly;
    - 409 for a creation: done if the object is ours, else `Ready=False/Conflict`;
    - any other 409: `Waiting`, to look again soon;
    - 422 and its kin: `Ready=False/InvalidSpec`, and `Terminal`;
    - 403: `Ready=False/Forbidden` with one Warning event, and `Waiting` for a minute;
    - no answer, 429 and 5xx: `Transient`; the status stays as it is.

    Status is server-side applied in a manager of its own: a field that is left out is removed, which a merge
    patch cannot do. It carries the uid and resourceVersion that the decision saw, so a decision made on an
    old object, or on a predecessor of the same name, is answered with 409 instead of undoing a newer one.

    Args:
        client: the API.
        field_manager: in whose name children are applied; `-status` is appended for status.
        stores: the caches; they learn at once what was written.
        recorder: posts events.
        may_write: whether this replica leads; asked before each write.
        now: aware time, for transition times.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        field_manager: str,
        stores: Stores,
        recorder: Recorder,
        may_write: Callable[[], bool] = lambda: True,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._field_manager = field_manager
        self._stores = stores
        self._recorder = recorder
        self._may_write = may_write
        self._now = now
        self._applied: OrderedDict[str, tuple[str, str]] = OrderedDict()

    async def execute(self, parent: Manifest, plan: Plan) -> float | None:
        """Carries out a plan for `parent`, the object that it was decided for.

        Returns:
            Seconds until the next pass, when the plan asks for one.

        Raises:
            ReconcileError: a write was refused or failed, and the rest was not tried.
        """
        try:
            await self._write_children(parent, plan)
            if plan.status is not None:
                await self._write_status(parent, self._status_of(parent, plan))
            for event in plan.events:
                await self._recorder.record(parent, event)
            for ref in plan.delete:
                await self._delete(ref)
        except _Gone:
            logger.debug("object or namespace is gone")
            return None
        except ApiError as error:
            raise fault_of(error) from error
        return plan.requeue_after

    async def _write_children(self, parent: Manifest, plan: Plan) -> None:
        try:
            for manifest in plan.create:
                await self._create(parent, manifest)
            for manifest in plan.apply:
                await self._apply(parent, manifest)
        except ApiError as error:
            if error.terminating or error.not_found:
                raise _Gone from error
            if error.forbidden:
                await self._report(parent, _Refused("Forbidden", error.message, delay=FORBIDDEN_DELAY))
            if error.invalid:
                await self._report(parent, _Refused("InvalidSpec", error.message))
            raise
        except _Refused as refusal:
            await self._report(parent, refusal)

    async def _create(self, parent: Manifest, manifest: Manifest) -> None:
        desired = self._prepare(parent, manifest)
        live = self._stores.find(desired)
        if live is None:
            await self._check_parent(parent)
            self._check_leading()
            try:
                live = await self._client.create(desired, field_manager=self._field_manager)
                logger.info("child created", extra={"child": f"{desired['kind']}/{name_of(desired)}"})
            except ApiError as error:
                if not error.conflict:
                    raise
                live = await self._read(desired)
                if live is None:
                    raise
        _check_usable(desired, live)
        self._stores.put(live)

    async def _apply(self, parent: Manifest, manifest: Manifest) -> None:
        desired = self._prepare(parent, manifest)
        lock = desired["metadata"].pop("resourceVersion", None)
        digest = digest_of(desired)
        live = self._stores.find(desired) or await self._read(desired)
        if live is not None:
            _check_usable(desired, live)
            if self._is_settled(live, desired, digest):
                return
        else:
            await self._check_parent(parent)
        metadata = desired["metadata"]
        annotations = {**metadata.get("annotations", {}), DESIRED_HASH: digest}
        body = {**desired, "metadata": {**metadata, "annotations": annotations}}
        if lock is not None:
            body["metadata"]["resourceVersion"] = lock
        self._check_leading()
        applied = await self._client.apply(body, field_manager=self._field_manager)
        logger.info("child applied", extra={"child": f"{desired['kind']}/{name_of(desired)}"})
        self._remember(applied, digest)
        self._stores.put(applied)

    def _is_settled(self, live: Manifest, desired: Manifest, digest: str) -> bool:
        """Whether an apply would change nothing, as far as can be told without one."""
        if live["metadata"].get("annotations", {}).get(DESIRED_HASH) != digest:
            return False
        if self._applied.get(uid_of(live)) == (digest, live["metadata"]["resourceVersion"]):
            return True
        if not contains(live, desired):
            return False
        self._remember(live, digest)
        return True

    def _remember(self, live: Manifest, digest: str) -> None:
        """Notes in which version the object is what we applied, however the server writes that down."""
        self._applied[uid_of(live)] = (digest, live["metadata"]["resourceVersion"])
        self._applied.move_to_end(uid_of(live))
        if len(self._applied) > REMEMBERED:
            self._applied.popitem(last=False)

    async def _delete(self, ref: Ref) -> None:
        live = self._stores.get(ref)
        if live is not None and is_deleting(live):
            return
        self._check_leading()
        try:
            answer = await self._client.delete(ref)
        except ApiError as error:
            if not error.not_found and not (error.conflict and ref.uid):
                raise
            answer = {}
        logger.info("child deleted", extra={"child": f"{ref.kind}/{ref.name}"})
        if answer.get("kind") == ref.kind and is_deleting(answer):
            self._stores.put(answer)
        elif live is not None:
            self._stores.remove(live)

    def _status_of(self, parent: Manifest, plan: Plan) -> dict[str, Any]:
        generation = parent["metadata"]["generation"]
        current = (parent.get("status") or {}).get("conditions", ())
        return {
            **without_nulls(dict(plan.status or {})),
            "observedGeneration": generation,
            "conditions": merge_conditions(current, plan.conditions, generation, self._now()),
        }

    async def _write_status(self, parent: Manifest, status: Mapping[str, Any]) -> bool:
        """Writes the whole status if it is another one; whether it was."""
        if status == parent.get("status"):
            return False
        metadata = parent["metadata"]
        identity = {key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion") if key in metadata}
        body = {
            "apiVersion": parent["apiVersion"],
            "kind": parent["kind"],
            "metadata": identity,
            "status": status,
        }
        self._check_leading()
        try:
            written = await self._client.apply(
                body, field_manager=f"{self._field_manager}-status", subresource="status"
            )
        except ApiError as error:
            if error.not_found:
                self._stores.remove(parent)
                raise _Gone from error
            raise
        self._stores.put(written)
        return True

    async def _report(self, parent: Manifest, refusal: _Refused) -> NoReturn:
        """Says in the conditions why a child was refused, and leaves the rest of the status as it is."""
        status = parent.get("status") or {}
        known = status.get("conditions", ())
        summary = [Condition("Ready", "False", refusal.reason, refusal.message)]
        if refusal.delay is None:
            summary.append(Condition("Stalled", "True", refusal.reason, refusal.message))
        ready, *stalled = merge_conditions(known, summary, parent["metadata"]["generation"], self._now())
        kept = [condition for condition in known if condition["type"] not in _SUMMARY_TYPES]
        if await self._write_status(parent, {**status, "conditions": [ready, *kept, *stalled]}):
            await self._recorder.record(parent, Event("Warning", refusal.reason, refusal.message))
        if refusal.delay is None:
            raise Terminal(refusal.message)
        raise Waiting(refusal.message, delay=refusal.delay)

    async def _check_parent(self, parent: Manifest) -> None:
        """End the pass if the object is not there any more.

        Asked before a child is made: a deletion in a gap of the watch is not known before the next list, and until
        then the children that the garbage collector takes away would be made anew.
        """
        live = await self._read(parent)
        if live is None or uid_of(live) != uid_of(parent):
            self._stores.remove(parent)
            raise _Gone
        if is_deleting(live):
            raise _Gone

    async def _read(self, desired: Manifest) -> Manifest | None:
        resource = self._client.types.of_manifest(desired)
        try:
            return await self._client.get(resource, namespace_of(desired), name_of(desired))
        except ApiError as error:
            if error.not_found:
                return None
            raise

    def _prepare(self, parent: Manifest, manifest: Manifest) -> Manifest:
        if controller_uid(manifest) == uid_of(parent):
            check_ownership(manifest, parent)
        desired: Manifest = without_nulls(manifest)
        return desired

    def _check_leading(self) -> None:
        if not self._may_write():
            raise Transient("this replica does not lead")


def _check_usable(desired: Manifest, live: Manifest) -> None:
    """Refuses an object of somebody else, and waits for one that is on its way out."""
    subject = f"{live['kind']} {name_of(live)}"
    if owner_uid_of(live) != owner_uid_of(desired):
        raise _Refused("Conflict", f"{subject} exists and belongs to something else: delete or rename it")
    if is_deleting(live):
        raise Waiting(f"{subject} is being deleted", delay=CONFLICT_DELAY)


def fault_of(error: ApiError) -> Terminal | Transient | Waiting:
    """What an answer of the API means for the next pass."""
    if error.transient:
        return Transient(str(error), retry_after=error.retry_after)
    if error.conflict:
        return Waiting(str(error), delay=CONFLICT_DELAY)
    if error.forbidden:
        return Waiting(str(error), delay=FORBIDDEN_DELAY)
    return Terminal(str(error))
