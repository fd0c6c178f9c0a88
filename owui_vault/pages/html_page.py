"""The page to look at: one HTML file that needs nothing else, no script and no other host."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from owui_vault.pages.charts import HEIGHT, WIDTH
from owui_vault.pages.page_values import PageFacts
from owui_vault.pages.view import view
from owui_vault.pages.wording import printable

_TEMPLATE = "page.html.j2"


def html_page(facts: PageFacts) -> str:
    """All of it."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(_TEMPLATE).render(view=view(facts), chart_width=WIDTH, chart_height=HEIGHT)


def _shown(value: object) -> object:
    """What is no text for people, such as marks that turn the direction of a line, is shown as what it is."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value
