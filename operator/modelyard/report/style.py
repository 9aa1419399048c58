"""How the page looks: light and dark, from 320 px on; colours have a contrast of at least 4.5 to 1."""

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--page:#fff;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--panel:#f6f8fa;
--model:#0b5cad;--champion:#a04a00;--good:#116329;--bad:#a40e26}
@media(prefers-color-scheme:dark){:root{--page:#0f1419;--ink:#e6edf3;--soft:#9da7b3;--line:#3a434d;--panel:#171d24;
--model:#79b8ff;--champion:#ffb067;--good:#6fdd8b;--bad:#ff8f8f}}
*{box-sizing:border-box}
body{margin:0 auto;max-width:72rem;padding:1rem;background:var(--page);color:var(--ink);
font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2;margin:.5rem 0}
h2{font-size:1.2rem;margin:2rem 0 .5rem;border-bottom:1px solid var(--line)}
h3{font-size:1rem;margin:.5rem 0}
.verdict{border-left:.4rem solid var(--soft);background:var(--panel);padding:.6rem 1rem;margin:1rem 0}
.verdict p{margin:.2rem 0}
.accepted{border-color:var(--good)}.refused{border-color:var(--bad)}
.accepted strong{color:var(--good)}.refused strong{color:var(--bad)}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,20rem),1fr));gap:.4rem 1.5rem;margin:.5rem 0}
dt{color:var(--soft);font-size:.85rem}
dd{margin:0}
.wide{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;overflow-wrap:normal}
caption{text-align:left;color:var(--soft);font-size:.85rem;padding:.3rem 0}
th,td{text-align:left;padding:.25rem .6rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
thead th{color:var(--soft);font-weight:600}
tbody th{font-weight:400}
.number{text-align:right;white-space:nowrap}
.emphasized th,.emphasized td{font-weight:700}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,22rem),1fr));gap:1.5rem}
figure{margin:0;min-width:0}
figcaption,.note{color:var(--soft);font-size:.85rem}
svg{display:block;width:100%;height:auto;max-width:34rem}
svg text{fill:var(--ink);font:12px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
svg .soft{fill:var(--soft)}
.axis{stroke:var(--soft);fill:none}.grid{stroke:var(--line);fill:none}
.ideal{stroke:var(--soft);stroke-dasharray:2 4;fill:none}
.curve{fill:none;stroke-width:2}
.curve.model{stroke:var(--model)}.curve.champion{stroke:var(--champion);stroke-dasharray:6 3}
.curve.other{stroke:var(--soft)}.mark.other{fill:var(--soft)}
.mark.model{fill:var(--model)}.mark.champion{fill:var(--champion)}
.dot{fill:var(--model);fill-opacity:.45}
.error{stroke:var(--ink);stroke-width:1.5}
details{margin:.3rem 0}summary{cursor:pointer;color:var(--soft);font-size:.85rem}
footer{margin:2rem 0 1rem;color:var(--soft);font-size:.85rem}
:focus-visible{outline:2px solid var(--model);outline-offset:2px}
@media print{details>*{display:block}.wide{overflow:visible}}
"""
