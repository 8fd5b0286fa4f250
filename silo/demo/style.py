"""The looks of the demo's page: those of every page, and a colour for each way of training."""

from __future__ import annotations

from typing import Final

from silo.report.style import BASE

CSS: Final = f"""{BASE}.local {{ fill: var(--muted); background: var(--muted); }}
.federated {{ fill: var(--accent); background: var(--accent); }}
.pooled {{ fill: var(--second); background: var(--second); }}
.up {{ fill: var(--accent); background: var(--accent); }}
.down {{ fill: var(--muted); background: var(--muted); }}
"""
