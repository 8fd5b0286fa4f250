"""The relay's WebSocket link: frames, numbering, login, and both of its ends."""
