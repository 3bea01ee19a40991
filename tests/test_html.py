"""Cards: facts in, escaped HTML out."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from projectai_lab._html import ACCENTS, card, link

EVIL = '<script>alert("x")</script>\'&'


class Reader(HTMLParser):
    """Collects the tags, links and text of a card and checks that tags are balanced."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[dict[str, str | None]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open.append(tag)
        if tag == "a":
            self.links.append(dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_a_card_shows_title_and_facts_in_order() -> None:
    read = Reader(card("Lab", {"address": "127.0.0.1:7233", "workers": 2}))
    assert read.text == ["Lab", "address", "127.0.0.1:7233", "workers", "2"]
    assert read.links == []


def test_facts_that_are_none_are_left_out_and_zero_or_empty_are_not() -> None:
    assert Reader(card("Lab", {"gone": None, "zero": 0, "no": False})).text == [
        "Lab",
        "zero",
        "0",
        "no",
        "False",
    ]


def test_title_names_values_and_links_are_escaped() -> None:
    url = f"https://ui.example/{EVIL}"
    html = card(EVIL, {EVIL: EVIL, "page": url}, url=url, status=EVIL)
    read = Reader(html)
    assert "script" not in read.tags
    assert "<script" not in html
    assert read.text.count(EVIL) == 3
    assert [one["href"] for one in read.links] == [url, url]


@pytest.mark.parametrize("value", ["javascript:alert(1)", "data:text/html,x", "ftp://x", "//x"])
def test_only_http_becomes_a_link(value: str) -> None:
    assert Reader(card("Lab", {"value": value}, url=value)).links == []
    assert link(value) == value


def test_a_link_opens_beside_the_notebook_without_handing_it_over() -> None:
    (found,) = Reader(link("http://127.0.0.1:8233", "Web UI")).links
    assert found == {"href": "http://127.0.0.1:8233", "target": "_blank", "rel": "noopener"}


def test_a_link_without_text_shows_its_address() -> None:
    assert Reader(link("https://ui.example/a?b=1&c=2")).text == ["https://ui.example/a?b=1&c=2"]


@pytest.mark.parametrize("status", sorted(ACCENTS))
def test_each_status_has_a_colour_and_an_unknown_one_has_a_neutral_one(status: str) -> None:
    assert ACCENTS[status] in card("run", {}, status=status)
    assert "#56B4E9" in card("run", {}, status="unknown")
