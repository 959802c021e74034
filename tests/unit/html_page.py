"""An HTML page read strictly: every tag closed in order, every id once, every reference within the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

_VOID = {"meta", "br"}
_LOADS = {"src", "href", "xlink:href", "action", "data", "srcset", "poster", "background", "cite", "style"}


class Page(HTMLParser):
    """What a page holds; raises AssertionError where it is not well formed."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = text
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        """Texts by the tag they stand in."""
        assert text.startswith("<!DOCTYPE html>\n")
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"
        assert len(self.ids) == len(set(self.ids)), "an id stands twice"
        assert self.references <= set(self.ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), f"an attribute of {tag} stands twice"
        self.tags.append((tag, attributes))
        if attributes.get("id"):
            self.ids.append(attributes["id"] or "")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self.open or tag == "svg", f"<{tag}/> is no HTML"
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open:
            self.texts.setdefault(self.open[-1], []).append(data)

    @property
    def references(self) -> set[str]:
        """The ids that are referred to."""
        named = {name for _, of in self.tags for name in (of.get("aria-labelledby") or "").split()}
        return named | set(re.findall(r"url\(#([^)]*)\)", self.source))

    @property
    def loads(self) -> list[str]:
        """Whatever would be fetched, run or followed."""
        attributes = [
            f"{tag} {name}" for tag, of in self.tags for name in of if name in _LOADS or name.startswith("on")
        ]
        tags = [
            tag for tag, _ in self.tags if tag in ("script", "link", "iframe", "img", "object", "embed", "base", "a")
        ]
        css = re.findall(r"@import|url\((?!#)|image-set", "".join(self.texts.get("style", [])))
        inline = [
            str(of) for _, of in self.tags if any("url(" in (v or "") and "url(#" not in (v or "") for v in of.values())
        ]
        return attributes + tags + css + inline

    def rows(self) -> list[list[str]]:
        """The cells of every row of every table."""
        rows = re.findall(r"<tr[^>]*>(.*?)</tr>", self.source, re.DOTALL)
        cells = (re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows)
        return [[re.sub(r"<[^>]*>", " ", cell).strip() for cell in row] for row in cells]
