"""What a failed pass means for the next one."""


class ReconcileError(Exception):
    """A pass that did not reach its end."""


class Waiting(ReconcileError):  # noqa: N818 named for what it means, not all are errors
    """Nothing is wrong, but the pass has to be made again.

    Attributes:
        delay: seconds until then, before jitter; longer when it happens again and again.
    """

    def __init__(self, message: str, *, delay: float) -> None:
        super().__init__(message)
        self.delay = delay


class Transient(ReconcileError):  # noqa: N818 as above
    """A fault that goes away by itself: tried again with growing delays.

    Attributes:
        retry_after: the least number of seconds until then, when the server named it.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Terminal(ReconcileError):  # noqa: N818 as above
    """A fault that only a change of the object can mend: not tried again before that or the resync."""
