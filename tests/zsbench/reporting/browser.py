"""Load a page in a real Chromium from a harness page: no driver, no dependency, no network."""

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def _runs(path: str) -> bool:
    """Ubuntu's package is a stub that asks for a snap."""
    return subprocess.run([path, "--version"], capture_output=True).returncode == 0


FOUND = filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
CHROMIUM = next(filter(_runs, FOUND), None)
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--enable-logging=stderr",
]
# Shows the page in a frame of a given width, and writes the state of the frame's window into this page as JSON.
HARNESS = """<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,"><body><script>
async function look(width, dark) {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:900px;border:0;color-scheme:${dark}`;
  frame.src = "index.html";
  document.body.append(frame);
  await new Promise((done) => { frame.onload = done; });
  const page = frame.contentDocument, root = page.documentElement, view = frame.contentWindow;
  const over = [...page.querySelectorAll("body *")].filter((element) =>
    !element.closest(".scroll > *, dialog") && element.getBoundingClientRect().right > root.clientWidth + 1);
  const inner = [...page.querySelectorAll(".table .scroll")].filter((box) => box.scrollWidth > box.clientWidth + 1);
  const found = { width: root.clientWidth, scroll: root.scrollWidth, over: over.map((e) => e.tagName).slice(0, 5),
    inner: inner.map((box) => box.ariaLabel),
    requests: view.performance.getEntriesByType("resource").map((entry) => entry.name)
      .filter((name) => !name.startsWith("data:")) };
  return [found, page, view];
}
const pause = () => new Promise((done) => setTimeout(done, 200));
(async () => {
  const report = {};
  const [wide, page, view] = await look(1400, "light");
  report.wide = wide;
  report.narrow = (await look(390, "light"))[0];
  const axe = document.getElementById("axe");
  if (axe) {
    const script = page.createElement("script");
    script.textContent = axe.textContent;
    page.head.append(script);
    const checked = await view.axe.run(page, { resultTypes: ["violations"] });
    report.checked = checked.passes.length;
    report.violations = checked.violations.map(({ id, impact, nodes }) =>
      ({ id, impact, nodes: nodes.slice(0, 3).map((node) => node.html.slice(0, 160)) }));
  }
  const table = page.querySelector("#body-gliclass_suite");
  const blocks = () => [...table.tBodies].map((block) =>
    [...block.querySelectorAll("tr:not(.heading)")].map((row) => row.cells[1].textContent.trim()));
  const title = table.tHead.rows[0].cells[1];
  title.click(); report.descending = blocks(); report.aria = title.getAttribute("aria-sort");
  title.dispatchEvent(new view.KeyboardEvent("keydown", { key: "Enter", bubbles: true })); report.ascending = blocks();
  const box = page.querySelector("#table-topics"), filter = box.querySelector(".filter input");
  filter.value = "BIENC";
  filter.dispatchEvent(new view.Event("input"));
  report.filtered = [...box.querySelectorAll("tbody tr:not(.heading)")].filter((row) => row.checkVisibility())
    .map((row) => row.cells[0].textContent);
  const choice = page.querySelector("#table-gliclass_suite .choice input:not(:checked)");
  const column = choice.dataset.column;
  report.hidden = table.tHead.rows[0].cells[column].hidden;
  choice.click();
  report.shown = table.tHead.rows[0].cells[column].hidden;
  view.location.hash = table.tBodies[0].querySelector("a").getAttribute("href");
  await pause();
  const dialog = page.querySelector("dialog");
  report.cell = { open: dialog.open, text: dialog.textContent };
  dialog.querySelector("button").click();
  await pause();
  report.closed = dialog.open;
  const pre = document.createElement("pre");
  pre.id = "report"; pre.textContent = JSON.stringify(report);
  document.body.replaceChildren(pre);
})();
</script>"""


class _Quiet(SimpleHTTPRequestHandler):
    """Serves the folder and records each requested path."""

    asked: list[str] = []

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output free of access lines."""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A local server for this folder; yields its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def look_at(page: Path, folder: Path, axe: str = "") -> tuple[dict[str, Any], list[str], list[str]]:
    """(harness output, console lines, requested paths) of a self-contained page.

    Args:
        page: the html file; nothing else is served, so any other request fails.
        folder: an empty folder for the copy and the browser's profile.
        axe: source of axe-core, to check accessibility; "" skips the check.
    """
    site = folder / "site"
    site.mkdir()
    shutil.copy(page, site / "index.html")
    checker = f'<script type="text/plain" id="axe">{axe}</script>' if axe else ""
    (site / "harness.html").write_text(HARNESS.replace("<body>", f"<body>{checker}"), encoding="utf-8")
    _Quiet.asked = []
    with served(site) as address:
        done = subprocess.run(
            [
                str(CHROMIUM),
                *FLAGS,
                f"--user-data-dir={folder / 'profile'}",
                "--window-size=1500,1000",
                "--virtual-time-budget=30000",
                "--dump-dom",
                f"{address}/harness.html",
            ],
            capture_output=True,
            text=True,
        )
    found = re.search(r'<pre id="report">(.*?)</pre>', done.stdout, re.DOTALL)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert found, f"the harness did not finish: {console or done.stderr[-2000:]}"
    return json.loads(html.unescape(found.group(1))), console, _Quiet.asked
