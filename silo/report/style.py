"""The looks that all pages share: light and dark, desk and phone, screen and paper."""

from __future__ import annotations

from typing import Final

BASE: Final = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b2430; --soft: #5a6675; --rule: #d5dbe3;
  --wash: #f4f6f9; --muted: #9aa5b1; --accent: #1f6feb; --second: #c77700; --warn: #8a5300;
  --warn-wash: #fff6e6; }
@media (prefers-color-scheme: dark) { :root { --paper: #12171e; --ink: #e4e9ef; --soft: #9eabb9;
  --rule: #323c49; --wash: #1a212b; --muted: #718096; --accent: #589bff; --second: #e39b2d;
  --warn: #f0b95b; --warn-wash: #2a2113; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 32px 20px 64px; max-width: 880px; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 1.15rem; margin: 44px 0 8px; }
p { margin: 8px 0; max-width: 70ch; overflow-wrap: anywhere; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
.cards { display: flex; flex-wrap: wrap; gap: 12px; margin: 20px 0 0; }
.card { flex: 1 1 190px; padding: 12px 16px; border: 1px solid var(--rule); border-radius: 8px;
  background: var(--wash); }
.card b { display: block; font-size: 1.6rem; line-height: 1.3; font-variant-numeric: tabular-nums; }
.card span { color: var(--soft); font-size: .875rem; }
ul.who { list-style: none; display: flex; flex-wrap: wrap; gap: 8px; margin: 8px 0; padding: 0; }
ul.who li { padding: 2px 12px; border: 1px solid var(--rule); border-radius: 999px; background: var(--wash); }
table { border-collapse: collapse; width: 100%; margin: 12px 0; font-size: .9375rem; }
th, td { padding: 7px 14px 7px 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule);
  overflow-wrap: anywhere; }
th:last-child, td:last-child { padding-right: 0; }
thead th { color: var(--soft); font-weight: 600; font-size: .875rem; }
tbody th { font-weight: 500; }
tbody tr.all > * { font-weight: 650; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { margin: 16px 0; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; margin: 12px 0; font-size: .9rem; }
.legend i { display: inline-block; width: 12px; height: 12px; margin-right: 7px; border-radius: 2px; }
svg { display: block; width: 100%; overflow: visible; }
svg.square { max-width: 400px; height: auto; }
svg text { fill: var(--ink); font: inherit; font-size: 13px; }
svg .figure { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
svg .head { font-weight: 600; }
svg .dot { fill: var(--accent); fill-opacity: .55; }
svg .frame { fill: var(--wash); stroke: var(--rule); }
svg .rule { stroke: var(--rule); }
svg .curve { stroke: var(--accent); stroke-width: 2; }
.note { padding: 10px 16px; border-left: 4px solid var(--warn); background: var(--warn-wash); }
.note b { color: var(--warn); }
footer { margin-top: 48px; padding-top: 12px; border-top: 1px solid var(--rule); }
@media (max-width: 560px) {
  body { padding: 20px 16px 40px; }
  table.words, table.words tbody, table.words tr, table.words td, table.words th { display: block; }
  table.words thead { display: none; }
  table.words tr { padding: 8px 0; border-bottom: 1px solid var(--rule); }
  table.words tbody th { font-weight: 650; }
  table.words td, table.words th { border: 0; padding: 2px 0; }
  table.words td::before { content: attr(data-head) ": "; color: var(--soft); }
  th, td { padding-right: 8px; font-size: .875rem; }
}
@media print {
  :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --rule: #bbb; --wash: #f4f4f4;
    --muted: #9aa5b1; --accent: #1f6feb; --second: #c77700; --warn: #8a5300; --warn-wash: #fff6e6; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { max-width: none; padding: 0; font-size: 11pt; }
  h2 { break-after: avoid; }
  figure, tr, .card, .note { break-inside: avoid; }
}
"""
