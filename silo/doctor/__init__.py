"""What keeps this machine from taking part: one finding per cause, each with what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was found, and what to do about it."""

    check: str
    state: State
    found: str
    advice: str = ""


def worst(findings: list[Finding]) -> int:
    """The exit code: 1 when a check failed."""
    return int(any(finding.state == "failed" for finding in findings))
