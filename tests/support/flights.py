"""A small table like the demo's: a label that depends on texts and numbers, missing values, a time."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd

FEATURES = ("carrier", "origin", "distance", "visib", "planes_year")
PARAMETERS = {
    "label": "arr_delay > 15",
    "labelName": "late",
    "timeColumn": "time_hour",
    "join": "weather:origin,time_hour;planes:tailnum",
    "features": ",".join(FEATURES),
}


def write_flights(folder: Path, rows: int = 600, seed: int = 0, months: Sequence[int] = (1, 2, 3)) -> None:
    """Write `flights/`, `weather/` and `planes/` beneath a folder."""
    random = np.random.default_rng(seed)
    hours = [
        datetime(2013, month, 1, tzinfo=UTC) + timedelta(hours=int(h)) for month in months for h in range(0, 24 * 28, 4)
    ]
    origins = ["EWR", "JFK", "LGA"]
    weather = pd.DataFrame([(origin, hour) for hour in hours for origin in origins], columns=["origin", "time_hour"])
    weather["visib"] = random.choice([10.0, 5.0, 1.0, np.nan], len(weather), p=[0.7, 0.15, 0.1, 0.05])
    planes = pd.DataFrame({"tailnum": [f"N{i}" for i in range(50)], "year": random.integers(1985, 2013, 50)})
    planes.loc[:4, "year"] = None
    flights = weather.sample(rows, replace=True, random_state=seed)[["origin", "time_hour"]].reset_index(drop=True)
    flights["year"] = 2013
    flights["carrier"] = random.choice(["AA", "B6", "UA", "NA"], rows, p=[0.4, 0.3, 0.28, 0.02])
    flights["tailnum"] = random.choice([f"N{i}" for i in range(60)], rows)
    flights["distance"] = random.integers(80, 2500, rows)
    seen = flights.merge(weather, on=["origin", "time_hour"], how="left")["visib"].fillna(10.0)
    risk = 30 * (flights["carrier"] == "B6") + 4 * (10 - seen) - flights["distance"] / 200
    flights["arr_delay"] = np.round(risk + random.normal(0, 10, rows))
    flights.loc[random.random(rows) < 0.03, "arr_delay"] = None
    for name, table in (("flights", flights), ("weather", weather), ("planes", planes)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        table.to_csv(folder / name / f"{name}.csv", index=False, na_rep="NA", date_format="%Y-%m-%dT%H:%M:%SZ")
