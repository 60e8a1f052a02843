"""HTML: what is escaped, what may be linked to, what joins."""

import pytest

from treadle.faces.console.terminal.markup import PLAIN, Look, address, fragment, snapshot, spelled

RED = Look("color:#cd3131")


def test_the_five_characters_are_escaped() -> None:
    assert spelled([(PLAIN, "& < > \" '")]) == "&amp; &lt; &gt; &quot; &#x27;"


def test_neighbours_of_one_look_share_an_element() -> None:
    runs = [(RED, "a"), (RED, "b"), (PLAIN, "c"), (Look("", "http://x.y/?a&b"), "d")]
    assert spelled(runs) == '<span style="color:#cd3131">ab</span>c<a href="http://x.y/?a&amp;b">d</a>'


def test_a_link_may_be_coloured() -> None:
    assert spelled([(Look("color:#cd3131", "https://x.y"), "d")]) == '<a href="https://x.y" style="color:#cd3131">d</a>'


def test_a_fragment_and_a_snapshot_have_their_frames() -> None:
    assert fragment([(PLAIN, "a\n")]) == '<code style="white-space:pre-wrap">a\n</code>'
    assert snapshot(42, "a") == '<pre title="s42">a</pre>'
    assert snapshot(43, "\na") == '<pre title="s43">\n\na</pre>'


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("http://example.org/", True),
        ("HTTPS://example.org/a?b=c&d#e", True),
        ("javascript:alert(1)", False),
        ("JaVaScRiPt:alert(1)//http://", False),
        (" http://example.org/", False),
        ("http://", False),
        ("http://a b", False),
        ("http://exämple.org/", False),
        ("data:text/html,x", False),
        ("file:///etc/passwd", False),
        ("//example.org", False),
        ("http://" + "x" * 2000, False),
        ("http://a\n", False),
        ("", False),
    ],
)
def test_only_http_is_linked_to(text: str, taken: bool) -> None:
    assert address(text) == (text if taken else "")
