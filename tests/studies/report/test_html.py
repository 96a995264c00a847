import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from research.studies.report.write import write_report

HOSTILE = "<script>alert(1)</script>"
SORT_TWICE = """<script>
const headers = [...document.querySelector(".sortable").tHead.rows[0].cells];
const accuracy = headers.find((cell) => cell.textContent.startsWith("test accuracy"));
const rows = document.querySelector(".sortable tbody").rows;
const order = () => [...rows].map((row) => row.cells[0].textContent);
const seen = [order()];
for (let i = 0; i < 2; i++) { accuracy.querySelector("button").click(); seen.push(order()); }
const fits = document.scrollingElement.scrollWidth <= innerWidth;
document.title = JSON.stringify([seen, accuracy.ariaSort, fits]);
</script>"""


@pytest.fixture(scope="module")
def page(tmp_path_factory, write, make_plan):
    folder = tmp_path_factory.mktemp("html")
    for depth, accuracy in ((1, 0.95), (2, 0.9), (3, 1.0)):
        for seed in range(2):
            study = make_plan(
                f"depth {depth}", ["depth 1", "depth 2", "depth 3", "depth 4"], question=HOSTILE
            )
            write(folder / f"{depth}{seed}", study, seed, accuracy - 0.01 * seed)
    write(folder / "bad", make_plan(HOSTILE), 0, status="failed", error=HOSTILE, model={"name": HOSTILE})
    write_report(folder)
    return folder / "report.html"


class Reader(HTMLParser):
    """Collects tags, what they would load, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "srcset", "data")]


def test_one_file_that_loads_nothing(page):
    reader = Reader(page.read_text())
    images = [load for load in reader.loads if not load.startswith("#")]
    assert len(images) == reader.tags.count("img") >= 4
    for image in images:
        assert image.startswith("data:image/svg+xml;base64,")
        assert base64.b64decode(image.partition(",")[2]).startswith(b"<?xml")
    assert "http" not in re.sub(r"data:[^\"]*|http-equiv", "", page.read_text())


def test_names_are_escaped(page):
    text = page.read_text()
    assert Reader(text).tags.count("script") == 1
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4


def test_every_seed_is_in_the_table(page):
    assert Reader(page.read_text()).tags.count("circle") == 6


FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
)
needs_browser = pytest.mark.skipif(
    shutil.which("chromium") is None, reason="there is no chromium to open the page in"
)


def browse(page, folder, *flags):
    """Open the page; give what the browser wrote, which must be no console message."""
    command = ["chromium", *FLAGS, f"--user-data-dir={folder / 'profile'}", *flags, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "CONSOLE" not in done.stderr
    return done


@needs_browser
@pytest.mark.parametrize(
    ("width", "flags", "shade"), [(1200, (), 251), (1200, ("--force-dark-mode",), 24), (500, (), 251)]
)
@pytest.mark.integration
def test_a_screenshot_in_light_dark_and_narrow(page, tmp_path, width, flags, shade):
    picture = tmp_path / "page.png"
    browse(page, tmp_path, f"--window-size={width},900", f"--screenshot={picture}", *flags)
    pixels = np.asarray(Image.open(picture).convert("L"))
    assert pixels.shape[1] == width
    assert np.median(pixels[:, :12]) == pytest.approx(shade, abs=2)  # the margin has the page's colour
    assert pixels.std() > 10


@pytest.mark.integration
@needs_browser
def test_in_a_browser(page, tmp_path):
    copy = tmp_path / "report.html"
    copy.write_text(page.read_text().replace("</body>", f"{SORT_TWICE}</body>"))
    done = browse(copy, tmp_path, "--window-size=500,900", "--dump-dom")
    title = re.search("<title>(.*?)</title>", done.stdout)
    assert title is not None
    planned = ["depth 1", "depth 2", "depth 3", "depth 4", "&lt;script&gt;alert(1)&lt;/script&gt;"]
    first, second, third, fourth, hostile = (f'"{name}"' for name in planned)
    rising = [second, first, third, fourth, hostile]
    falling = [third, first, second, fourth, hostile]
    orders = ",".join(
        f"[{','.join(order)}]" for order in ([first, second, third, fourth, hostile], rising, falling)
    )
    assert title[1] == f'[[{orders}],"descending",true]'
