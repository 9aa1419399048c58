"""Leader election by a Lease: the others stand by with warm caches, and one that loses ends its process."""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NoReturn

from modelyard.controller.engine.kube import ApiError, KubeClient
from modelyard.controller.engine.manifests import Manifest, ResourceType

logger = logging.getLogger(__name__)

LEASES = ResourceType("coordination.k8s.io", "v1", "leases", "Lease")


class LeadershipLost(Exception):  # noqa: N818 a fact that ends the process
    """Another replica may lead from now on: no write may follow."""


@dataclass(frozen=True)
class LeaseTiming:
    """Durations of an election in seconds: retry < renew_deadline < duration.

    Attributes:
        duration: how long a leader that is not heard of keeps the others waiting.
        renew_deadline: how long a leader that cannot renew goes on.
        retry: the pause between two tries, before jitter.
    """

    duration: int = 15
    renew_deadline: float = 10.0
    retry: float = 2.0


class Elector:
    """Takes the Lease when it is free, then renews it.

    Another replica's Lease is free when it was released, or when it has not changed for its own duration
    as measured here: clocks of other machines are never compared. Nothing fences a leader that was
    frozen and comes back, except that `is_leader` is False once its renewals are too old.

    Args:
        client: the API; its types have to include `LEASES`.
        namespace: of the Lease.
        name: of the Lease.
        identity: of this replica, unlike all others'.
        timing: durations.
        clock: seconds on a clock that never goes back.
        now: aware time, for the Lease's fields.
        rng: a source of numbers in [0, 1), for jitter.

    Attributes:
        leading: set from the moment when the Lease is ours.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        namespace: str,
        name: str,
        identity: str,
        timing: LeaseTiming,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.leading = asyncio.Event()
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._timing = timing
        self._clock = clock
        self._now = now
        self._rng = rng
        self._renewed_at = float("-inf")
        self._ours: Manifest | None = None
        self._seen_version = ""
        self._seen_at = float("-inf")

    def is_leader(self) -> bool:
        """Whether the Lease is ours and was renewed within the renew deadline."""
        return self.leading.is_set() and self._clock() < self._renewed_at + self._timing.renew_deadline

    async def run(self) -> NoReturn:
        """Competes, and then leads, until cancelled.

        Raises:
            LeadershipLost: the Lease was ours, and may be somebody else's now.
        """
        while True:
            try:
                async with asyncio.timeout(self._timing.renew_deadline / 2):
                    await self.step()
            except (ApiError, TimeoutError) as error:
                logger.warning("lease not reached", extra={"error": str(error) or "no answer in time"})
            if self.leading.is_set() and not self.is_leader():
                raise LeadershipLost("the Lease was not renewed in time")
            await asyncio.sleep(self._timing.retry * (1 + self._rng() / 5))

    async def step(self) -> None:
        """One try to take or to renew the Lease.

        Raises:
            LeadershipLost: somebody else has the Lease that was ours.
            ApiError: the API could not be asked, or somebody else was faster.
        """
        started = self._clock()
        lease, self._ours = self._ours or await self._read(), None
        if not self._may_take(lease):
            if self.leading.is_set():
                raise LeadershipLost("another replica has taken the Lease")
            return
        self._ours = await self._write(lease)
        self._renewed_at = started
        if not self.leading.is_set():
            logger.info("this replica leads", extra={"identity": self._identity})
            self.leading.set()

    async def release(self) -> None:
        """Gives the Lease back, so that another replica need not wait; once no write can follow."""
        if not self.leading.is_set() or self._ours is None:
            return
        self.leading.clear()
        spec = {**self._ours["spec"], "holderIdentity": "", "leaseDurationSeconds": 1}
        try:
            async with asyncio.timeout(self._timing.renew_deadline / 2):
                await self._client.update({**self._ours, "spec": spec}, field_manager=self._name)
        except (ApiError, TimeoutError) as error:
            logger.warning("lease not released", extra={"error": str(error)})

    async def _read(self) -> Manifest | None:
        try:
            return await self._client.get(LEASES, self._namespace, self._name)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    def _may_take(self, lease: Manifest | None) -> bool:
        if lease is None:
            return True
        holder = lease["spec"].get("holderIdentity") or ""
        if holder in ("", self._identity):
            return True
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen_version:
            self._seen_version, self._seen_at = version, self._clock()
        duration = lease["spec"].get("leaseDurationSeconds") or self._timing.duration
        return self._clock() >= self._seen_at + float(duration)

    async def _write(self, lease: Manifest | None) -> Manifest:
        moment = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        before = lease["spec"] if lease else {}
        spec: dict[str, Any] = {
            **before,
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._timing.duration,
            "renewTime": moment,
        }
        if before.get("holderIdentity") != self._identity:
            spec["acquireTime"] = moment
            spec["leaseTransitions"] = before.get("leaseTransitions", -1) + 1
        metadata = lease["metadata"] if lease else {"namespace": self._namespace, "name": self._name}
        manifest = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": metadata,
            "spec": spec,
        }
        if lease is None:
            return await self._client.create(manifest, field_manager=self._name)
        return await self._client.update(manifest, field_manager=self._name)
