import pytest

from modelyard.agent.sightings import SeenInput, Sighting, error, polled_input, recall, run_input

SEEN = SeenInput("sha256:" + "a" * 64, 5, "v1", 7, "sha256:" + "b" * 64)
DOWN = error("StoreUnreachable", "down")


def test_input_of_a_run_says_what_is_known() -> None:
    assert run_input("flights", SEEN) == {
        "name": "flights",
        "digest": SEEN.digest,
        "bytes": 5,
        "version": "v1",
        "rows": 7,
    }
    assert run_input("flights", SeenInput("d", 5)) == {"name": "flights", "digest": "d", "bytes": 5}


def test_version_that_does_not_fit_is_left_out() -> None:
    assert run_input("flights", SeenInput("d", 5, "v" * 257)) == {"name": "flights", "digest": "d", "bytes": 5}


@pytest.mark.parametrize(
    "sighting", [Sighting(), Sighting(SEEN), Sighting(SEEN, DOWN), Sighting(None, DOWN), Sighting(SeenInput("d", 0))]
)
def test_next_agent_knows_what_the_last_one_knew(sighting: Sighting) -> None:
    entry = polled_input("flights", "s3://b/f/", sighting)
    assert (entry["name"], entry["uri"]) == ("flights", "s3://b/f/")
    assert recall(entry) == sighting


def test_messages_fit_the_definition() -> None:
    assert len(error("StoreUnreachable", "m" * 5000)["message"]) == 1024
