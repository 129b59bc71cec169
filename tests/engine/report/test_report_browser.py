"""A report in a real browser: tables that sort, the case viewer by mouse and keyboard, print, dark, a phone."""

import shutil

import pytest
from PIL import Image

from engine.console.sections import Section, Subject
from engine.report.page import page as make_page
from segloss_tests.reports import NAMES, make_ablation

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="needs Playwright (the extra dev)")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.usefixtures("rendered_figures"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory, module_program):
    folder = make_ablation(tmp_path_factory.mktemp("browser") / "arms")
    module_program("report", folder, check=0, cwd=folder)
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser, address):
    """The page, opened; what it asks for and complains of is checked at the end."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    asked, complaints = [], []
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    opened.goto(address)
    shown(opened, 0)
    yield opened
    context.close()
    assert [url for url in asked if not url.startswith("data:")] == [address]
    assert complaints == []


def shown(page, case):
    """Wait for the pictures of a case."""
    page.wait_for_selector(f".viewer[data-shown='{case}']")


def caption(page, panel):
    return page.locator(".panels figcaption").nth(panel).inner_text()


def slice_shown(page):
    return page.locator(".viewer output").inner_text()


def picture(page, panel=1):
    """The pixels of a panel, as text to be compared."""
    return page.evaluate("at => document.querySelectorAll('.panels canvas')[at].toDataURL()", panel)


def colour(page, panel, x, y):
    """RGB of a panel at a share of its width and height."""
    return page.evaluate(
        """([at, x, y]) => {
            const panel = document.querySelectorAll('.panels canvas')[at], pixel = document.createElement('canvas');
            const context = pixel.getContext('2d', {willReadFrequently: true});
            context.drawImage(panel, -Math.floor(x * panel.width), -Math.floor(y * panel.height));
            return Array.from(context.getImageData(0, 0, 1, 1).data).slice(0, 3);
        }""",
        [panel, x, y],
    )


def column(page, table, index):
    return table.locator("tbody tr").evaluate_all("(rows, at) => rows.map(row => row.cells[at].textContent)", index)


def test_tables_sort_by_mouse_and_by_keyboard(page):
    table = (
        page.locator("table.sortable", has=page.locator("th button", has_text="mistakes"))
        .or_(page.locator("table.sortable").last)
        .first
    )
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    before = column(page, table, 0)
    header = table.locator("thead th").first
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    assert column(page, table, 0) == sorted(before)
    header.locator("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert column(page, table, 0) == sorted(before, reverse=True)


def test_numbers_sort_as_numbers(page):
    values = page.evaluate(
        """() => {
            const table = document.querySelector('table.sortable');
            const texts = ['10.5', '-', '9', '<0.001', '-2 to 3', '+0.5', '2e-05'];
            const model = table.tBodies[0].rows[0];
            table.tBodies[0].replaceChildren(...texts.map(text => {
                const row = model.cloneNode(true);
                row.cells[1].textContent = text;
                return row;
            }));
            const button = table.querySelectorAll('th button')[1];
            const read = () => Array.from(table.tBodies[0].rows, row => row.cells[1].textContent);
            button.click();
            const rising = read();
            button.click();
            return [rising, read()];
        }"""
    )
    assert values == [
        ["-2 to 3", "2e-05", "<0.001", "+0.5", "9", "10.5", "-"],
        ["10.5", "9", "+0.5", "<0.001", "2e-05", "-2 to 3", "-"],
    ]


def test_slices_views_and_opacity_change_the_picture(page):
    assert slice_shown(page) == "4 of 0–5"  # with most mistakes
    page.locator(".opacity").fill("100")
    assert colour(page, 0, 0.59, 0.76) == [0xE6, 0x9F, 0x00]  # the gland of this slice, not of the one before
    page.locator(".slice").fill("3")
    assert colour(page, 0, 0.59, 0.76) != [0xE6, 0x9F, 0x00]
    page.locator(".slice").fill("4")
    errors = picture(page)
    page.locator(".slice").fill("0")
    assert slice_shown(page) == "0 of 0–5"
    assert picture(page) != errors
    page.locator(".slice").fill("4")
    assert picture(page) == errors
    pictures = {errors}
    for view in ("prediction", "reference", "image"):
        page.get_by_label(view, exact=True).check()
        pictures.add(picture(page))
    assert len(pictures) == 4
    page.get_by_label("prediction", exact=True).check()
    page.locator(".opacity").fill("0")
    clear = picture(page)
    page.get_by_label("image", exact=True).check()
    assert picture(page) == clear  # nothing lies over it


def test_what_is_drawn_is_what_is_wrong(page):
    """In slice 3 the disc's middle is at 0.53 of the width, its radius 8 of 48 columns; ce has it 10 to the right."""
    page.locator(".slice").fill("3")
    page.locator(".opacity").fill("100")
    missed, invented = [0x56, 0xB4, 0xE9], [0xD5, 0x5E, 0x00]
    assert colour(page, 1, 0.53 - 0.13, 0.53) == missed
    along = [colour(page, 1, 0.53 + 0.3 + step / 480, 0.53) for step in range(8)]
    assert invented in along
    assert any(found != invented for found in along)  # striped
    page.get_by_label("prediction", exact=True).check()
    assert colour(page, 0, 0.53 - 0.13, 0.53) == [0xE6, 0x9F, 0x00]  # the reference stays
    assert colour(page, 1, 0.53 + 0.3, 0.53) == [0xE6, 0x9F, 0x00]
    assert colour(page, 1, 0.53 - 0.13, 0.53) != [0xE6, 0x9F, 0x00]
    legend = page.locator(".legend li").all_inner_texts()
    assert legend == ["gland"]


def test_cases_and_arms_are_chosen(page):
    assert caption(page, 0) == "reference"
    assert caption(page, 1).startswith("ce: mDSC 0.")
    assert caption(page, 2).startswith("adfl: mDSC 0.")
    names = page.locator(".case option").all_inner_texts()
    assert names[0] == f"{NAMES[0]} (worst)"
    page.locator(".case").select_option("4")
    shown(page, 4)
    assert page.locator(".told").inner_text().startswith(names[4].split(" (")[0])
    page.locator(".thumbs button").nth(2).click()
    shown(page, 2)
    assert page.locator(".thumbs button[aria-current=true]").count() == 1
    page.locator(".arms").get_by_label("adfl").uncheck()
    assert page.locator(".panels figure:visible").count() == 2


def test_a_dot_leads_to_its_case(page):
    names = page.locator(".case option").all_inner_texts()
    where = names.index("p4")
    dots = page.locator("circle.linked[aria-label^='p4: ']")
    assert dots.count() == 2  # among the pairs, and among the sorted differences
    dots.first.dispatch_event("click")  # dots of equal scores lie over each other
    shown(page, where)
    page.locator(".case").select_option("0")
    shown(page, 0)
    dots.last.focus()
    page.keyboard.press("Enter")
    shown(page, where)
    assert page.evaluate("document.activeElement.classList.contains('viewer')")


def test_the_keyboard_alone_is_enough(page):
    for _ in range(200):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('viewer')"):
            break
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    page.keyboard.press("ArrowLeft")
    assert slice_shown(page) == "3 of 0–5"
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    assert slice_shown(page) == "5 of 0–5"
    page.keyboard.press("]")
    shown(page, 1)
    page.keyboard.press("[")
    shown(page, 0)
    page.keyboard.press("[")
    shown(page, len(NAMES) - 1)
    view = page.evaluate("document.querySelector('.views input:checked').value")
    page.keyboard.press("v")
    assert page.evaluate("document.querySelector('.views input:checked').value") != view
    page.keyboard.press("+")
    assert page.locator(".opacity").input_value() == "65"
    assert page.locator(".keys kbd").all_inner_texts() == ["←", "→", "[", "]", "v", "-", "+"]


def test_pictures_are_named_for_readers_that_cannot_see(page):
    label = page.locator(".panels canvas").nth(1).get_attribute("aria-label")
    assert label.startswith(f"{NAMES[0]}, slice 4, errors, ce: mDSC 0.")
    named = "all => all.every(one => one.alt || one.getAttribute('aria-label'))"
    assert page.locator("img, svg[role=img]").evaluate_all(named)
    unnamed = "all => all.filter(one => !one.labels.length && !one.ariaLabel).length"
    assert page.locator("input, select").evaluate_all(unnamed) == 0


def test_classes_are_read_off_under_the_pointer(page):
    page.locator(".slice").fill("3")
    page.locator(".panels canvas").nth(1).scroll_into_view_if_needed()
    box = page.locator(".panels canvas").nth(1).bounding_box()
    page.mouse.move(box["x"] + (0.53 - 0.13) * box["width"], box["y"] + 0.53 * box["height"])
    assert page.locator(".told").inner_text().endswith("here reference: gland, ce: background")


def test_markup_in_names_is_text(page):
    assert page.locator(f"text={NAMES[0]}").count() > 0
    assert page.evaluate("document.scripts.length") == 2


def test_print_has_all_cases_and_no_controls(page):
    page.emulate_media(media="print")
    assert page.locator(".controls").is_hidden()
    assert page.locator(".thumbs img:visible").count() == 2 * len(NAMES)
    assert page.pdf().startswith(b"%PDF")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_in_dark(page, scheme):
    page.emulate_media(color_scheme=scheme)
    ink, ground = (
        page.evaluate("key => getComputedStyle(document.body)[key].match(/\\d+/g).map(Number)", key)
        for key in ("color", "backgroundColor")
    )
    assert (sum(ground) > sum(ink)) == (scheme == "light")
    assert contrast(ink, ground) > 7
    text = page.evaluate("getComputedStyle(document.querySelector('.chart text')).fill.match(/\\d+/g).map(Number)")
    assert text[:3] == ink[:3]
    soft = page.evaluate("getComputedStyle(document.querySelector('.keys')).color.match(/\\d+/g).map(Number)")
    assert contrast(soft, ground) > 4.5


def contrast(one, other):
    """WCAG's contrast ratio of two colours."""

    def luminance(colour):
        linear = [c / 3294.6 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_pictures_of_a_data_check_fit_a_phone_and_stand_side_by_side_elsewhere(browser, tmp_path):
    charts = {}
    for name in ("typical", "smallest", "sizes"):
        charts[name] = tmp_path / f"{name}.png"
        Image.new("RGB", (506, 1000)).save(charts[name])
    sections = [Section("Samples", charts=charts)]
    (tmp_path / "check.html").write_text(make_page("the data", [Subject("the data", sections)]))
    opened = browser.new_page(viewport={"width": 390, "height": 800})
    opened.goto((tmp_path / "check.html").as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = [one.bounding_box() for one in opened.locator(".charts figure").all()]
    assert all(box["width"] > 300 for box in boxes)
    assert len({box["x"] for box in boxes}) == 1
    assert opened.locator("figcaption").first.bounding_box()["y"] < opened.locator("img").first.bounding_box()["y"]
    opened.set_viewport_size({"width": 1200, "height": 800})
    assert len({one.bounding_box()["x"] for one in opened.locator(".charts figure").all()}) == 3
    opened.close()


def test_a_phone_does_not_scroll_sideways(page):
    page.set_viewport_size({"width": 390, "height": 800})
    page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    wide = page.locator(".scroll").evaluate_all("all => all.some(one => one.scrollWidth > one.clientWidth)")
    assert wide  # the tables scroll in their own boxes
    heads = page.locator("table", has=page.locator("th", has_text="95 % CI")).first.locator("thead th")
    for at in range(5):  # metric, arm, difference, interval and p are seen without scrolling
        box = heads.nth(at).bounding_box()
        assert box["x"] + box["width"] <= 390, heads.nth(at).inner_text()
