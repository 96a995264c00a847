import base64
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from research.studies.report import write_report

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


@pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium to open the page in")
def test_in_a_browser(page, tmp_path):
    copy = tmp_path / "report.html"
    copy.write_text(page.read_text().replace("</body>", f"{SORT_TWICE}</body>"))
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    )
    flags += " --disable-component-update --disable-sync --window-size=500,900 --enable-logging=stderr"
    command = [
        "chromium",
        *flags.split(),
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        copy.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert "CONSOLE" not in done.stderr
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
