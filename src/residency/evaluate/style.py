"""The report page's style sheet: light and dark, from a phone to a wide screen."""

CSS = """
:root{color-scheme:light dark;--paper:#fcfcfb;--card:#fff;--ink:#1b1f24;--soft:#5b6470;
--line:#e3e5e8;--fill:#3b6fd4;--control:#a9b0ba;--track:#eef0f2;--positive:#2a62cc;--negative:#c2560c;
--right:#18794e;--wrong:#c0271e;--onfill:#fff;--blank:#8a5a00;--blankfill:#fff6df;
--s0:#0b62b0;--s1:#c2560c;--s2:#0f7d5c;--s3:#a8418a;--s4:#6b5d00;--chance:#5b6470}
@media(prefers-color-scheme:dark){:root{--paper:#14171a;--card:#1c2024;--ink:#e7eaee;--soft:#9aa4b0;
--line:#30363d;--fill:#6c9bf5;--control:#66707c;--track:#262b31;--positive:#7aa7ff;--negative:#f0914a;
--right:#4cc38a;--wrong:#ff8078;--onfill:#0d1117;--blank:#f2c14e;--blankfill:#2b2412;
--s0:#6cb2ff;--s1:#ff9a55;--s2:#4fd1a5;--s3:#f28bd2;--s4:#d8c34a;--chance:#9aa4b0}}
*{box-sizing:border-box}
body{margin:0 auto;padding:2.5rem 1.25rem 4rem;max-width:68rem;background:var(--paper);
color:var(--ink);font:16px/1.5 system-ui,"Segoe UI",Roboto,"Liberation Sans",sans-serif;
-webkit-text-size-adjust:100%}
h1,h2,h3,h4{overflow-wrap:anywhere}
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
article>svg,.strip svg{display:block;width:100%;aspect-ratio:1;background:#000}
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
.key i{display:inline-block;width:.7em;height:.7em;border-radius:2px;margin:0 .3em 0 .6em}
.key i:first-child{margin-left:0}
article small{white-space:normal;overflow-wrap:anywhere;margin-top:.4rem}
.key{font-weight:600;white-space:nowrap}.key.positive{color:var(--positive)}
.key.negative{color:var(--negative)}
.settings{font-size:.875rem;gap:.35rem 1.25rem;font-variant-numeric:tabular-nums}
pre{margin:0;font:.8125rem/1.5 ui-monospace,"DejaVu Sans Mono",monospace;white-space:pre-wrap;
overflow-wrap:anywhere}
[hidden]{display:none!important}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1rem;margin-top:1rem;font-size:.875rem}
a{color:var(--positive)}:focus-visible{outline:2px solid var(--positive);outline-offset:2px}
h4{font-size:.9375rem;margin:1.25rem 0 .25rem}ul{padding-left:1.2rem;font-size:.875rem}
code{font:.8em ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.few th,.few td,.few td b,.spoke.few{color:var(--soft);font-weight:400;font-style:italic}
.matrix{width:auto;font-size:.8125rem}.matrix td,.matrix th{padding:.3rem .45rem;border:0}
.matrix td{text-align:center;min-width:2.4rem;border-radius:3px;
background:color-mix(in srgb,var(--fill) var(--heat,0%),transparent)}
.matrix td.hot{color:var(--onfill)}.matrix .right-answer{outline:1.5px solid var(--ink);outline-offset:-2px}
.matrix thead th{vertical-align:bottom;padding-bottom:.5rem}
.matrix thead span{writing-mode:vertical-rl;transform:rotate(180deg);text-align:left;max-height:11rem}
.matrix tbody th{text-align:right;font-weight:500;padding-left:0}
.learned table{table-layout:fixed;width:100%}.learned td:first-child{text-align:left;overflow-wrap:anywhere}
.learned th:first-child,.learned td:first-child{width:68%}.learned td svg{width:2rem;height:.5rem}
.learned polyline{fill:none;stroke:var(--s);stroke-width:1.6}.learned circle{fill:var(--s)}
.learned figure>svg text{fill:var(--soft);font-size:10px}
.radar{margin:1.5rem 0}.radar figcaption{color:var(--soft);font-size:.8125rem}
.legend{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;font-size:.875rem;margin:.5rem 0}
.legend span{display:inline-flex;align-items:center;gap:.4rem}.legend svg{width:34px;height:12px}
.web{width:100%;max-width:30rem;align-self:start}.web text{font-size:12px;fill:var(--ink)}
.web text.few{fill:var(--soft);font-style:italic}.web text.tick{font-size:10px;fill:var(--soft)}
.grid{fill:none;stroke:var(--line)}.chance{fill:none;stroke:var(--chance);stroke-width:1.5;
stroke-dasharray:3 3}svg.chance line{stroke:var(--chance);stroke-width:1.5;stroke-dasharray:3 3}
.s0{--s:var(--s0)}.s1{--s:var(--s1)}.s2{--s:var(--s2)}.s3{--s:var(--s3)}.s4{--s:var(--s4)}
.web g polygon:not(.mark){fill:var(--s);fill-opacity:.07;stroke:var(--s);stroke-width:2}
.legend line{stroke:var(--s);stroke-width:2}.mark{fill:var(--s,var(--fill))}
.spokes{display:grid;grid-template-columns:1fr 2.75rem;gap:.15rem .6rem;align-items:center;
align-content:start;font-size:.8125rem}.spoke{grid-column:1/-1;margin-top:.5rem}
.spoke small{display:inline;margin-left:.3rem}.spokes .value{font-size:.8125rem;line-height:1}
.thin{display:block;width:100%;height:10px}line.chance{stroke-dasharray:none;stroke-width:2}
.reliability{max-width:19rem}.reliability text{font-size:11px;fill:var(--soft)}
.frame{fill:none;stroke:var(--line)}.ideal{stroke:var(--soft);stroke-dasharray:4 4}
.band{fill:var(--fill);opacity:.16}.band-edge{stroke:var(--fill);stroke-width:6;opacity:.22}
.curve{fill:none;stroke:var(--fill);stroke-width:2}
.outside{fill:var(--paper);stroke:var(--wrong);stroke-width:2.5}
.shape,.rim{fill:none;stroke:var(--stroke,#fff);stroke-width:2;vector-effect:non-scaling-stroke}
.rim{stroke:#000;stroke-width:4}.said{stroke-dasharray:5 3;filter:drop-shadow(0 0 1px #000)}
.swatch{display:inline-block;width:1rem;height:0;border-top:2px dashed var(--stroke);margin-right:.35rem;
vertical-align:middle;filter:drop-shadow(0 0 1px #0008)}
.strip{display:flex;overflow-x:auto;scroll-snap-type:x proximity;gap:2px;background:#000;padding:0!important}
.strip figure{flex:0 0 72%;margin:0;scroll-snap-align:start}
.wide{grid-column:1/-1}.wide .strip{flex-wrap:wrap}.wide .strip figure{flex:0 0 calc(33.33% - 2px)}
.wide .shape{stroke-width:1.25}.wide .rim{stroke-width:2.5}.wide dl{max-width:46rem}
.tie{fill:none;stroke:var(--stroke,#fff);stroke-width:1;opacity:.85;vector-effect:non-scaling-stroke}
.strip figcaption{color:#c9d1d9;font-size:.6875rem;padding:.15rem .4rem}
.bad{display:grid;place-items:center;aspect-ratio:1;padding:1rem;background:var(--track);
color:var(--wrong);overflow-wrap:anywhere;text-align:center}
.filters{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center;font-size:.875rem;margin:.75rem 0}
.filters select{font:inherit;color:inherit;background:var(--card);border:1px solid var(--line);
border-radius:6px;padding:.3rem .5rem;max-width:100%}
.filters output{color:var(--soft)}.mute{color:var(--soft)}.open{color:var(--soft)}
.checklist td,.checklist th{text-align:left;font-weight:400;overflow-wrap:anywhere}
.checklist th:first-child,.checklist td:first-child{white-space:nowrap;padding-right:.5rem}
.checklist tbody th{min-width:11rem;font-weight:500}
.blank{color:var(--blank);background:var(--blankfill);font-style:italic}
.hashes{display:block}.hashes dd{margin-bottom:.4rem}
@media(max-width:34rem){.wide .strip{flex-wrap:nowrap}.wide .strip figure{flex-basis:72%}
body{padding:1.5rem 1rem 3rem}table{font-size:.875rem}
th,td{padding:.4rem .35rem}thead th{font-size:.75rem}small{font-size:.6875rem}
h1{font-size:1.4rem}.bars{grid-template-columns:1fr 3.25rem}
.bars .name{grid-column:1/-1;margin-bottom:-.3rem}
.settings{grid-template-columns:1fr;gap:0}.settings dd{margin-bottom:.5rem}}
@media print{article{break-inside:avoid}}
"""
