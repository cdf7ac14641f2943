"""The report page's style sheet: light and dark, from a phone to a wide screen."""

CSS = """
:root{color-scheme:light dark;--paper:#fcfcfb;--card:#fff;--ink:#1b1f24;--soft:#5b6470;
--line:#e3e5e8;--fill:#3b6fd4;--control:#a9b0ba;--track:#eef0f2;--positive:#2a62cc;--negative:#c2560c;
--right:#18794e;--wrong:#c0271e}
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--card:#1c2024;--ink:#e7eaee;--soft:#9aa4b0;
--line:#30363d;--fill:#6c9bf5;--control:#66707c;--track:#262b31;--positive:#7aa7ff;--negative:#f0914a;
--right:#4cc38a;--wrong:#ff8078}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2.5rem 1.25rem 4rem;max-width:68rem;background:var(--paper);
color:var(--ink);font:16px/1.5 system-ui,"Segoe UI",Roboto,"Liberation Sans",sans-serif;
-webkit-text-size-adjust:100%}
h1{font-size:1.75rem;line-height:1.2;letter-spacing:-.015em;margin:0 0 .5rem}
h2{font-size:1.15rem;margin:2.75rem 0 .75rem;padding-top:1rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.75rem 0 .5rem}
p{margin:.25rem 0}
.note,small{color:var(--soft);font-size:.875rem}
small{display:block;font-weight:400;font-size:.75rem;line-height:1.3;white-space:nowrap}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.45rem .75rem;text-align:right;vertical-align:top;border-bottom:1px solid var(--line)}
th:first-child{text-align:left;padding-left:0}
td:last-child,th:last-child{padding-right:0}
thead th{color:var(--soft);font-size:.8125rem;font-weight:500;vertical-align:bottom;
white-space:nowrap}
tbody th{font-weight:600}
td b{font-weight:600}
.quiet th,.quiet td,.quiet td b{font-weight:400;color:var(--soft)}
.bars{display:grid;grid-template-columns:fit-content(16rem) 1fr 3.25rem;gap:.4rem .75rem;
align-items:center;align-content:start;margin:1.5rem 0 0}
.bars figcaption{grid-column:1/-1;color:var(--soft);font-size:.8125rem}
.name{font-size:.875rem;line-height:1.25;overflow-wrap:anywhere}
.value{text-align:right;font-variant-numeric:tabular-nums;font-size:.875rem}
.bar{display:block;width:100%;height:18px}
.track{fill:var(--track)}.fill{fill:var(--fill)}.bar.quiet .fill{fill:var(--control)}
.whisker{stroke:var(--ink);stroke-width:2;stroke-linecap:round}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr));gap:0 2.5rem}
details{border-bottom:1px solid var(--line);padding:.5rem 0}
summary{cursor:pointer;font-weight:600;font-size:.9375rem}
details .scroll{margin:.5rem 0 .75rem}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,14.5rem),1fr));gap:1rem;
margin-top:.75rem}
article{background:var(--card);border:1px solid var(--line);border-radius:8px;overflow:hidden;
font-size:.8125rem;line-height:1.4}
article img{display:block;width:100%;aspect-ratio:1;object-fit:contain;image-rendering:pixelated;
background:#000}
article>div{padding:.6rem .75rem .75rem}
article p{color:var(--soft);margin:0 0 .5rem;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:auto 1fr;gap:.15rem .6rem;margin:0}
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere;min-width:0}
article dl{display:block}article dt{font-size:.75rem;line-height:1.3;margin-top:.3rem}
article dd{display:flex;justify-content:space-between;gap:.5rem}
article em{font-style:normal;font-weight:600;white-space:nowrap;font-size:.75rem}
.right{color:var(--right)}.wrong{color:var(--wrong)}
.panels{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr));
gap:1.25rem 2rem;margin-top:1rem}
.panels figure{margin:0;max-width:26rem}.panels figcaption{font-weight:600;font-size:.9375rem}
.panels svg{display:block;width:100%;color:var(--soft)}
.numbers{grid-template-columns:repeat(4,auto);grid-auto-flow:column;grid-template-rows:auto auto;
gap:0 .75rem;font-size:.8125rem;font-variant-numeric:tabular-nums}
.key{font-weight:600;white-space:nowrap}.key.positive{color:var(--positive)}
.key.negative{color:var(--negative)}
.settings{font-size:.875rem;gap:.35rem 1.25rem;font-variant-numeric:tabular-nums}
pre{margin:0;font:.8125rem/1.5 ui-monospace,"DejaVu Sans Mono",monospace;white-space:pre-wrap;
overflow-wrap:anywhere}
@media(max-width:34rem){body{padding:1.5rem 1rem 3rem}table{font-size:.875rem}
th,td{padding:.4rem .35rem}thead th{font-size:.75rem}small{font-size:.6875rem}
h1{font-size:1.4rem}.bars{grid-template-columns:1fr 3.25rem}
.bars .name{grid-column:1/-1;margin-bottom:-.3rem}
article{display:grid;grid-template-columns:9rem 1fr;align-items:start}
.settings{grid-template-columns:1fr;gap:0}.settings dd{margin-bottom:.5rem}}
@media print{article{break-inside:avoid}}
"""
