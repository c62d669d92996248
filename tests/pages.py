"""The pages of README and the documentation, and the fenced blocks in them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)
_TITLE = re.compile(r'^\w+ title="(?P<path>[^"]+)"$')


class Block(NamedTuple):
    """A fenced block: what stands behind the fence, the first line's number, the text."""

    info: str
    line: int
    body: str

    @property
    def title(self) -> str | None:
        """The title, where it has one: the name of a file, or of another system."""
        titled = _TITLE.match(self.info)
        return titled["path"] if titled else None


def blocks(page: Path) -> list[Block]:
    """List the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = []
    for fence in _FENCE.finditer(text):
        indent = len(fence["indent"])
        body = "".join(line[indent:] or "\n" for line in fence["body"].splitlines(keepends=True))
        found.append(Block(fence["info"].strip(), text.count("\n", 0, fence.start("body")), body))
    return found


def files(page: Path) -> dict[str, str]:
    """Map the file names that a page's blocks have as titles to their text."""
    return {block.title: block.body for block in blocks(page) if block.title}


PAGES = [
    page
    for page in [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *sorted(ROOT.glob("docs/**/*.md")),
        *sorted(ROOT.glob("plugins/*/README.md")),
    ]
    if "```python" in page.read_text(encoding="utf-8")
]
