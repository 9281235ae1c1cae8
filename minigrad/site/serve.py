"""Shows a folder on this machine, with the kinds of files that a page of modules and WebAssembly needs."""

from __future__ import annotations

import http.server
from functools import partial
from pathlib import Path


def serve(out: Path, port: int) -> None:
    """Show the folder on this machine, until Ctrl-C. Raises OSError where the port is taken."""
    handler = partial(_Quiet, directory=str(out))
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        print(f"http://127.0.0.1:{server.server_address[1]}/ (Ctrl-C ends)", flush=True)
        server.serve_forever()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012 - of the base class, which asks the system, and some systems are wrong
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".html": "text/html; charset=utf-8",
    }

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the page tells what goes on."""
