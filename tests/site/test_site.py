"""The folder with which minigrad runs in a browser: what is in it, and, where its parts are cached, that it does."""

from __future__ import annotations

import http.server
import json
import threading
import time
import zipfile
from functools import partial

import pytest

from minigrad.look.commands.fetch import cache
from minigrad.site import build as site
from minigrad.site.serve import serve

pytest_plugins = ["browser"]


@pytest.fixture
def without_parts(monkeypatch):
    """No downloads: in their place, files that say what they stand for."""

    def stand_in(name):
        return lambda work: (work / name).write_text(name, encoding="utf-8")

    monkeypatch.setattr(site, "_runtime", stand_in("python.zip"))
    monkeypatch.setattr(site, "_shim", stand_in("shim.js"))


def test_what_is_in_the_folder(tmp_path, without_parts, capsys):
    site.main([str(tmp_path / "a")])
    site.build(tmp_path / "b")
    for path in sorted((tmp_path / "a").rglob("*")):
        assert path.is_dir() or path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()
    names = zipfile.ZipFile(tmp_path / "a" / "minigrad.zip").namelist()
    assert {"minigrad/__init__.py", "minigrad/models/gpt.py", "minigrad/learn/chapters/chapter05.py"} <= {*names}
    assert len(names) == len(set(names)) and not [name for name in names if "__pycache__" in name]
    told = json.loads((tmp_path / "a" / "site.json").read_text(encoding="utf-8"))["files"]
    assert all((tmp_path / "a" / name).stat().st_size == size for name, size in told.items())
    offline = (tmp_path / "a" / "offline.js").read_text(encoding="utf-8")
    assert '"minigrad.zip"' in offline and '"VERSION"' not in offline and "FILES]" not in offline
    assert "MB in" in capsys.readouterr().out
    site.build(tmp_path / "a")  # once more, over what it built


def test_examples_that_want_more_than_a_browser_has_are_left_out():
    contents = site.contents()
    names = [name for name, _ in contents["examples"]]
    assert {"01_soft_lookup", "two_moons", "train_char_gpt"} <= {*names}
    assert not {"08_a_real_bert", "09_a_real_llm", "sample", "to_pytorch", "attention_workbench"} & {*names}
    assert [number for number, _ in contents["chapters"]][:2] == ["01", "02"]


def test_another_folder_stays_as_it_is(tmp_path, without_parts):
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FileExistsError, match="was not built by this: name another folder"):
        site.build(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_part_with_another_sum_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path))
    with pytest.raises(ValueError, match=r"shim.tgz has the SHA-256 .* is wanted: nothing is kept"):
        site._kept("shim.tgz", lambda path: path.write_bytes(b"another") and None)
    assert not list((tmp_path / "site").iterdir())


def test_without_npm_a_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path))
    monkeypatch.setattr(site.shutil, "which", lambda name: None)
    with pytest.raises(OSError, match=r"npm is not installed, and @bjorn3.* comes from there: install Node"):
        site._shim(tmp_path)


def test_a_taken_port_is_told(tmp_path):
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    with server, pytest.raises(OSError, match="in use"):
        serve(tmp_path, server.server_address[1])


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Where the whole site is shown; skipped where its parts are not in the cache."""
    if not all((cache() / "site" / name).is_file() for name in site.SUMS):
        pytest.skip("the parts of the site are not in the cache: python -m minigrad site OUT")
    out = tmp_path_factory.mktemp("site")
    site.build(out)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".js": "text/javascript"}  # noqa: RUF012

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(out)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


class Classroom:
    """The page in a browser."""

    def __init__(self, browser, address):
        self.browser = browser
        browser.driver.get(address)
        self.wait("ready")

    def wait(self, *words):
        self.browser.until(lambda: self.state().startswith(words))

    def state(self):
        return self.browser.run("return document.getElementById('state').textContent")

    def leave(self, address):
        """Of errors there were none, and requests to the folder's own server only, all that come later too."""
        self.browser.driver.execute_async_script("navigator.serviceWorker.ready.then(arguments[0])")
        self.browser.driver.get("about:blank")
        complaints, new = [], ["until there are no more"]
        while new:
            new = self.browser.complaints()
            complaints += new
            time.sleep(0.5)
        assert complaints and all(told.startswith(f"a request to {address}") for told in complaints), complaints

    def write(self, code):
        self.browser.run("document.getElementById('code').value = arguments[0]", code)

    def press(self, button):
        self.browser.run(f"document.getElementById('{button}').click()")
        self.wait("done", "ended")
        return self.browser.run("return document.getElementById('output').textContent")

    def open(self, value):
        self.browser.run(
            "const list = document.getElementById('open'); list.value = arguments[0];"
            "list.dispatchEvent(new Event('change'))", value,
        )  # fmt: skip


@pytest.mark.real
def test_a_classroom_in_a_browser(browser, address):
    page = Classroom(browser, address)
    page.write(
        "import minigrad as mg\nx = mg.tensor([2.0, 3.0], requires_grad=True)\n(x * x).sum().backward()\nprint(x.grad)"
    )
    assert page.press("run").strip() == "tensor([4., 6.])"
    page.press("step")
    browser.driver.switch_to.frame("frame")
    browser.until(lambda: browser.run("return document.documentElement.dataset.ready === 'yes'"))
    browser.run("document.getElementById('next').click()")
    assert browser.run("return document.getElementById('slider').value") == "1"
    browser.driver.switch_to.default_content()
    page.write("x = 1\nraise ValueError('odd')")
    said = page.press("run")
    assert "line 2" in said and "ValueError: odd" in said and "\x1b" not in said
    page.write("while True:\n    pass")
    browser.run("document.getElementById('run').click()")
    browser.until(lambda: browser.text("#state").startswith("running"))
    browser.run("document.getElementById('stop').click()")
    page.wait("ready")
    page.open("chapter:05")
    page.wait("done", "ended")
    browser.until(lambda: browser.run("return document.getElementById('name').value").endswith("chapter05.py"))
    assert "not written yet" in page.press("check")
    page.open("example:two_moons")
    assert "% of 1000 fresh points" in page.press("run")
    hosts = browser.run(
        "return [...new Set(performance.getEntriesByType('resource').map((e) => new URL(e.name).host))]"
    )
    assert hosts == [address.split("/")[2]]
    again = Classroom(browser, address)
    assert "file:minigrad-course/chapter05.py" in browser.run(
        "return [...document.querySelectorAll('#open option')].map((option) => option.value)"
    )
    assert "while True" in browser.run("return document.getElementById('code').value"), "as it was left"
    again.write("print(7)")
    assert again.press("run").strip() == "7"
    again.leave(address)


@pytest.mark.real
def test_a_link_carries_a_script(browser, address):
    code = "cHJpbnQoJ2Zyb20gYSBsaW5rJyk="  # print('from a link')
    page = Classroom(browser, f"{address}#code={code}")
    assert page.press("run").strip() == "from a link"
    page.leave(address)


@pytest.mark.real
@pytest.mark.parametrize("dark", [True, False])
def test_the_classroom_is_for_all(browser, address, dark):
    page = Classroom(browser, address)
    try:
        with browser.seen(390, 900, dark):
            assert browser.run("return document.documentElement.scrollWidth <= window.innerWidth")
            assert browser.barriers() == []
    finally:
        page.leave(address)
