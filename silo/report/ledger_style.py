"""The looks of the ledger's page: those of every page, wider tables, and its plots."""

from __future__ import annotations

from typing import Final

from silo.report.style import BASE

_OWN: Final = """
:root { --bad: #a8201a; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; } }
body { max-width: 1080px; }
h1, h2, h3, dt, dd, th, td { overflow-wrap: anywhere; unicode-bidi: isolate; }
h3 { font-size: 1rem; margin: 28px 0 4px; }
header .cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(200px, 1fr)); }
.card span { display: block; line-height: 1.45; }
b.bad { color: var(--bad); }
.note p { max-width: 84ch; }
.note { margin: 16px 0; }
.scroll { overflow-x: auto; margin: 12px 0 20px; }
.scroll:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.scroll table { margin: 0; min-width: 620px; }
.scroll table.wide { min-width: 980px; }
.scroll th, .scroll td { overflow-wrap: break-word; }
caption { text-align: left; font-weight: 600; font-size: .9rem; padding-bottom: 4px; }
caption span { display: inline-block; position: sticky; left: 0; max-width: calc(100vw - 40px); }
.number + :not(.number) { padding-left: 12px; }
.time, .wide td:nth-child(3) .line { white-space: nowrap; }
thead th { vertical-align: bottom; }
thead th.number { white-space: normal; }
.line { display: block; unicode-bidi: isolate; }
code, pre { font: .8125rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
code { overflow-wrap: anywhere; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: 10px 14px; border: 1px solid var(--rule);
  border-radius: 8px; background: var(--wash); }
dl.facts { display: grid; grid-template-columns: minmax(9rem, 13rem) 1fr; gap: 10px 24px; }
dl.facts dt { font-weight: 600; }
dl.facts dd { margin: 0; max-width: 74ch; }
svg.spend path { vector-effect: non-scaling-stroke; fill: none; }
svg.spend .filter { stroke: var(--accent); stroke-width: 2; }
svg.spend path.area { fill: var(--accent); fill-opacity: .12; }
svg.spend .pld { stroke: var(--second); stroke-width: 1.75; stroke-dasharray: 6 4; }
svg.spend .dot-of-pld { stroke: var(--second); stroke-width: 7; stroke-linecap: round; }
svg.spend .limit { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 2 3; }
svg.spend .bare { stroke: var(--bad); stroke-width: 2; stroke-dasharray: 9 3 2 3; }
svg.spend .refused { stroke: var(--ink); stroke-width: 2; }
svg.spend .tick { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
svg.spend .limit-name { fill: var(--ink); font-weight: 600; }
.legend i.key { width: 22px; height: 0; border-radius: 0; vertical-align: middle; border-top: 2px solid; }
i.filter { color: var(--accent); }
i.pld { color: var(--second); border-top-style: dashed !important; }
i.limit { color: var(--ink); border-top-style: dotted !important; }
.legend i.bare, .legend i.refused { width: 0; height: 14px; border-top: 0; border-left: 2px solid; }
.legend i.bare { color: var(--bad); border-left-style: dashed; }
.legend i.refused { color: var(--ink); }
@media (max-width: 560px) {
  dl.facts { grid-template-columns: 1fr; gap: 2px; }
  dl.facts dd { margin-bottom: 12px; }
}
@media print {
  :root { --bad: #a8201a; }
  .scroll { overflow: visible; }
  .scroll table, .scroll table.wide { min-width: 0; font-size: 8pt; }
  .scroll th, .scroll td { padding-right: 6px; overflow-wrap: anywhere; }
  .scroll thead th { overflow-wrap: normal; font-size: 7.5pt; }
  .scroll .soft, .scroll code { font-size: inherit; }
  h3 { break-after: avoid; }
}
"""

CSS: Final = BASE + _OWN
