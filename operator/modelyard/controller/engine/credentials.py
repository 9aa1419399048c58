"""Where the API server is and how we identify ourselves: read by the official client, for our own transport."""

import asyncio
import ssl
import time
from collections.abc import Callable

from kubernetes import client, config

from modelyard.controller.engine.settings import PREFIX, SettingsError

TOKEN_SECONDS = 60.0
"""How long a token is used before it is read again."""

RELOAD_SECONDS = 5.0


class Credentials:
    """The server's address, its certificate authority, and our client certificate or token.

    Args:
        kubeconfig: a kubeconfig file; when None, the pod's own account, or else the default file.
        clock: seconds on a clock that never goes back.

    Raises:
        SettingsError: there is neither.
    """

    def __init__(self, kubeconfig: str | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._kubeconfig = kubeconfig
        self._clock = clock
        self._configuration = _load(kubeconfig)
        self._authorization: str | None = None
        self._read_at = float("-inf")
        self._loaded_at = clock()

    @property
    def server(self) -> str:
        """The URL of the API server, without a slash at its end."""
        return str(self._configuration.host).rstrip("/")

    @property
    def proxy(self) -> str | None:
        """The URL of a proxy on the way there."""
        return self._configuration.proxy or None

    @property
    def verify(self) -> bool:
        """Whether the server's certificate is verified."""
        return bool(self._configuration.verify_ssl)

    @property
    def ca_file(self) -> str | None:
        """The file with the server's certificate authority; the system's ones when None."""
        return self._configuration.ssl_ca_cert or None

    @property
    def certificate_files(self) -> tuple[str, str] | None:
        """The files with our client certificate and its key."""
        certificate, key = self._configuration.cert_file, self._configuration.key_file
        return (certificate, key) if certificate and key else None

    def ssl_context(self) -> ssl.SSLContext:
        """A context that verifies the server and shows our client certificate."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate_files:
            context.load_cert_chain(*self.certificate_files)
        return context

    async def authorization(self) -> str | None:
        """The value of the Authorization header, read again every minute because tokens are rotated."""
        if self._clock() - self._read_at > TOKEN_SECONDS:
            self._authorization = await asyncio.to_thread(_authorization, self._configuration)
            self._read_at = self._clock()
        return self._authorization

    async def reload(self) -> None:
        """Reads everything again, for when the server does not know us; at most every few seconds."""
        if self._clock() - self._loaded_at < RELOAD_SECONDS:
            return
        self._loaded_at = self._clock()
        self._configuration = await asyncio.to_thread(_load, self._kubeconfig)
        self._read_at = float("-inf")


def _load(kubeconfig: str | None) -> client.Configuration:
    configuration = client.Configuration()
    try:
        if kubeconfig is None:
            try:
                config.load_incluster_config(client_configuration=configuration)
            except config.ConfigException:
                config.load_kube_config(client_configuration=configuration)
        else:
            config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        place = f"'{kubeconfig}'" if kubeconfig else "the pod or the default kubeconfig"
        raise SettingsError(f"{PREFIX}KUBECONFIG: no access to a cluster in {place}: {error}") from error
    return configuration


def _authorization(configuration: client.Configuration) -> str | None:
    header: str | None = configuration.get_api_key_with_prefix("BearerToken")
    return header
