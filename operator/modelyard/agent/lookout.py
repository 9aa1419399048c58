"""What the agent sees in the store. Blocking; outages are not sat out here, since whoever asks will ask again."""

import json
import threading
from collections import OrderedDict
from functools import lru_cache
from typing import Any, Final

from modelyard.agent.sightings import SeenInput
from modelyard.api.canonical import as_json
from modelyard.api.v1alpha1.observation import ObservedProgress
from modelyard.storage.blobs import PROBE_KEY
from modelyard.storage.errors import (
    AccessDenied,
    DigestMismatch,
    InputChanging,
    InvalidManifest,
    InvalidSource,
    ObjectNotFound,
    StorageError,
)
from modelyard.storage.objects import ObjectStore, read_all
from modelyard.storage.results import MAX_RESULT_BYTES, MESSAGE_BYTES, progress_key, result_key, to_message
from modelyard.storage.retry import Patience
from modelyard.storage.sources import Listing, OpenStore, check_tree, describe_table, hash_source, list_source

CACHE_ENTRIES: Final = 1000
CACHED_STORES: Final = 32
READS: Final = 3
"""How often an input is read that is written again meanwhile."""


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
        self._known: OrderedDict[tuple[str, str], SeenInput] = OrderedDict()

    def list_input(self, uri: str) -> Listing:
        """Look at an input without reading it.

        Raises:
            StorageError: it cannot be listed.
        """
        return list_source(uri, self._open_store)

    def known(self, listing: Listing) -> SeenInput | None:
        """Return what an input is if that is known without reading it."""
        if listing.digest is not None:
            return SeenInput(listing.digest, listing.bytes, fingerprint=listing.fingerprint)
        with self._lock:
            return self._known.get((listing.uri, listing.fingerprint))

    def remember(self, uri: str, seen: SeenInput) -> None:
        """Take for known what an input was, as long as the store says the same of it."""
        if seen.fingerprint is None:
            return
        key = (uri, seen.fingerprint)
        with self._lock:
            self._known[key] = seen
            self._known.move_to_end(key)
            if len(self._known) > CACHE_ENTRIES:
                self._known.popitem(last=False)

    def read(self, listing: Listing) -> SeenInput:
        """Read all bytes of an input; of one that is written meanwhile no digest is told that it never had.

        Raises:
            InputChanging: it was written again each time.
            StorageError: it cannot be read.
        """
        for _ in range(READS):
            found = self._hash(listing)
            after = listing if listing.is_fixed else self.list_input(listing.uri)
            if after.fingerprint == listing.fingerprint:
                if isinstance(found, ObjectNotFound):
                    raise found
                self.remember(listing.uri, found)
                return found
            listing = after
        raise InputChanging(f"{listing.uri}: is written again while it is read; it is looked at again")

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

    def progress(self, run_uid: str, step: str, attempt: int) -> dict[str, Any] | None:
        """Return what a running step says of itself, as Observations have it; None when it says nothing.

        Raises:
            StorageError: the store cannot be read, or holds something else there.
        """
        store, key = self._open_store(self._store_uri), progress_key(run_uid, step, attempt)
        try:
            document = json.loads(read_all(store, key, MESSAGE_BYTES))
            said = {**document, "step": step, "attempt": attempt, "lastUpdateTime": document["time"]}
            progress = ObservedProgress.model_validate(said)
        except ObjectNotFound:
            return None
        except (ValueError, TypeError, KeyError):
            raise InvalidSource(f"{store.url(key)}: must be the progress of a step") from None
        return as_json(progress)

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

    def look_for(self, uri: str) -> tuple[str, str]:
        """Look whether a content-addressed tree is whole, without reading more than its manifest.

        Returns:
            `Present`, `Missing` or `Unreachable`, and a message.
        """
        try:
            check_tree(uri, self._open_store)
        except (DigestMismatch, InvalidManifest, ObjectNotFound) as error:
            return "Missing", str(error)
        except StorageError as error:
            return "Unreachable", str(error)
        return "Present", ""

    def refuses_us(self) -> bool:
        """Whether the store refuses the agent's own credentials."""
        try:
            self._open_store(self._store_uri).head(PROBE_KEY)
        except StorageError as error:
            return isinstance(error, AccessDenied)
        return False

    @staticmethod
    def _hash(listing: Listing) -> SeenInput | ObjectNotFound:
        """Return what was read, or what had gone when it was to be read."""
        try:
            identity, table = hash_source(listing, _NO_PATIENCE), describe_table(listing)
        except ObjectNotFound as error:
            return error
        version = table.version if table else listing.version
        rows = table.rows if table else identity.rows
        return SeenInput(identity.digest, identity.bytes, version, rows, listing.fingerprint)


_NO_PATIENCE: Final = Patience(0, lambda _: None)
