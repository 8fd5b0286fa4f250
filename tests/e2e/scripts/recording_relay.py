"""`silo relay`, with every WebSocket message that it receives or sends kept in the file $RECORD.

A line each: `<` received, `>` sent, and the bytes in hexadecimal.
"""

from __future__ import annotations

import os
from typing import Any

from websockets.asyncio.server import ServerConnection

from silo.cli import main

_receive, _send = ServerConnection.recv, ServerConnection.send
_file = open(os.environ["RECORD"], "a", encoding="ascii")  # noqa: SIM115


def _keep(way: str, message: Any) -> None:
    raw = message.encode() if isinstance(message, str) else bytes(message)
    _file.write(f"{way}{raw.hex()}\n")
    _file.flush()


async def recv(self: ServerConnection, *arguments: Any, **options: Any) -> Any:
    message = await _receive(self, *arguments, **options)
    _keep("<", message)
    return message


async def send(self: ServerConnection, message: Any, *arguments: Any, **options: Any) -> None:
    _keep(">", message)
    await _send(self, message, *arguments, **options)


ServerConnection.recv = recv  # type: ignore[method-assign,assignment]
ServerConnection.send = send  # type: ignore[method-assign,assignment]
main()
