"""Cards: facts in, escaped HTML out."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from projectai_lab._html import ACCENTS, accent, card, link
from tests import looks

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
    look = found.pop("style")
    assert found == {"href": "http://127.0.0.1:8233", "target": "_blank", "rel": "noopener"}
    assert look == "color:var(--jp-content-link-color,inherit);text-decoration:underline"


def test_a_link_that_is_drawn_anew_all_the_time_is_out_of_the_tab_keys_way() -> None:
    (found,) = Reader(link("http://127.0.0.1:8233", "Web UI", focus=False)).links
    assert found["tabindex"] == "-1"


def test_a_link_without_text_shows_its_address() -> None:
    assert Reader(link("https://ui.example/a?b=1&c=2")).text == ["https://ui.example/a?b=1&c=2"]


@pytest.mark.parametrize("status", [*sorted(ACCENTS), "unknown"])
def test_each_status_has_a_colour_that_is_seen_on_light_and_on_dark(status: str) -> None:
    assert accent(status) in card("run", {}, status=status)
    # White, JupyterLab's zebra, its dark page and its dark boxes.
    for ground in ("#ffffff", "#f5f5f5", "#111111", "#212121"):
        assert looks.ratio(accent(status), ground) >= looks.GRAPHIC


def test_a_status_without_a_colour_of_its_own_has_that_of_no_other() -> None:
    assert accent("unknown") not in ACCENTS.values()
