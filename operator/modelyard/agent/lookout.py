"""What the agent sees in the store. Blocking; outages are not sat out here, since whoever asks will ask again."""

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from modelyard.storage.blobs import PROBE_KEY
from modelyard.storage.errors import (
    AccessDenied,
    DigestMismatch,
    InvalidManifest,
    InvalidSource,
    ObjectNotFound,
    StorageError,
)
from modelyard.storage.objects import ObjectStore, read_all
from modelyard.storage.results import MAX_RESULT_BYTES, result_key, to_message
from modelyard.storage.retry import Patience
from modelyard.storage.sources import Identity, Listing, OpenStore, hash_source, list_source

CACHE_ENTRIES: Final = 1000
CACHED_STORES: Final = 32


@dataclass(frozen=True)
class SeenInput:
    """What an input is now."""

    digest: str
    bytes: int
    version: str | None


class Lookout:
    """Reads the store. What was hashed is remembered until the store says that it was written again."""

    def __init__(self, store_uri: str, open_store: OpenStore = ObjectStore) -> None:
        """Connect to nothing yet.

        Args:
            store_uri: where the namespace keeps its artifacts.
            open_store: makes the client of a store.
        """
        self._store_uri = store_uri
        self._open_store = lru_cache(CACHED_STORES)(open_store)
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], Identity] = OrderedDict()

    def identify(self, uri: str) -> SeenInput:
        """Return what an input is, reading all of its bytes unless they are known.

        Raises:
            StorageError: it cannot be read.
        """
        listing = list_source(uri, self._open_store)
        identity = self._identity(listing)
        return SeenInput(identity.digest, identity.bytes, listing.version)

    def result(self, run_uid: str, step: str, attempt: int) -> str | None:
        """Return the result that a step left, as a termination message would have it; None when there is none.

        Raises:
            StorageError: the store cannot be read, or holds something else there.
        """
        store, key = self._open_store(self._store_uri), result_key(run_uid, step, attempt)
        try:
            document = json.loads(read_all(store, key, MAX_RESULT_BYTES))
        except ObjectNotFound:
            return None
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise InvalidSource(f"{store.url(key)}: must be a JSON object")
        try:
            return to_message(document)
        except ValueError as error:
            raise InvalidSource(f"{store.url(key)}: {error}") from None

    def verify(self, uri: str, digest: str) -> tuple[str, str]:
        """Hash every byte of an artifact.

        Returns:
            `Verified`, `Missing`, `Corrupt` or `Unreachable`, and a message.
        """
        try:
            found = hash_source(list_source(uri, self._open_store), _NO_PATIENCE).digest
        except (DigestMismatch, InvalidManifest) as error:
            return "Corrupt", str(error)
        except ObjectNotFound as error:
            return "Missing", str(error)
        except StorageError as error:
            return "Unreachable", str(error)
        if found != digest:
            return "Corrupt", f"{uri}: must have the digest {digest}, has {found}"
        return "Verified", ""

    def refuses_us(self) -> bool:
        """Whether the store refuses the agent's own credentials."""
        try:
            self._open_store(self._store_uri).head(PROBE_KEY)
        except StorageError as error:
            return isinstance(error, AccessDenied)
        return False

    def _identity(self, listing: Listing) -> Identity:
        if listing.digest is not None:
            return Identity(listing.digest, listing.bytes)
        key = (listing.uri, listing.fingerprint)
        identity = self._known.get(key) or hash_source(listing, _NO_PATIENCE)
        with self._lock:
            self._known[key] = identity
            self._known.move_to_end(key)
            if len(self._known) > CACHE_ENTRIES:
                self._known.popitem(last=False)
        return identity


_NO_PATIENCE: Final = Patience(0, lambda _: None)
