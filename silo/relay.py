"""The relay as one object: the server that members dial, and the aggregator at its own seat."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from silo import expiry
from silo.aggregator import Aggregator, Finished
from silo.charter import Charter
from silo.driver import Seat
from silo.errors import NotAllowed
from silo.identity import Identity
from silo.joining import listen, patience
from silo.protocols.envelope import Opened
from silo.protocols.he_sum import messages
from silo.protocols.secagg.messages import Upload


class Relay:
    """Serves one charter; a context manager. `port` 0 takes a free one."""

    def __init__(
        self,
        charter: Charter,
        identity: Identity,
        *,
        host: str,
        port: int,
        once: bool = False,
        threads: int = 2,
        record: Path | None = None,
        told: Callable[[Finished], None] = lambda _: None,
    ) -> None:
        charter.require_signed(now=expiry.utc_now())
        charter.recognise(identity)
        if identity.name != charter.relay.name:
            raise NotAllowed(
                f"{identity.name} is a member, and the relay runs as {charter.relay.name}",
                charter.relay.name,
                identity.name,
            )
        self.charter = charter
        self.identity = identity
        self.server = listen(charter, identity, host, port)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._once, self._threads, self._told, self._record = once, threads, told, record
        self._thread = threading.Thread(target=self._serve, name="silo-aggregator", daemon=True)

    @classmethod
    def load(
        cls,
        charter: str | Path,
        identity: str | Path,
        *,
        passphrase: str | None,
        host: str,
        port: int | None,
        once: bool,
        told: Callable[[Finished], None],
        record: Path | None = None,
    ) -> Relay:
        """Read charter and identity; the port is the charter's unless one is given."""
        agreed = Charter.load(charter)
        own = Identity.load(identity, passphrase)
        wanted = urlsplit(agreed.relay.url).port or 443
        return cls(
            agreed, own, host=host, port=wanted if port is None else port, once=once, record=record, told=told
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.server.port

    @property
    def serving(self) -> bool:
        """False when all have left (with `once`) or the aggregator failed."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Listen and serve."""
        self.server.start()
        self._thread.start()

    def stop(self) -> None:
        """Stop serving and close every connection."""
        self._stop.set()
        self._thread.join()
        self.server.stop()

    def raise_error(self) -> None:
        """Raise what ended the aggregator, if anything did."""
        if self._error is not None:
            raise self._error

    def _serve(self) -> None:
        seat = Seat(self.server.endpoint, self.identity.name, self.identity.signing, patience(self.charter))
        if self._record is not None:
            seat.heard = _Recorder(self._record)
        try:
            Aggregator(
                seat, self.charter, self._stop, once=self._once, threads=self._threads, told=self._told
            ).serve()
        except BaseException as error:
            self._error = error

    def __enter__(self) -> Relay:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Recorder:
    """Keeps every masked or encrypted vector as it came: what the relay saw, for the demo and for auditors."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def __call__(self, round: int, opened: Opened[Any]) -> None:
        if isinstance(opened.message, Upload | messages.Upload):
            path = self.folder / f"{round:06d}-{opened.sender}.upload"
            path.write_bytes(opened.message.payload)
