"""What ends a homomorphic sum without a result."""

from __future__ import annotations

from silo.protocols.errors import ProtocolAborted


class NotDecrypted(ProtocolAborted):
    """What was to be decrypted is no sum of so many honest inputs; nothing was released."""

    code = "SILO-217"
