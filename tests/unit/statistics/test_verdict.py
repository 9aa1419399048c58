import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.api.v1alpha1.common import DECIMAL
from modelyard.api.v1alpha1.modelversion import Verdict
from modelyard.api.v1alpha1.trainingrun import EvaluationSpec, Metric
from modelyard.statistics.decimals import plain, to_decimal
from modelyard.statistics.verdict import Challenged, Group, Measured, Range, judge


def spec(**changes: Any) -> EvaluationSpec:
    base = {"dataset": "features/test", "metric": "rocAuc", "goal": "Maximize", "minimumRows": 100}
    return EvaluationSpec.model_validate({**base, **changes})


def measured(value: str = "0.71", rows: int = 1000, **others: str) -> Measured:
    values = {Metric.ROC_AUC: Decimal(value), **{Metric(name): Decimal(number) for name, number in others.items()}}
    return Measured(rows, values, Range(Decimal("0.70"), Decimal("0.72")))


def champion(value: str | None = "0.70") -> Challenged:
    return Challenged(6, None if value is None else Decimal(value), Range(Decimal("0.005"), Decimal("0.015")))


def group(candidate: str, rival: str, low: str | None = None, high: str | None = None, value: str = "HA") -> Group:
    difference = Range(Decimal(low), Decimal(high)) if low and high else None
    return Group("carrier", value, 98, Decimal(candidate), Decimal(rival), difference)


SLICES = [{"column": "carrier", "maximumRegression": "0.02"}]
FLOOR = [{"metric": "rocAuc", "minimum": "0.60"}]


@dataclass(frozen=True)
class Case:
    verdict: Verdict
    says: str = ""
    spec: EvaluationSpec = field(default_factory=spec)
    measured: Measured = field(default_factory=measured)
    champion: Challenged | None = None
    groups: tuple[Group, ...] = ()


LOSS = {"goal": "Minimize", "metric": "logLoss"}
CASES = {
    "first version": Case(
        Verdict.FIRST_VERSION, "rocAuc 0.71 (95 % interval 0.7 to 0.72) on 1,000 rows; there is no champion to beat."
    ),
    "better": Case(
        Verdict.BETTER_THAN_CHAMPION,
        "rocAuc 0.71 is 0.01 better than version 6 (0.7) on the same 1,000 rows; difference 95 % interval 0.005 to",
        champion=champion(),
    ),
    "equal": Case(
        Verdict.NOT_BETTER,
        "rocAuc 0.71 is equal to version 6 (0.71) on the same 1,000 rows; difference 95 % interval 0.005 to 0.015; "
        "an improvement of more than 0 is required.",
        champion=champion("0.71"),
    ),
    "equal where worse is allowed": Case(
        Verdict.BETTER_THAN_CHAMPION, "equal to", spec(minimumImprovement="-0.01"), champion=champion("0.71")
    ),
    "better by what is required": Case(
        Verdict.BETTER_THAN_CHAMPION, "0.01 better", spec(minimumImprovement="0.01"), champion=champion()
    ),
    "better by less than required": Case(
        Verdict.NOT_BETTER,
        "an improvement of at least 0.0101 is required",
        spec(minimumImprovement="0.0101"),
        champion=champion(),
    ),
    "worse": Case(
        Verdict.NOT_BETTER,
        "rocAuc 0.69 is 0.01 worse than version 6 (0.7)",
        measured=measured("0.69"),
        champion=champion(),
    ),
    "worse by what is allowed": Case(
        Verdict.BETTER_THAN_CHAMPION,
        "0.01 worse",
        spec(minimumImprovement="-0.01"),
        measured("0.69"),
        champion(),
    ),
    "smaller loss": Case(
        Verdict.BETTER_THAN_CHAMPION,
        "logLoss 0.5 is 0.1 better",
        spec(**LOSS),
        measured(logLoss="0.5"),
        champion("0.6"),
    ),
    "greater loss": Case(
        Verdict.NOT_BETTER, "logLoss 0.7 is 0.1 worse", spec(**LOSS), measured(logLoss="0.7"), champion("0.6")
    ),
    "too few rows": Case(
        Verdict.TOO_FEW_ROWS, "99 judged rows are fewer than the minimum of 100.", measured=measured(rows=99)
    ),
    "undefined": Case(Verdict.TOO_FEW_ROWS, "rocAuc is undefined on 1,000 rows", measured=Measured(1000, {})),
    "below minimum": Case(
        Verdict.BELOW_THRESHOLD,
        "rocAuc 0.59 is below the minimum of 0.60",
        spec(thresholds=FLOOR),
        measured("0.59"),
    ),
    "at minimum": Case(Verdict.FIRST_VERSION, "", spec(thresholds=FLOOR), measured("0.60")),
    "above maximum": Case(
        Verdict.BELOW_THRESHOLD,
        "logLoss 0.51 is above the maximum of 0.5",
        spec(thresholds=[{"metric": "logLoss", "maximum": "0.5"}]),
        measured(logLoss="0.51"),
    ),
    "threshold of an undefined metric": Case(
        Verdict.BELOW_THRESHOLD,
        "f1, which has a threshold, is undefined",
        spec(thresholds=[{"metric": "f1", "minimum": "0"}]),
    ),
    "undefined for the champion": Case(
        Verdict.BETTER_THAN_CHAMPION, "version 6 has no value there", champion=champion(None)
    ),
    "group regressed": Case(
        Verdict.SLICE_REGRESSED,
        "carrier 'HA': rocAuc 0.61 is 0.04 worse than version 6 (0.65) on 98 rows, more than the 0.02 allowed.",
        spec(slices=SLICES),
        champion=champion(),
        groups=(group("0.61", "0.65", "-0.07", "-0.01"),),
    ),
    "group worse by chance": Case(
        Verdict.BETTER_THAN_CHAMPION,
        spec=spec(slices=SLICES),
        champion=champion(),
        groups=(group("0.61", "0.65", "-0.09", "0.01"), group("0.61", "0.65")),
    ),
    "group worse by what is allowed": Case(
        Verdict.BETTER_THAN_CHAMPION,
        spec=spec(slices=SLICES),
        champion=champion(),
        groups=(group("0.63", "0.65", "-0.03", "-0.01"),),
    ),
    "group of too few rows": Case(
        Verdict.BETTER_THAN_CHAMPION,
        spec=spec(slices=[{**SLICES[0], "minimumRows": 99}]),
        champion=champion(),
        groups=(group("0.1", "0.9", "-0.9", "-0.7"),),
    ),
    "group of just enough rows": Case(
        Verdict.SLICE_REGRESSED,
        spec=spec(slices=[{**SLICES[0], "minimumRows": 98}]),
        champion=champion(),
        groups=(group("0.1", "0.9", "-0.9", "-0.7"),),
    ),
    "group whose metric is undefined": Case(
        Verdict.BETTER_THAN_CHAMPION,
        spec=spec(slices=SLICES),
        champion=champion(),
        groups=(Group("carrier", "HA", 98, None, Decimal("0.9")), Group("carrier", "AA", 98, Decimal("0.1"), None)),
    ),
    "numbers of a step": Case(
        Verdict.FIRST_VERSION,
        "rocAuc 0.71; there is no champion to beat.",
        measured=Measured(None, {"rocAuc": Decimal("0.71")}),
    ),
    "percentage of a zero": Case(
        Verdict.TOO_FEW_ROWS,
        "meanAbsolutePercentageError is undefined on 1,000 rows: a label is 0",
        spec(metric="meanAbsolutePercentageError", goal="Minimize"),
        Measured(1000, {}),
    ),
    "minimum of rows where none is said": Case(
        Verdict.TOO_FEW_ROWS,
        "99 judged rows are fewer than the minimum of 100.",
        spec(minimumRows=None),
        measured(rows=99),
    ),
    "several groups regressed": Case(
        Verdict.SLICE_REGRESSED,
        "carrier 'F9' (and 1 more groups)",
        spec(slices=SLICES),
        champion=champion(),
        groups=(group("0.6", "0.65", "-0.07", "-0.01"), group("0.5", "0.65", "-0.2", "-0.1", "F9")),
    ),
    "group's loss grew": Case(
        Verdict.SLICE_REGRESSED,
        "0.04 worse",
        spec(slices=SLICES, **LOSS),
        measured(logLoss="0.5"),
        champion("0.6"),
        (group("0.65", "0.61", "0.01", "0.07"),),
    ),
    "thresholds come before the champion": Case(
        Verdict.BELOW_THRESHOLD, "", spec(thresholds=FLOOR), measured("0.5"), champion()
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_verdict(case: Case) -> None:
    judgement = judge(case.spec, case.measured, case.champion, case.groups)
    assert judgement.verdict is case.verdict
    assert case.says in judgement.message


def test_message_about_a_long_group_is_bounded() -> None:
    judgement = judge(
        spec(slices=SLICES), measured(), champion(), [group("0.1", "0.65", "-0.7", "-0.5", value="\U0001f6eb" * 5000)]
    )
    assert len(judgement.message.encode()) < 1024


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_decimal_matches_the_pattern_of_the_api(value: float) -> None:
    number = to_decimal(value)
    if number is None:
        assert not abs(value) < 9.9999e14
    else:
        assert re.fullmatch(DECIMAL, plain(number))
        assert float(plain(number)) == pytest.approx(value, rel=1e-5, abs=1e-15)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.7134129, "0.713413"),
        (-0.0, "0"),
        (1e-7, "0.0000001"),
        (123456789.0, "123457000"),
        (9999995000000.0, "10000000000000"),
        (1.0, "1"),
        (-2.5, "-2.5"),
    ],
)
def test_decimal_is_rounded_and_plain(value: float, text: str) -> None:
    number = to_decimal(value)
    assert number is not None
    assert plain(number) == text
