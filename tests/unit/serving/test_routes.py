import pytest

from modelyard.serving.routes import Endpoint, Routes

ROUTES = Routes("flight-delay", "7")


@pytest.mark.parametrize(
    ("target", "endpoint"),
    [
        (b"/v2", Endpoint.SERVER_METADATA),
        (b"/v2/", Endpoint.SERVER_METADATA),
        (b"/v2/health/live", Endpoint.LIVE),
        (b"/v2/health/ready", Endpoint.READY),
        (b"/openapi.json", Endpoint.OPENAPI),
        (b"/v2/models/flight-delay", Endpoint.MODEL_METADATA),
        (b"/v2/models/flight-delay/ready", Endpoint.MODEL_READY),
        (b"/v2/models/flight-delay/infer", Endpoint.INFER),
        (b"/v2/models/flight-delay/versions/7", Endpoint.MODEL_METADATA),
        (b"/v2/models/flight-delay/versions/7/ready", Endpoint.MODEL_READY),
        (b"/v2/models/flight-delay/versions/7/infer", Endpoint.INFER),
        (b"/v2/models/flight-delay/infer?trace=1", Endpoint.INFER),
        (b"http://flight-delay.air/v2/health/live", Endpoint.LIVE),
        (b"", None),
        (b"/", None),
        (b"*", None),
        (b"//", None),
        (b"http://[", None),
        (b"/v2/health/live/", None),
        (b"/V2", None),
        (b"/v2/models/flight-delay/", None),
        (b"/v2/models/flight-delay/versions/6", None),
        (b"/v2/models/flight-delay/versions/07/infer", None),
        (b"/v2/models/Flight-delay/infer", None),
        (b"/v2/models/flight%2Ddelay/infer", None),
        (b"/v2/models/../models/flight-delay", None),
        (b"/v2/models/\xff/infer", None),
    ],
)
def test_target_is_found_exactly(target: bytes, endpoint: Endpoint | None) -> None:
    assert ROUTES.find(target) is endpoint


@pytest.mark.parametrize("endpoint", Endpoint)
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS"])
def test_only_infer_takes_post_and_the_others_take_get(endpoint: Endpoint, method: bytes) -> None:
    allowed = {b"POST"} if endpoint is Endpoint.INFER else {b"GET", b"HEAD"}
    assert endpoint.allows(method) == (method in allowed)


def test_missing_model_is_told_which_one_is_here() -> None:
    response = ROUTES.refuse(None, b"/v2/models/other/infer")
    assert response.status == 404
    assert b"the only model here is 'flight-delay', version '7'" in response.body


def test_wrong_method_is_told_the_right_one() -> None:
    response = ROUTES.refuse(Endpoint.INFER, b"/v2/models/flight-delay/infer")
    assert (response.status, response.headers) == (405, b"Allow: POST\r\n")
