"""Text in, ids out: what users' files look like, and what goes wrong with them."""

from __future__ import annotations

import hashlib
import http.server
import math
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from minigrad.tools.random import Generator
from minigrad.train.data import (
    CharTokenizer,
    DataError,
    RandomBatches,
    corpora,
    eval_windows,
    guessing_baselines,
    load_text,
    masking_baselines,
    split,
)


def test_python_docs_are_real_plain_text():
    text = load_text("python-docs")
    assert len(text) > 300_000 and "assert" in text
    assert all(c == "\n" or (c.isascii() and c.isprintable()) for c in set(text)) and "\n\n\n" not in text
    assert text == corpora.python_docs()


def test_python_docs_without_pydoc_data(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)
    text = load_text("python-docs")
    assert len(text) > 200_000 and "Return" in text


def test_files(tmp_path):
    path = tmp_path / "a b é.txt"
    path.write_bytes("\ufeffone\r\ntwo\rthree ☃😀\n".encode())
    assert load_text(path) == "one\ntwo\nthree ☃😀\n"
    path.write_bytes(b"abc\xff")
    with pytest.raises(DataError, match="not UTF-8 text: byte 0xff at offset 3"):
        load_text(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        load_text(path)
    with pytest.raises(DataError, match="folder"):
        load_text(tmp_path)
    with pytest.raises(DataError, match=r"no file .*nothing\.txt; built in are python-docs, shakespeare, names"):
        load_text(tmp_path / "nothing.txt")


def test_files_do_not_depend_on_the_locale(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("Übung ☃\n".encode())
    code = f"from minigrad.train.data import load_text; print(ascii(load_text({str(path)!r})))"
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert out.stdout.strip() == ascii("Übung ☃\n")


def test_tokenizer():
    tokenizer = CharTokenizer.from_text("hello ☃😀")
    assert tokenizer.characters == "".join(sorted(set("hello ☃😀"))) and tokenizer.vocab_size == 7
    ids = tokenizer.encode("hell ☃😀o")
    assert ids.dtype == np.int64 and tokenizer.decode(ids) == "hell ☃😀o"
    assert tokenizer.encode("").shape == (0,)
    with pytest.raises(DataError, match=r"7 characters: 'X' at 1, 3; 'ß' at 2$"):
        tokenizer.encode("hXßX")
    with pytest.raises(DataError, match="ids run from 0 to 7"):
        tokenizer.decode([0, 7])
    again = CharTokenizer.from_state_dict(tokenizer.state_dict())
    assert again.characters == tokenizer.characters
    with pytest.raises(DataError, match="vocabulary"):
        CharTokenizer.from_state_dict({**tokenizer.state_dict(), "characters": "abc"})
    with pytest.raises(DataError, match="at least one"):
        CharTokenizer("")


def test_a_long_text_in_the_smallest_type(monkeypatch):
    text = "".join(map(chr, range(32, 292))) * 2
    tokenizer = CharTokenizer.from_text(text)
    whole = tokenizer.encode(text)
    monkeypatch.setattr("minigrad.train.data.tokenizer.PIECE", 100)
    ids = tokenizer.encode(text, tokenizer.smallest)
    assert ids.dtype == np.uint16 and ids.tolist() == whole.tolist()
    with pytest.raises(DataError, match=r"characters: '\\t' at 250, 260; '\\n' at 251$"):
        tokenizer.encode(text[:250] + "\t\n" + text[252:260] + "\t")
    assert [CharTokenizer(text[:n]).smallest for n in (256, 257)] == [np.uint8, np.uint16]
    expected, found = (RandomBatches(x, 4, 8, Generator().manual_seed(1)) for x in (whole, ids))
    for a, b in ((next(expected), next(found)), (eval_windows(whole, 3, 8)[0], eval_windows(ids, 3, 8)[0])):
        assert all(y.dtype == np.int64 and (x == y).all() for x, y in zip(a, b, strict=True))
    for baselines in (guessing_baselines, masking_baselines):
        assert baselines(ids, ids[::2], 260) == baselines(whole, whole[::2], 260)


def test_batches():
    ids = np.arange(100)
    batches = RandomBatches(ids, 4, 8, Generator().manual_seed(1))
    x, y = next(batches)
    assert x.shape == y.shape == (4, 8) and (y == x + 1).all()
    state = batches.state_dict()
    expected = [next(batches)[0] for _ in range(3)]
    batches.load_state_dict(state)
    assert all((next(batches)[0] == e).all() for e in expected)
    every = RandomBatches(np.arange(9), 50, 8)
    assert (next(every)[0][:, 0] == 0).all()
    seen = {int(s) for _ in range(50) for s in next(batches)[0][:, 0]}
    assert min(seen) == 0 and max(seen) == 91  # windows reach both ends
    with pytest.raises(DataError, match="8 characters, a context of 8 needs at least 9"):
        RandomBatches(np.arange(8), 4, 8)


def test_eval_windows_and_split():
    train, val = split(np.arange(100), 0.1)
    assert len(train) == 90 and val.tolist() == list(range(90, 100))
    windows = eval_windows(np.arange(33), 3, 8)
    assert [w[0].shape for w in windows] == [(3, 8), (1, 8)]
    assert np.concatenate([w[0] for w in windows]).ravel().tolist() == list(range(32))
    assert len(eval_windows(np.arange(1000), 2, 4, limit=5)) == 5
    with pytest.raises(DataError):
        split(train, 1.0)


def test_baselines():
    ids = np.array([0, 1] * 500)
    found = guessing_baselines(ids, ids, 4)
    assert found["uniform"] == pytest.approx(math.log(4))
    assert found["unigram"] == pytest.approx(math.log(2), abs=0.01)
    assert found["bigram"] < 0.02


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server on this machine in place of the real one."""
    content = b"to be or not to be\n" * 100

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        threading.Thread(target=http_server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path / "cache"))
        yield f"http://127.0.0.1:{http_server.server_port}/", hashlib.sha256(content).hexdigest()
        http_server.shutdown()


def test_download_once(server, monkeypatch, tmp_path):
    monkeypatch.setitem(corpora.DOWNLOADS, "names", server)
    assert load_text("names").startswith("to be")
    monkeypatch.setattr(corpora, "_fetch", None)  # from now on, only the cache
    assert load_text("names").startswith("to be")


def test_a_damaged_copy_is_fetched_again(server, monkeypatch, tmp_path):
    monkeypatch.setitem(corpora.DOWNLOADS, "names", server)
    load_text("names")
    (tmp_path / "cache" / "names.txt").write_text("broken")
    assert load_text("names").startswith("to be")


def test_the_wrong_file_is_not_kept(server, monkeypatch, tmp_path):
    monkeypatch.setitem(corpora.DOWNLOADS, "names", (server[0], "0" * 64))
    with pytest.raises(DataError, match="SHA-256"):
        load_text("names")
    assert list((tmp_path / "cache").iterdir()) == []


def test_offline(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIGRAD_CACHE", str(tmp_path))
    monkeypatch.setitem(corpora.DOWNLOADS, "shakespeare", ("http://127.0.0.1:9/", "0" * 64))
    with pytest.raises(DataError, match=r"cannot be downloaded .*put the file at .*shakespeare\.txt, or pass"):
        load_text("shakespeare")
