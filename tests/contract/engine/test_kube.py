from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from modelyard.controller.engine.credentials import Credentials
from modelyard.controller.engine.kube import ApiError, KubeClient, Request
from modelyard.controller.engine.manifests import Ref, TypeTable
from modelyard.controller.engine.settings import SettingsError
from tests.support.fake_kube import FakeKube, failure, write_kubeconfig
from tests.support.widgets import CONFIG_MAPS, TYPES

PATH = "/api/v1/namespaces/a/configmaps"
VERDICTS = ("not_found", "conflict", "gone", "silent", "invalid", "forbidden", "terminating", "transient")


@pytest.mark.parametrize(
    ("status", "verdicts"),
    [
        (400, {"invalid"}),
        (401, {"transient"}),
        (403, {"forbidden"}),
        (404, {"not_found"}),
        (409, {"conflict"}),
        (410, {"gone"}),
        (422, {"invalid"}),
        (429, {"transient"}),
        (500, {"transient"}),
        (503, {"transient"}),
    ],
)
async def test_client_says_what_an_answer_means(
    fake: FakeKube, client: KubeClient, status: int, verdicts: set[str]
) -> None:
    fake.fail("GET", PATH, status, times=2)
    with pytest.raises(ApiError) as error:
        await client.get(CONFIG_MAPS, "a", "x")
    assert {name for name in VERDICTS if getattr(error.value, name)} == verdicts


async def test_client_reads_how_long_it_shall_wait(fake: FakeKube, client: KubeClient) -> None:
    header = {"Retry-After": "7"}
    fake.fail("GET", PATH, lambda _: web.json_response(failure(429), status=429, headers=header))
    fake.fail("GET", PATH, lambda _: web.json_response(failure(504, retryAfterSeconds=3), status=504))
    for seconds in (7, 3):
        with pytest.raises(ApiError) as error:
            await client.get(CONFIG_MAPS, "a", "x")
        assert error.value.retry_after == seconds


async def test_client_knows_a_namespace_that_is_going_away(fake: FakeKube, client: KubeClient) -> None:
    body = failure(403, "Forbidden", causes=[{"reason": "NamespaceTerminating"}])
    fake.fail("GET", PATH, lambda _: web.json_response(body, status=403))
    with pytest.raises(ApiError) as error:
        await client.get(CONFIG_MAPS, "a", "x")
    assert error.value.terminating


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=502, text="<html>bad gateway</html>"),
        web.Response(status=200, text="no json"),
        web.Response(status=500, text="[]"),
    ],
)
async def test_client_takes_an_answer_that_is_no_object_for_a_fault(
    fake: FakeKube, client: KubeClient, answer: web.Response
) -> None:
    fake.fail("GET", PATH, lambda _: answer)
    with pytest.raises(ApiError) as error:
        await client.get(CONFIG_MAPS, "a", "x")
    assert error.value.transient


async def test_client_takes_a_refused_connection_for_a_fault(tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1")
    async with KubeClient(Credentials(str(kubeconfig)), TypeTable.of(*TYPES)) as client:
        with pytest.raises(ApiError) as error:
            await client.get(CONFIG_MAPS, "a", "x")
    assert (error.value.status, error.value.transient) == (0, True)


async def test_client_signs_in_again_when_it_is_not_known(fake: FakeKube, tmp_path: Path) -> None:
    token = tmp_path / "kubeconfig"
    write_kubeconfig(token, fake.url)
    now = 0.0
    credentials = Credentials(str(token), clock=lambda: now)
    token.write_text(token.read_text().replace("user: {}", "user: {token: fresh}"))
    seen: list[str | None] = []

    def answer(request: web.Request) -> Any:
        seen.append(request.headers.get("Authorization"))
        known = seen[-1] == "Bearer fresh"
        return web.json_response({"kind": "ConfigMap"} if known else failure(401), status=200 if known else 401)

    fake.fail("GET", PATH, answer, times=2)
    now = 100.0
    requests: list[Request] = []
    async with KubeClient(credentials, TypeTable.of(*TYPES), on_request=requests.append) as client:
        await client.get(CONFIG_MAPS, "a", "x")
    assert seen == [None, "Bearer fresh"]
    assert [(request.verb, request.resource, request.code) for request in requests] == [
        ("get", "configmaps", 401),
        ("get", "configmaps", 200),
    ]


@pytest.mark.parametrize("name", ["", ".", ".."])
async def test_client_refuses_names_that_would_change_the_path(client: KubeClient, name: str) -> None:
    with pytest.raises(ValueError, match="must not be empty or relative"):
        await client.get(CONFIG_MAPS, "a", name)
    with pytest.raises(ValueError, match="must not be empty or relative"):
        await client.delete(Ref("v1", "ConfigMap", "a", name))


async def test_client_quotes_names(fake: FakeKube, client: KubeClient) -> None:
    with pytest.raises(ApiError):
        await client.get(CONFIG_MAPS, "a", "x/../../secrets?y")
    assert fake.requests == [("GET", f"{PATH}/x/../../secrets?y")]


async def test_client_fills_in_the_kind_of_listed_objects(fake: FakeKube, client: KubeClient) -> None:
    fake.put(PATH, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "a", "name": "x"}})
    pages = [page async for page in client.list_pages(CONFIG_MAPS, "a")]
    assert [(item["apiVersion"], item["kind"]) for page in pages for item in page.items] == [("v1", "ConfigMap")]


def test_credentials_name_the_setting_that_leads_nowhere(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"MODELYARD_KUBECONFIG: no access to a cluster in '.*nowhere'"):
        Credentials(str(tmp_path / "nowhere"))
