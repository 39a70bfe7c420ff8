"""A report as HTML, opened in a real browser: all of it is there, and nothing leaves it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.browser import chromium
from support.pages import NASTY, nasty_page

from governor.journal.reports.html import POLICY, line, render
from governor.journal.reports.page import Chart, Column, Fact, Page, Series, Table
from governor.journal.reports.showing import show

WIDTHS = (400, 800, 1400)
MAILABLE = 500_000


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@cache
def made_once():
    """The nasty page as HTML."""
    return render(nasty_page())


def opened(browser, folder, width=1400, scheme="light"):
    """Open the nasty page at a width, in a light or a dark browser."""
    file = folder / "page.html"
    file.write_text(made_once(), encoding="utf-8", newline="")
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(file.as_uri())
    return file


def shown(browser, selector):
    """The texts of the elements that a selector finds, as they stand in the document."""
    script = "return [...document.querySelectorAll(arguments[0])].map(one => one.textContent)"
    return browser.execute_script(script, selector)


def test_every_figure_of_the_page_is_there(browser, tmp_path):
    """Each fact, each cell of each table and total, and value of each chart is there, in order."""
    page = nasty_page()
    opened(browser, tmp_path)
    facts = [one for one in page.sections if isinstance(one, Fact)]
    tables = [one for one in page.sections if isinstance(one, Table)]
    charts = [one for one in page.sections if isinstance(one, Chart) and one.labels]
    assert shown(browser, ".facts .value") == [line(show(one.value, one.unit, page.zone)) for one in facts]
    rows = [row for one in tables for row in (*one.rows, *([one.total] if one.total else []))]
    units = [column.unit for column in tables[0].columns]
    cells = [
        line(show(value, unit, page.zone)) for row in rows for value, unit in zip(row, units, strict=True)
    ]
    assert (
        shown(browser, "table.rows tbody th, table.rows tbody td, table.rows tfoot th, table.rows tfoot td")
        == cells
    )
    drawn = [line(show(value, one.unit)) for one in charts for row in zip(
        *(series.values for series in one.series), strict=True) for value in row]  # fmt: skip
    assert shown(browser, "table.values tbody td") == drawn


def test_no_name_does_anything(browser, tmp_path):
    """Markup, scripts and templates in names are text: no element of theirs is in the document."""
    opened(browser, tmp_path)
    assert (
        browser.execute_script("return document.querySelectorAll('script, img, iframe, object, link').length")
        == 0
    )
    assert any("{{ 7 * 7 }}" in cell for cell in shown(browser, "th"))
    assert NASTY[0] in shown(browser, "h1")[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows_at_any_width(browser, tmp_path, width, scheme):
    """No element reaches beyond the window's edge, and the page does not scroll sideways."""
    opened(browser, tmp_path, width, scheme)
    beyond = browser.execute_script(
        "const hidden = head => head && getComputedStyle(head).clipPath !== 'none';"
        "return [...document.querySelectorAll('main *')]"
        ".filter(one => !one.closest('svg') && !hidden(one.closest('thead')) && "
        "one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 200))"
    )
    assert beyond == []
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("width", [400, 1400])
def test_one_drawing_of_each_chart_is_seen_and_its_labels_are_inside(browser, tmp_path, width):
    """Wide windows show the wide drawing, narrow ones the narrow; no word is under 9 pixels."""
    opened(browser, tmp_path, width)
    seen = browser.execute_script(
        "return [...document.querySelectorAll('.plot')].map(one => [...one.querySelectorAll('svg')]"
        ".filter(svg => svg.getBoundingClientRect().width > 0).length)"
    )
    assert set(seen) == {1}
    assert len(seen) == 4
    small = browser.execute_script(
        "return [...document.querySelectorAll('svg text')].map(one => one.getBoundingClientRect())"
        ".filter(box => box.width > 0).map(box => box.height).filter(height => height < 9)"
    )
    assert small == []


def test_nothing_leaves_the_page_and_nothing_is_complained_of(browser, tmp_path):
    """The only request is for the file itself, and the console has no error, not of the policy either."""
    file = opened(browser, tmp_path)
    messages = [json.loads(one["message"])["message"] for one in browser.get_log("performance")]
    asked = {
        one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"
    }
    assert asked == {file.as_uri()}
    assert browser.get_log("browser") == []


def test_colours_follow_the_scheme_and_can_be_read(browser, tmp_path):
    """Text differs from its background by WCAG's 4.5 : 1, lines by 3 : 1, in light and in dark."""
    for scheme in ("light", "dark"):
        opened(browser, tmp_path, 1400, scheme)
        names = ("paper", "card", "ink", "soft", "limit", "c0", "c1", "c2", "c3", "c4")
        script = (
            "const s = getComputedStyle(document.documentElement);"
            "return arguments[0].map(name => s.getPropertyValue('--' + name).trim())"
        )
        colours = dict(zip(names, browser.execute_script(script, names), strict=True))
        for ground in ("paper", "card"):
            for name in names[2:]:
                least = 4.5 if name in ("ink", "soft") else 3
                assert contrast(colours[name], colours[ground]) >= least, (scheme, name, ground)


def test_it_is_accessible(browser, tmp_path):
    """Headings skip no level; every column and row has its scope, every chart says itself."""
    opened(browser, tmp_path)
    levels = browser.execute_script(
        "return [...document.querySelectorAll('h1,h2,h3')].map(one => +one.tagName[1])"
    )
    assert levels[0] == 1
    assert set(levels[1:]) == {2}
    assert browser.execute_script("return document.querySelectorAll('th:not([scope])').length") == 0
    labels = browser.execute_script(
        "return [...document.querySelectorAll('[role=img]')].map(one => one.ariaLabel)"
    )
    assert all(re.match(r".*(Line|Bar) chart", label, re.DOTALL) for label in labels)
    assert browser.execute_script("return document.documentElement.lang") == "en"
    twice = (
        "const ids = [...document.querySelectorAll('[id]')].map(one => one.id);"
        "return ids.length - new Set(ids).size"
    )
    assert browser.execute_script(twice) == 0
    lost = (
        "return [...document.querySelectorAll('use')].map(one => one.getAttribute('xlink:href'))"
        ".filter(href => !document.getElementById(href.slice(1))).length"
    )
    assert browser.execute_script(lost) == 0


def test_it_prints_on_paper(browser, tmp_path):
    """Printed from a dark screen it is dark on white, and nothing is cut at the side."""
    opened(browser, tmp_path, 1400, "dark")
    features = [{"name": "prefers-color-scheme", "value": "dark"}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": features})
    script = "return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    assert browser.execute_script(script) == ["rgb(255, 255, 255)", "rgb(27, 36, 48)"]
    printed = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert len(printed["data"]) > 10_000


# Without a browser.


def test_it_can_be_mailed():
    """Five thousand users with long names make less than 500 kB; the table says how many it leaves out."""
    made = render(nasty_page(5_000))
    assert len(made.encode()) < MAILABLE
    assert re.search(r"4,[0-9]{3} more are left out", made)


def test_the_policy_forbids_everything_but_inline_styles_and_data_images():
    """The first tag after the character set is a content policy that lets nothing be loaded or run."""
    made = made_once()
    assert made.index(POLICY.split(";")[0].replace("'", "&#39;")) < made.index("<style>")
    assert "<script>" not in made
    assert not re.search(r"(?:src|action|srcset)=", re.sub(r"&lt;.*?&gt;", "", made).replace("&#34;", ""))
    assert not re.search(r"@import|url\((?!#)", made)


def test_made_again_it_is_the_same():
    """The same report makes the same bytes, so that a copy can be compared."""
    assert render(nasty_page()) == made_once()


def test_without_the_extra_it_says_what_to_install():
    """Where jinja2 or matplotlib is missing, the error names the extra."""
    code = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "try:\n import governor.journal.reports.html\n"
        "except ImportError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "pip install 'claude-governor[report]'" in done.stdout


values = st.none() | st.integers(-(10**16), 10**16) | st.floats(-1e9, 1e9)
texts = st.sampled_from(NASTY) | st.text(max_size=20)


@settings(max_examples=4)
@given(
    labels=st.lists(texts, max_size=30),
    kind=st.sampled_from(["line", "bar"]),
    unit=st.sampled_from(["usd", "count", "ms", "percent", "ratio", "tokens"]),
    limit=st.none() | st.integers(0, 10**13),
    data=st.data(),
)
def test_any_chart_can_be_drawn(labels, kind, unit, limit, data):
    """Whatever labels and values a chart has, gaps and numbers below 0 among them, a page is made of it."""
    series = [
        Series(data.draw(texts), tuple(data.draw(values) for _ in labels))
        for _ in range(data.draw(st.integers(0, 3)))
    ]
    chart = Chart("c", data.draw(texts), kind, tuple(labels), tuple(series), unit, limit)
    made = render(Page("k", "t", "o", 0, "s", (chart,)))
    assert made.startswith("<!doctype html>")
    assert "\x00" not in made
    made.encode()


def test_a_page_without_anything_is_a_page():
    """An empty report is a heading and nothing else."""
    made = render(replace(nasty_page(), sections=(Table("t", "Empty", (Column("a", "A"),), ()),)))
    assert "There is nothing to show." in made


def contrast(one, other):
    """WCAG's ratio of two colours, `#rrggbb`."""
    bright = sorted((luminance(one), luminance(other)))
    return (bright[1] + 0.05) / (bright[0] + 0.05)


def luminance(colour):
    """WCAG's relative luminance."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
