"""Why a start cannot succeed."""


class StartError(Exception):
    """The server cannot start; reason and message go to the termination log."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
