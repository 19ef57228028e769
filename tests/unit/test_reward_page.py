"""docs/reward_terms.md: what the library says is what is committed."""

from xml.etree import ElementTree

import pytest

from regrasp.reward_page import PAGE, PLOTS, docs_of, page, plots
from residual.library import LIBRARY
from residual.term import Term

TERMS = tuple(LIBRARY.terms.values())


def test_the_page_of_terms_is_what_the_code_says() -> None:
    assert page() == PAGE.read_text(encoding="utf-8"), "run `python -m regrasp.reward_page`"


def test_the_plots_of_terms_are_what_the_code_draws() -> None:
    committed = {one.name: one.read_text(encoding="utf-8") for one in PLOTS.glob("*.svg")}
    assert plots() == committed, "run `python -m regrasp.reward_page`"


@pytest.mark.parametrize("term", TERMS, ids=lambda t: t.name)
def test_a_docstring_gives_range_formula_every_argument_and_source(term: Term) -> None:
    docs = docs_of(term)
    assert ("[0, 1]" if term.kind == "value" else "[-1, 0]") in docs.text
    assert "dimensionless" in docs.text
    assert docs.formula
    assert docs.source.endswith(".")
    assert set(docs.arguments) == {"state" if term.kind == "value" else "step", *(p.name for p in term.parameters)}
    for parameter in term.parameters:
        unit = getattr(parameter, "unit", "1")
        assert unit == "1" or f"[{unit}]" in docs.arguments[parameter.name]


@pytest.mark.parametrize("name", list(LIBRARY.terms))
def test_a_plot_is_a_small_well_formed_picture(name: str) -> None:
    text = plots()[f"{name}.svg"]
    curve = ElementTree.fromstring(text).find("{http://www.w3.org/2000/svg}polyline")
    assert curve is not None
    points = [tuple(map(float, p.split(","))) for p in curve.attrib["points"].split()]
    assert all(30 <= x <= 300 and 5 <= y <= 120 for x, y in points)
    assert len(text) < 4000
