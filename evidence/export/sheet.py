"""The style of the report: system fonts, no colour that print or a colour-blind reader would need."""

__all__ = ["SHEET"]

SHEET = """
:root { --ink: #1b1f24; --soft: #5b6570; --rule: #d4dae0; --paper: #fff; --rec: #2f6fb2; --pre: #a9c8e8;
  --sound: #6a8f5f; --gap: #c0392b; --amber: #9a6200; --good: #1d6b3a; --bad: #a32020; }
* { box-sizing: border-box; }
body { margin: 0; background: #eef1f4; color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI",
  "Helvetica Neue", "DejaVu Sans", sans-serif; }
main, footer { max-width: 60rem; margin: 0 auto; background: var(--paper); padding: 0 2.5rem; }
main { padding-top: 2rem; }
footer { padding-bottom: 2rem; color: var(--soft); font-size: .85rem; border-top: 1px solid var(--rule); }
header .kind { margin: 0; text-transform: uppercase; letter-spacing: .12em; font-size: .75rem;
  color: var(--soft); }
h1 { margin: .1rem 0 .6rem; font-size: 1.6rem; overflow-wrap: anywhere; }
h2 { margin: 2rem 0 .6rem; padding-bottom: .25rem; border-bottom: 2px solid var(--ink); font-size: 1.1rem; }
h3 { margin: 1rem 0 .3rem; font-size: .95rem; }
.finding { display: inline-block; margin: 0; padding: .3rem .8rem; border: 2px solid; border-radius: .3rem;
  font-weight: 600; }
.authentic { color: var(--good); } .incomplete { color: var(--amber); } .not_authentic { color: var(--bad); }
.note { margin: 1rem 0 0; padding: .7rem 1rem; border-left: 4px solid var(--amber); background: #fdf6e7; }
dl { display: grid; grid-template-columns: 10rem 1fr; gap: .3rem 1rem; margin: 0; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
table { width: 100%; border-collapse: collapse; font-size: .9rem; }
th { text-align: left; font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--ink); }
th, td { padding: .3rem .8rem .3rem 0; vertical-align: top; }
td { border-bottom: 1px solid var(--rule); overflow-wrap: anywhere; }
.checks td:nth-child(1) { width: 42%; } .checks td:nth-child(2) { white-space: nowrap; }
.outcome { font-weight: 600; } .outcome.passed { color: var(--good); } .outcome.failed { color: var(--bad); }
.outcome.not_checked, .outcome.skipped { color: var(--soft); } .outcome.missing { color: var(--amber); }
code, pre { font-family: ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; font-size: .82rem; }
code { overflow-wrap: anywhere; }
pre { margin: .3rem 0; padding: .5rem .7rem; background: #f4f6f8; border: 1px solid var(--rule);
  border-radius: .25rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.expect { margin: 0 0 .6rem; color: var(--soft); font-size: .85rem; }
figure { margin: 0; } svg { display: block; width: 100%; height: auto; }
svg text { font: 13px system-ui, "DejaVu Sans", sans-serif; fill: var(--ink); }
svg .row, svg .tick { fill: var(--soft); } svg .inside { fill: #fff; font-weight: 600; }
svg text.press, svg text.stop, svg text.cut { font-weight: 600; stroke: none; fill: var(--ink); }
svg line.axis { stroke: var(--soft); } svg line.press { stroke: var(--ink); stroke-width: 2; }
svg line.stop { stroke: var(--ink); stroke-width: 2; stroke-dasharray: 2 3; }
svg line.torn { stroke: var(--gap); stroke-width: 3; stroke-dasharray: 6 4; }
svg line.trigger { stroke: var(--amber); stroke-width: 2; } svg rect.cut { fill: var(--ink); }
.pre { fill: var(--pre); background: var(--pre); } .rec { fill: var(--rec); background: var(--rec); }
.sound { fill: var(--sound); background: var(--sound); } .gap { fill: var(--gap); background: var(--gap); }
.silence { fill: #fff; stroke: var(--sound); background: #fff; border: 1px solid var(--sound); }
.bookmark { fill: var(--amber); background: var(--amber); } i.trigger { background: var(--amber); }
.legend { margin: .2rem 0 0; font-size: .85rem; color: var(--soft); }
.legend span { margin-right: 1.2rem; white-space: nowrap; }
.legend i { display: inline-block; width: 1.1em; height: .8em; margin-right: .4em; vertical-align: -.05em; }
.legend i.bookmark { width: .6em; height: .6em; transform: rotate(45deg); }
.legend i.trigger { width: .15em; }
@page { size: A4; margin: 16mm 15mm; }
@media print {
  body { background: none; font-size: 10pt; } main, footer { max-width: none; padding: 0; }
  code, pre { font-size: 7.6pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2, h3 { break-after: avoid; } tr, figure, .note, pre { break-inside: avoid; }
  thead { display: table-header-group; }
}
"""
