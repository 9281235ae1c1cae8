"""What pyproject.toml cannot say of the build: the models and examples go into the wheel, the README onto an index."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface


class Inside(BuildHookInterface):
    """``models/`` and ``examples/`` lie inside the package in a wheel; an editable install leads to the checkout's."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            for folder in ("models", "examples"):
                for file in sorted(Path(self.root, folder).glob("*.py")):
                    build_data["force_include"][str(file)] = f"minigrad/{folder}/{file.name}"


class Readme(MetadataHookInterface):
    """README.md with links that work where it is not beside its files."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        source = metadata.get("urls", {}).get("Source", "")
        metadata["readme"] = {"content-type": "text/markdown", "text": absolute(text, source, metadata["version"])}


def absolute(text: str, source: str, version: str) -> str:
    """The links and pictures of a Markdown text, at the tag of a version in the repository at ``source``.

    Where there is no repository to lead to, a picture becomes the words that stand for it, and a link its text.
    """

    def picture(words: str, path: str) -> str:
        return f"![{words}]({source}/raw/v{version}/{path})" if source else f"*{words}*"

    def link(words: str, path: str) -> str:
        return f"[{words}]({source}/blob/v{version}/{path})" if source else words

    text = re.sub(r"<img[^>]*?src=\"([^\"]+)\"[^>]*?alt=\"([^\"]+)\"[^>]*>", r"![\2](\1)", text)
    text = re.sub(r"<p align=\"center\">(.*?)</p>", r"\1", text)
    text = re.sub(r"!\[([^]]*)\]\((?!https?:)([^)]+)\)", lambda m: picture(*m.groups()), text)
    return re.sub(r"(?<!!)\[([^]]*)\]\((?!https?:|#)([^)]+)\)", lambda m: link(*m.groups()), text)
