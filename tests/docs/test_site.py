"""The pages as a site: built without a warning, whole without another host, and as GitHub shows them."""

import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt

from segloss_tests import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
SHAPE = ("h1", "h2", "h3", "p", "ul", "ol", "li", "table", "th", "td", "em", "strong", "img", "pre")
"""What a page is made of; the two renderers disagree where blank lines or indents are missing."""


class Elements(HTMLParser):
    """The elements of the article of a page, and what a browser would fetch for the whole of it."""

    def __init__(self, html):
        super().__init__()
        self.counted, self.fetched = Counter(), []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.counted[tag] += 1
        names = {"link": ("href",), "a": ()}.get(tag, ("src", "srcset", "data", "poster"))
        self.fetched += [value for name, value in attributes if name in names and value]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(
        build, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert (built.returncode, built.stdout + built.stderr) == (0, "")
    return folder


@pytest.mark.slow
def test_every_page_is_there_and_no_source(site):
    assert {path.stem for path in PAGES} | {"404"} == {path.stem for path in site.glob("*.html")}
    assert not [*site.rglob("*.py")]
    assert not (site / "examples").exists()


@pytest.mark.slow
def test_nothing_is_fetched_from_another_host(site):
    fetched = [url for page in site.glob("*.html") for url in Elements(page.read_text()).fetched]
    for sheet in site.rglob("*.css"):
        fetched += re.findall(r"url\(\s*['\"]?([^)'\"]+)|@import\s+['\"]([^'\"]+)", sheet.read_text())
    assert len(fetched) > 100
    assert not [url for url in fetched if re.match(r"(?:\w+:)?//", "".join(url))]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_reads_as_on_github(page, site):
    html = (site / f"{page.stem}.html").read_text()
    ours = Elements(html[html.index("<article") : html.index("</article>")]).counted
    theirs = Elements(MarkdownIt("commonmark").enable("table").render(page.read_text())).counted
    assert {tag: ours[tag] for tag in SHAPE} == {tag: theirs[tag] for tag in SHAPE}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_no_gap_and_no_formula_read_as_emphasis(page):
    assert not re.findall(r"\{[A-Z_]{3,}\}", page.read_text())
    html = MarkdownIt("commonmark").enable("table").render(page.read_text())
    assert not [text for text in re.findall(r"<em>(.*?)</em>", html) if re.search(r"[_(){}=−]", text)]


@pytest.mark.slow
def test_a_file_that_is_no_page_is_shown_as_its_path(site):
    html = (site / "index.html").read_text()
    assert "a loop in PyTorch (<code>docs/examples/torch_loop.py</code>)" in html
    assert 'href="examples' not in html
