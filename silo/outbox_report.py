"""The outbox as a data protection officer reads it: one line per recipient, kind and protection."""

from __future__ import annotations

import html
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from silo.errors import OutboxCorrupt
from silo.outbox import Outbox, SealedHead, Verified


@dataclass(frozen=True, slots=True)
class Line:
    """Frames of one kind to one recipient; `size` in bytes, times in UTC."""

    recipient: str
    kind: str
    protection: str
    frames: int
    size: int
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """What left, and whether the record of it is whole."""

    name: str
    lines: tuple[Line, ...]
    verified: Verified | None
    fault: OutboxCorrupt | None
    head: str

    @classmethod
    def of(cls, outbox: Outbox, key: bytes | None = None, kept: SealedHead | None = None) -> Report:
        """Verify the chain and sum it up; a broken chain is reported with whatever can be read of it."""
        verified: Verified | None = None
        fault: OutboxCorrupt | None = None
        lines: dict[tuple[str, str, str], Line] = {}
        head = ""
        try:
            verified = outbox.verify(key, kept)
            head = outbox.head.hash.hex()
        except OutboxCorrupt as problem:
            fault = problem
        try:
            for row in outbox.rows():
                place = (row.recipient, row.kind, row.protection)
                line = lines.get(place) or Line(*place, 0, 0, row.time, row.time)
                lines[place] = Line(
                    *place,
                    line.frames + 1,
                    line.size + row.size,
                    min(line.first, row.time),
                    max(line.last, row.time),
                )
        except (OutboxCorrupt, TypeError, ValueError, OverflowError):
            # An entry that was edited into something unreadable: what came before is still shown.
            fault = fault or OutboxCorrupt(0, "unreadable", str(outbox.path))
        return cls(outbox.name, tuple(lines[place] for place in sorted(lines)), verified, fault, head)

    @property
    def frames(self) -> int:
        return sum(line.frames for line in self.lines)

    @property
    def size(self) -> int:
        return sum(line.size for line in self.lines)

    @property
    def state(self) -> str:
        """One sentence on the chain."""
        if self.fault is not None:
            return f"BROKEN: {self.fault}"
        if self.verified is None or self.verified.entries == 0:
            return "verified: nothing has left yet"
        sentence = (
            f"verified: all {self.verified.entries:,} entries are unchanged and in order; head {self.head}"
        )
        if self.verified.sealed:
            return f"{sentence}; {self.verified.unsealed:,} of them are newer than the last sealed head"
        return f"{sentence}; no sealed head was checked, so a cut end would not show"

    def to_json(self) -> dict[str, Any]:
        """The same for programs."""
        return {
            "name": self.name,
            "verified": self.fault is None,
            "fault": {"entry": self.fault.sequence, "what": self.fault.what} if self.fault else None,
            "entries": self.frames,
            "sealed": self.verified.sealed if self.verified else 0,
            "head": self.head or None,
            "bytes": self.size,
            "sent": [
                {
                    "recipient": line.recipient,
                    "kind": line.kind,
                    "protection": line.protection,
                    "frames": line.frames,
                    "bytes": line.size,
                    "first": line.first.isoformat(),
                    "last": line.last.isoformat(),
                }
                for line in self.lines
            ],
        }


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>What left {name}</title><style>
body{{font:16px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}}
body{{color:#1a1a1a;background:#fff}}
table{{border-collapse:collapse;width:100%}}
th,td{{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #ccc}}
td.n,th.n{{text-align:right;font-variant-numeric:tabular-nums}}
.state{{padding:.6rem;border-left:4px solid {colour}}}
</style></head><body><h1>What left {name}</h1>
<p>{frames:,} frames, {size:,} bytes.</p><p class="state">{state}</p>
<table><thead><tr><th>To</th><th>What</th><th>Protection</th><th class="n">Frames</th><th class="n">Bytes</th>
<th>First (UTC)</th><th>Last (UTC)</th></tr></thead><tbody>
{rows}
</tbody></table></body></html>
"""


def to_html(report: Report) -> str:
    """A page of its own: no script, nothing fetched, every value escaped."""
    rows = "\n".join(
        f"<tr><td>{html.escape(line.recipient)}</td><td>{html.escape(line.kind)}</td>"
        f"<td>{html.escape(line.protection)}</td>"
        f"<td class='n'>{line.frames:,}</td><td class='n'>{line.size:,}</td>"
        f"<td>{line.first:%Y-%m-%d %H:%M:%S}</td><td>{line.last:%Y-%m-%d %H:%M:%S}</td></tr>"
        for line in report.lines
    )
    return _PAGE.format(
        name=html.escape(report.name),
        colour="#b00020" if report.fault else "#2e7d32",
        frames=report.frames,
        size=report.size,
        state=html.escape(report.state),
        rows=rows,
    )
