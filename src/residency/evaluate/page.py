"""The shell of every page: one HTML file whose browser is told to refuse all addresses outside of it."""

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from residency.evaluate.charts import text
from residency.evaluate.style import CSS


@dataclass(frozen=True, kw_only=True, slots=True)
class Section:
    """A part of a page under its heading; empty `html` leaves it out."""

    heading: str
    html: str

    @property
    def anchor(self) -> str:
        """Its address within the page."""
        return re.sub(r"[^a-z0-9]+", "-", self.heading.lower()).strip("-")


def page(
    title: str,
    sections: Sequence[Section],
    *,
    lead: str = "",
    css: str = "",
    script: str = "",
) -> str:
    """The file's text. `lead`, `css` and `script` are HTML, CSS and JavaScript of ours, never data.

    The policy names the hash of the script, so nothing that came in as data can run.
    """
    shown = [section for section in sections if section.html]
    links = "".join(f'<a href="#{s.anchor}">{text(s.heading)}</a>' for s in shown)
    contents = f'<nav aria-label="Contents">{links}</nav>' if len(shown) > 2 else ""
    body = "".join(
        f'<section id="{s.anchor}"><h2>{text(s.heading)}</h2>{s.html}</section>' for s in shown
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_policy(script)}">'
        f"<title>{text(title)}</title><style>{CSS}{css}</style></head>"
        f"<body><header><h1>{text(title)}</h1>{lead}{contents}</header><main>{body}</main>"
        f"{f'<script>{script}</script>' if script else ''}</body></html>\n"
    )


def _policy(script: str) -> str:
    allowed = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
        allowed += f"; script-src 'sha256-{digest}'"
    return allowed
