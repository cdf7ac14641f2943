"""The sheet on which people judge synthetic tasks: a table to fill in, and a form that saves the same.

What comes back is read, and compared with other raters and with the judge model, by `agreement.py`.
"""

import base64
import csv
import hashlib
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from residency.evaluate.store import write_whole
from residency.synthesis.criteria import CRITERIA, MARKS
from residency.types import Picture

CSV, FORM, BY_MODEL = "sheet.csv", "sheet.html", "judged.csv"
GIVEN = ("id", "caption", "instruction", "response")
RATED = ("type", *CRITERIA)
WIDEST = 448  # pixels of an image in the form
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Judged(NamedTuple):
    """One task to be judged, with the caption of its image ("" where there is none)."""

    id: str
    pictures: tuple[Picture, ...]
    caption: str
    instruction: str
    response: str


def write_sheet(folder: Path, chosen: Sequence[Judged], types: Sequence[str]) -> None:
    """`sheet.csv` with empty columns to fill, and `sheet.html`, the same as a form with images."""
    write_table(folder / CSV, chosen, [{}] * len(chosen))
    columns = (*GIVEN, *RATED)
    identity = hashlib.sha256(repr([one[2:] for one in chosen]).encode()).hexdigest()[:16]
    cards = "\n".join(_card(n, one, types) for n, one in enumerate(chosen))
    page = _PAGE.replace("{columns}", ",".join(columns)).replace("{identity}", identity)
    write_whole(folder / FORM, page.replace("{cards}", cards))


def write_table(
    path: Path, chosen: Sequence[Judged], marks: Sequence[Mapping[str, str | None]]
) -> None:
    """The table with what was marked so far; a byte order mark tells spreadsheets that it is UTF-8."""
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerow((*GIVEN, *RATED))
    for one, marked in zip(chosen, marks, strict=True):
        texts = map(_harmless, (one.caption, one.instruction, one.response))
        writer.writerow([one.id, *texts, *(marked.get(name) or "" for name in RATED)])
    write_whole(path, "\ufeff" + lines.getvalue())


def _harmless(text: str) -> str:
    """Text that a spreadsheet does not take for a formula: a model wrote it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _card(number: int, one: Judged, types: Sequence[str]) -> str:
    options = "".join(f"<option>{html.escape(name)}</option>" for name in types)
    caption = html.escape(one.caption)
    told = f"<p><small>caption</small> <span class=caption>{caption}</span></p>" if caption else ""
    return (
        f"<section data-id='{html.escape(one.id, quote=True)}'><h2>{number + 1}</h2>"
        f"{''.join(map(_image, one.pictures))}{told}"
        f"<p><small>task</small> <b class=instruction>{html.escape(one.instruction)}</b></p>"
        f"<p><small>response</small> <span class=response>{html.escape(one.response)}</span></p>"
        f"<p><label>type: <select name='{number}-type'><option></option>{options}</select></label></p>"
        f"{''.join(_marks(number, *criterion) for criterion in CRITERIA.items())}</section>"
    )


def _marks(number: int, name: str, text: str) -> str:
    choices = " ".join(
        f"<label><input type=radio name='{number}-{name}' value={mark}>{mark}</label>"
        for mark in MARKS
    )
    return f"<fieldset><legend>{name}</legend>{choices}<br><small>{html.escape(text)}</small></fieldset>"


def _image(picture: Picture) -> str:
    image = picture.load()
    image.thumbnail((WIDEST, WIDEST))
    data = io.BytesIO()
    image.convert("RGB").save(data, format="JPEG", quality=90)
    coded = base64.b64encode(data.getvalue()).decode()
    return f"<img alt='image of the task' src='data:image/jpeg;base64,{coded}'>"


_PAGE = """<!doctype html><html lang=en><meta charset=utf-8>
<meta name=viewport content="width=device-width"><title>Judge synthetic tasks</title>
<style>body{font:16px sans-serif;max-width:46em;margin:2em auto;padding:0 1em 4em}
section{border-top:1px solid #999;padding:1em 0}section.done h2{color:#186a3b}img{max-width:100%}
.caption,.instruction,.response{white-space:pre-wrap}small{color:#595959}
fieldset{border:0;padding:.3em 0;margin:0}
legend{padding:0;font-weight:bold}label{margin-right:1em}
footer{position:fixed;bottom:0;left:0;right:0;background:#fff;border-top:1px solid #999;padding:.6em 1em}
</style>
<h1>Judge synthetic tasks</h1><p>Choose a type and three marks for every task, then save the table. What
you chose stays in this browser until then.</p>
{cards}
<footer><button onclick=save()>save the table</button> <span id=count></span></footer>
<script>
const columns="{columns}".split(","),store="residency-sheet-{identity}";
const sections=[...document.querySelectorAll("section")];
const fields=[...document.querySelectorAll("select,input")];
const value=(n,name)=>{
  const one=document.querySelector(`select[name='${n}-${name}'],input[name='${n}-${name}']:checked`);
  return one?one.value:"";
};
const quote=text=>'"'+text.replaceAll('"','""')+'"';
const harmless=text=>/^[=+\\-@\\t\\r]/.test(text)?"'"+text:text;
const text=(one,name)=>harmless((one.querySelector("."+name)||{textContent:""}).textContent);
const rated=columns.slice(4);
function count(){
  let done=0;
  sections.forEach((one,n)=>{
    const all=rated.every(name=>value(n,name));
    one.classList.toggle("done",all);done+=all;
  });
  document.getElementById("count").textContent=`${done} of ${sections.length} judged`;
}
function keep(){
  const kept={};
  fields.forEach(f=>{if(f.type==="radio"?f.checked:f.value)kept[f.name]=f.value});
  try{localStorage.setItem(store,JSON.stringify(kept))}catch{}
  count();
}
try{
  const kept=JSON.parse(localStorage.getItem(store)||"{}");
  fields.forEach(f=>{if(f.type==="radio")f.checked=kept[f.name]===f.value;else f.value=kept[f.name]||""});
}catch{}
document.addEventListener("change",keep);count();
function save(){
  const rows=[columns.join(",")];
  sections.forEach((one,n)=>rows.push([one.dataset.id,text(one,"caption"),text(one,"instruction"),
    text(one,"response"),...rated.map(name=>value(n,name))].map(quote).join(",")));
  const link=document.createElement("a");
  link.href=URL.createObjectURL(new Blob(["\\ufeff"+rows.join("\\r\\n")+"\\r\\n"],{type:"text/csv"}));
  link.download="rated.csv";link.click();
}
</script>
"""
