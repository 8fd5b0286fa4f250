"""The figures of an audit, one for each kind of bottom, as a page that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from silo.leak.plot import figure, whole

if TYPE_CHECKING:
    from silo.audit.labels.audit import Found


def page(title: str, defence: str, found: Sequence[Found]) -> str:
    """One figure per kind of bottom, the first run of each."""
    figures = "".join(
        f"<h2>{escape(one.layers)} bottoms</h2>"
        f"<figure>{figure(one.runs[0].readings, one.bounds, f'{one.layers} bottoms')}</figure>"
        f'<p class="soft">Area under the curve of the task: {one.task.defended:.3f} with this defence, '
        f"{one.task.undefended:.3f} without any, {one.task.alone:.3f} by the label party alone.</p>"
        for one in found
    )
    return whole(f"{escape(title)}. {escape(defence)}", figures)
