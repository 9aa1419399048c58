"""Kubernetes Events about reconciled objects: repeats are counted, floods are dropped."""

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from modelyard.controller.engine.conditions import cut, timestamp
from modelyard.controller.engine.kube import ApiError, KubeClient
from modelyard.controller.engine.manifests import Manifest, ResourceType, name_of, namespace_of, uid_of
from modelyard.controller.engine.plan import Event

logger = logging.getLogger(__name__)

EVENTS = ResourceType("", "v1", "events", "Event")

AGGREGATION_SECONDS = 600.0
BURST = 25
"""Events that an object may have at once."""
REFILL_SECONDS = 300.0
"""The time after which it may have one more."""
REMEMBERED = 4096
"""Objects and events that are remembered."""


@dataclass
class _Series:
    first_time: str
    count: int
    last: float


@dataclass
class _Bucket:
    tokens: float
    last: float


class Recorder:
    """Posts core/v1 Events. The same one about the same object within ten minutes raises a count.

    An Event's name is derived from what it says, and it is server-side applied: a restarted operator
    goes on with the same object.

    Args:
        client: the API; its types have to include `EVENTS`.
        component: who reports, also the field manager.
        instance: which replica reports.
        clock: seconds on a clock that never goes back.
        now: aware time.
    """

    def __init__(
        self,
        client: KubeClient,
        *,
        component: str,
        instance: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._component = component
        self._instance = instance
        self._clock = clock
        self._now = now
        self._series: OrderedDict[str, _Series] = OrderedDict()
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    async def record(self, subject: Manifest, event: Event) -> None:
        """Posts an event about `subject`; what the API refuses is only logged."""
        if not self._take_token(uid_of(subject)):
            logger.warning("event dropped: too many of this object", extra={"reason": event.reason})
            return
        try:
            await self._client.apply(self._manifest(subject, event), field_manager=self._component)
        except ApiError as error:
            logger.warning("event not posted", extra={"reason": event.reason, "error": str(error)})

    def _manifest(self, subject: Manifest, event: Event) -> Manifest:
        message = cut(event.message)
        identity = "\0".join((uid_of(subject), event.type, event.reason, message))
        digest = hashlib.sha256(identity.encode()).hexdigest()[:16]
        series = self._count(digest)
        namespace = namespace_of(subject) or "default"
        return {
            "apiVersion": EVENTS.api_version,
            "kind": EVENTS.kind,
            "metadata": {"namespace": namespace, "name": f"{name_of(subject)[:230]}.{digest}"},
            "involvedObject": {
                "apiVersion": subject["apiVersion"],
                "kind": subject["kind"],
                "namespace": namespace_of(subject),
                "name": name_of(subject),
                "uid": uid_of(subject),
            },
            "type": event.type,
            "reason": event.reason,
            "message": message,
            "count": series.count,
            "firstTimestamp": series.first_time,
            "lastTimestamp": timestamp(self._now()),
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": self._instance,
        }

    def _count(self, digest: str) -> _Series:
        now = self._clock()
        series = self._series.pop(digest, None)
        if series is None or now - series.last > AGGREGATION_SECONDS:
            series = _Series(first_time=timestamp(self._now()), count=0, last=now)
        series.count += 1
        series.last = now
        self._series[digest] = series
        if len(self._series) > REMEMBERED:
            self._series.popitem(last=False)
        return series

    def _take_token(self, uid: str) -> bool:
        now = self._clock()
        bucket = self._buckets.pop(uid, None) or _Bucket(tokens=BURST, last=now)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.last) / REFILL_SECONDS)
        bucket.last = now
        self._buckets[uid] = bucket
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True
