"""Why a model could not be judged; each error carries the reason under which conditions show it."""

from typing import ClassVar


class DatasetInvalid(ValueError):  # noqa: N818 - named like its reason
    """The judged rows cannot be used; the message names the column and what is allowed."""

    reason: ClassVar[str] = "DatasetInvalid"


class ChampionUnusable(ValueError):  # noqa: N818
    """The champion cannot score the judged rows, so nothing can be said about being better than it."""

    reason: ClassVar[str] = "ChampionUnusable"


class MetricMissing(ValueError):  # noqa: N818
    """A step was to report a number by which the model is judged, and did not."""

    reason: ClassVar[str] = "MetricMissing"
