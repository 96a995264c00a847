"""MkDocs hook: turns the formulas of a page into MathML, which a browser shows without a script or a network.

The extension ``pymdownx.arithmatex`` marks ``$...$`` and ``$$...$$``; this hook converts what it marked.
"""

import html
import logging
import re
from typing import Any

from latex2mathml.converter import convert

LOG = logging.getLogger("mkdocs.hooks.formulas")
MARKED = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[(\[](?P<formula>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
LEFT_OVER = re.compile(r":math:|\.\. math::")


def to_mathml(formula: str, display: str) -> str:
    """Return the MathML of a formula in LaTeX.

    Args:
        formula: LaTeX without delimiters.
        display: ``inline`` or ``block``.
    """
    return convert(formula.strip(), display=display)


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Return the page with MathML for LaTeX; a strict build fails where a formula cannot be converted."""

    def replace(found: re.Match[str]) -> str:
        formula = html.unescape(found["formula"])
        block = found["tag"] == "div"
        try:
            mathml = to_mathml(formula, "block" if block else "inline")
        except Exception as error:
            LOG.warning("%s: the formula %r cannot be converted: %s", page.file.src_uri, formula, error)
            return found[0]
        return f'<div class="formula">{mathml}</div>' if block else mathml

    if left := LEFT_OVER.search(content):
        LOG.warning("%s: %r is not Markdown; write $...$ or $$...$$", page.file.src_uri, left[0])
    return MARKED.sub(replace, content)
