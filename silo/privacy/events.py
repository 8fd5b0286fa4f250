"""Placeholder until the real module lands."""

from __future__ import annotations

from typing import Any

Event = Any
