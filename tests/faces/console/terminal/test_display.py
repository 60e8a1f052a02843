"""When the display gives what: lines as fragments, prompts after quiet, rewriting as snapshots, floods as the end."""

from __future__ import annotations

import resource
import time
from itertools import pairwise

import pytest

from tests.faces.console.terminal.reading import OPENING, Checked, inner, printed, text_of
from treadle.faces.console.messages import Html, HtmlFull, Message, framed
from treadle.faces.console.terminal.display import FLOOD, Display

# What a program printed at once, and the fragment's HTML (without the element around it).
LINES: list[tuple[bytes, str]] = [
    (b"hello\n", "hello\n"),
    (b"hello\r\n", "hello\n"),
    (b"a\r\r\nb\r\n", "a\nb\n"),
    (b"\r\nfirst\r\n", "\nfirst\n"),
    (b"\r10%\n", "10%\n"),
    (b"<b>&\"'</b>\n", "&lt;b&gt;&amp;&quot;&#x27;&lt;/b&gt;\n"),
    (b"\x1b[0m\x1b[01;34mdir\x1b[0m  \x1b[01;32mrun.sh\x1b[0m\n",
     '<span style="color:#2472c8;font-weight:bold">dir</span>  '
     '<span style="color:#0dbc79;font-weight:bold">run.sh</span>\n'),
    (b"x:\x1b[01;31m\x1b[Kmatch\x1b[m\x1b[K end\n",  # grep --color
     'x:<span style="color:#cd3131;font-weight:bold">match</span> end\n'),
    (b"\x1b[31mred\nstill\x1b[0m\n", '<span style="color:#cd3131">red\nstill</span>\n'),
    (b"\x1b]8;;https://x.y/?a&b\x1b\\link\x1b]8;;\x1b\\\n", '<a href="https://x.y/?a&amp;b">link</a>\n'),
    (b"\x1b]8;;javascript:alert(1)\x07no link\x1b]8;;\x07\n", "no link\n"),
    (b"\x1b]0;title\x07\x1b[?2004hprompt$ ", "prompt$ "),
    (b"\x1b(B\x1b[mtput sgr0\x1b[?25l\x1b[?25h\n", "tput sgr0\n"),
    (b"bell\x07nul\x00del\x7f\n", "bellnuldel\n"),
    (b"a\tb\n", "a\tb\n"),
    (b"bad \xff\xfe\xc3( end\n", "bad \ufffd\ufffd\ufffd( end\n"),
    (b"cut \xe2\x82", "cut \ufffd"),
    ("né 漢字 e\u0301 👩\u200d🚀 \u202eabc\u202c\n".encode(), "né 漢字 e\u0301 👩\u200d🚀 \u202eabc\u202c\n"),
    (b"\x1bPq sixel \x1b\\after\n", "after\n"),
    (b"unfinished \x1b[3", "unfinished "),
    (b"one\vtwo\fthree\n", "one\ntwo\nthree\n"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "html"), LINES, ids=[repr(case[0])[2:40] for case in LINES])
def test_lines_are_fragments(given: bytes, html: str) -> None:
    assert [inner(message) for message in printed(given)] == [html]
    assert [inner(message) for message in printed(*(given[at : at + 1] for at in range(len(given))))] == [html]


def test_a_fragment_holds_only_what_is_new() -> None:
    display = Display()
    display.feed(b"\x1b[31mone\r\n", "stdout", 1.0)
    assert display.due(1.0) == 0
    assert display.take(1.0) == [Html(f'{OPENING}<span style="color:#cd3131">one\n</span></code>', "stdout")]
    assert display.due(1.0) is None
    assert display.take(1.0) == []
    display.feed(b"two\r\n", "stdout", 1.0)
    assert [inner(message) for message in display.take(1.0)] == ['<span style="color:#cd3131">two\n</span>']


def test_a_prompt_is_sent_after_a_short_quiet() -> None:
    display = Display()
    display.feed(b"done\r\nPassword: ", "stdout", 5.0)
    assert [inner(message) for message in display.take(5.0)] == ["done\n"]
    wait = display.due(5.0)
    assert wait is not None
    assert 0.02 <= wait <= 0.05
    assert display.take(5.01) == []
    assert display.due(5.0 + wait) == 0
    assert [inner(message) for message in display.take(5.0 + wait)] == ["Password: "]
    assert display.due(6.0) is None


def test_a_carriage_return_at_the_end_of_a_chunk_waits_for_what_follows() -> None:
    display = Display()
    display.feed(b"line\r", "stdout", 0.0)
    assert [inner(message) for message in display.take(1.0)] == ["line"]  # quiet: but nothing is rewritten yet
    display.feed(b"\nnext\r", "stdout", 2.0)
    assert [inner(message) for message in display.take(2.0)] == ["\n"]
    display.feed(b"N", "stdout", 2.0)
    assert text_of(display.take(3.0)[0]) == "line\nNext"


def test_a_character_cut_in_two_is_put_together() -> None:
    display = Display()
    display.feed("é\n".encode()[:1], "stdout", 0.0)
    assert display.due(0.0) is None
    display.feed("é\n".encode()[1:], "stdout", 9.0)
    assert [inner(message) for message in display.take(9.0)] == ["é\n"]


def test_two_pipes_keep_their_order_their_half_sequences_and_their_colours() -> None:
    display = Display()
    display.feed(b"out \xe2\x82", "stdout", 0.0)
    display.feed(b"\x1b[31merr\x1b[", "stderr", 0.0)
    display.feed(b"\xac\n", "stdout", 0.0)
    display.feed(b"1mor\n", "stderr", 0.0)
    assert [(message.origin, inner(message)) for message in display.take(0.0) if isinstance(message, Html)] == [
        ("stdout", "out "),
        ("stderr", '<span style="color:#cd3131">err</span>'),
        ("stdout", "€\n"),
        ("stderr", '<span style="color:#cd3131;font-weight:bold">or\n</span>'),
    ]


def test_much_at_once_is_cut_into_fragments_behind_newlines() -> None:
    display = Display()
    lines = b"".join(b"line %d\n" % number for number in range(10_000))
    display.feed(lines, "stdout", 0.0)
    sent = display.take(0.0)
    texts = [text_of(message) for message in sent]
    assert "".join(texts) == lines.decode()
    assert all(text.endswith("\n") and len(text) <= 16 * 1024 for text in texts)
    assert len(texts) < len(lines) / (15 * 1024) + 1


def test_a_line_without_end_is_sent_in_parts() -> None:
    display = Display()
    display.feed(b"x" * 16383, "stdout", 0.0)
    assert display.due(0.0)
    display.feed(b"x" * 30_000, "stdout", 0.0)
    assert display.due(0.0) == 0
    assert [len(text_of(message)) for message in display.take(0.0)] == [16384, 16384, 13615]


def run(display: Display, chunks: list[bytes], every: float) -> list[tuple[float, Message]]:
    """Feed a chunk every so many seconds, and take whatever falls due meanwhile, at the moment it does."""
    now, sent = 0.0, []
    for chunk in chunks:
        display.feed(chunk, "stdout", now)
        until = now + every
        while (wait := display.due(now)) is not None and now + wait < until:
            now += wait
            sent += [(now, message) for message in display.take(now)]
        now = until
    return sent + [(now, message) for message in display.take(now, final=True)]


TQDM = [b"start\r\n"] + [b"\r%3d%%|%-10s| %d/100" % (n, b"#" * (n // 10), n) for n in range(101)] + [b"\r\ndone\r\n"]
SPINNER = [b"\x1b[?25l"] + [b"\x1b[1G%s fetching\x1b[0K" % mark for mark in (b"|", b"/", b"-", b"\\")] * 30
APT = [b"\n\x1b7\x1b[0;39r\x1b8\x1b[1A"] + [
    b"\x1b7\x1b[40;0f\x1b[42m\x1b[30mProgress: [%3d%%]\x1b[49m\x1b[39m [##..] \x1b8Unpacking %d\r\n" % (n, n)
    for n in range(100)
] + [b"\x1b7\x1b[0;40r\x1b8\x1b[J"]  # fmt: skip


@pytest.mark.parametrize(
    ("chunks", "last"),
    [
        (TQDM, "start\n100%|##########| 100/100\ndone\n"),
        ([*SPINNER, b"\x1b[1G\x1b[0Kadded 3 packages\r\n"], "added 3 packages\n"),
        (APT, "".join(f"Unpacking {n}\n" for n in range(100))),
    ],
    ids=["tqdm", "npm", "apt"],
)
def test_a_progress_bar_is_at_most_four_snapshots_a_second(chunks: list[bytes], last: str) -> None:
    sent = run(Display(), chunks, 0.02)
    full = [(at, message) for at, message in sent if isinstance(message, HtmlFull)]
    seconds = len(chunks) * 0.02
    assert 3 * seconds <= len(full) <= 4 * seconds + 2
    times = [at for at, _ in full[:-1]]  # the last one is the end's, which waits for nothing
    assert all(after - before >= 0.2499 for before, after in pairwise(times))
    assert len({message.data[:60] for _, message in full}) == len(full)  # no two begin alike
    assert isinstance(sent[-1][1], HtmlFull)
    assert text_of(sent[-1][1]).rstrip("\n") == last.rstrip("\n")


def test_the_prompt_of_a_drawn_screen_comes_after_quiet_not_after_a_quarter_of_a_second() -> None:
    display = Display()
    display.feed(b"\x1b[?1049h\x1b[2J\x1b[H~\r\n~\r\n", "stdout", 9.0)
    assert display.due(9.0) == pytest.approx(0.03)
    display.feed(b"\x1b[24;1H-- INSERT --", "stdout", 9.02)
    assert display.due(9.02) == pytest.approx(0.03)
    assert text_of(display.take(9.06)[0]).endswith("-- INSERT --")
    display.feed(b"x", "stdout", 9.07)
    assert display.due(9.07) == pytest.approx(0.24)


def test_after_a_full_screen_program_the_screen_before_it_is_back_and_lines_are_lines_again() -> None:
    display = Display()
    display.feed(b"$ vim\r\n\x1b[?1049h\x1b[2J\x1b[Hfile\x1b[?1049l$ ", "stdout", 0.0)
    assert [text_of(message) for message in display.take(0.1)] == ["$ vim\n$ "]
    display.feed(b"ls\r\n", "stdout", 0.5)
    assert [text_of(message) for message in display.take(0.6)] == ["$ vim\n$ ls\n"]
    display.feed(b"a b c\r\n", "stdout", 1.2)
    assert display.take(1.2) == [Html(f"{OPENING}a b c\n</code>", "stdout")]


def test_a_screenful_of_lines_is_lines_again_at_once() -> None:
    display = Display()
    display.feed(b"50%\r99%\r\n" + b"x\r\n" * 40, "stdout", 0.0)
    assert len(display.take(0.1)) == 1
    display.feed(b"y\r\n", "stdout", 0.1)
    assert [inner(message) for message in display.take(0.1)] == ["y\n"]


def test_lines_before_a_snapshot_that_is_owed_are_part_of_it_and_of_nothing_else() -> None:
    display = Display()
    display.feed(b"50%\r99%\r\n" + b"x\r\n" * 40, "stdout", 0.0)
    display.feed(b"y\r\n", "stdout", 0.0)
    (message,) = display.take(0.1)
    assert text_of(message).endswith("x\ny\n")
    assert display.due(0.1) is None


def test_who_joins_late_gets_the_display_and_misses_or_doubles_nothing() -> None:
    display = Display()
    display.feed(b"one\ntwo\nthr", "stdout", 0.0)
    display.take(0.0)
    joined = [display.snapshot()]
    assert display.due(0.0)
    display.feed(b"ee\nfour\n", "stdout", 0.01)
    joined += display.take(0.01)
    assert "".join(map(text_of, joined)) == "one\ntwo\nthree\nfour\n"
    assert text_of(display.snapshot()) == "one\ntwo\nthree\nfour\n"


def test_a_slow_reader_gets_one_snapshot_in_place_of_what_was_pending() -> None:
    display = Display()
    display.feed(b"one\ntwo\n", "stdout", 0.0)
    display.collapse()
    display.feed(b"three\n", "stdout", 0.0)
    assert [text_of(message) for message in display.take(1.0)] == ["one\ntwo\nthree\n"]
    display.feed(b"four\n", "stdout", 1.0)
    assert [inner(message) for message in display.take(1.0)] == ["four\n"]


def test_a_flood_that_nobody_takes_becomes_its_end() -> None:
    display = Display()
    for number in range(20_000):
        display.feed(b"a line of a flood, number %d\r\n" % number, "stdout", 0.0)
    (message,) = display.take(1.0)
    assert isinstance(message, HtmlFull)
    rows = text_of(message).split("\n")
    assert rows[-2] == "a line of a flood, number 19999"
    assert len(rows) == 1000 + 40
    display.feed(b"after\r\n", "stdout", 1.0)
    assert [inner(message) for message in display.take(1.0)] == ["after\n"]


def test_one_whole_read_is_never_taken_for_a_flood() -> None:
    display = Display()
    display.feed(b"a line that is not complete", "stdout", 0.0)
    display.take(0.0)
    display.feed(b"x\n" * (FLOOD // 2), "stdout", 0.0)
    sent = display.take(0.0)
    assert all(isinstance(message, Html) for message in sent)
    assert sum(len(text_of(message)) for message in sent) == len("a line that is not complete") + FLOOD


def test_nothing_printed_is_nothing_sent() -> None:
    display = Display()
    display.feed(b"", "stdout", 0.0)
    display.feed(b"\x1b[0m\x1b]0;t\x07", "stdout", 0.0)
    assert display.due(9.0) is None
    assert display.take(9.0, final=True) == []
    assert text_of(display.snapshot()) == ""


def test_plain_lines_are_quick_and_take_no_memory() -> None:
    """The floor is a tenth of what was measured (66 MB/s), so that a busy machine does not fail it."""
    display, chunk = Display(), b"The quick brown fox jumps over the lazy dog <b> & more\r\n" * 1000
    display.feed(chunk, "stdout", 0.0)
    before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    size = 0
    for number in range(300):
        display.feed(chunk, "stdout", number / 100)
        size += sum(len(framed(message)) for message in display.take(number / 100))
    took = time.process_time() - begun
    assert size > 300 * len(chunk)
    assert 300 * len(chunk) / took > 6e6
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20 * 1024  # KiB


def test_fragments_and_snapshots_hold_nothing_foreign() -> None:
    for message in printed(b'<script>alert(1)</script>\x1b]8;;http://x/"onmouseover="alert(1)\x07x\x1b]8;;\x07\n'):
        assert isinstance(message, Html)
        assert "<script" not in message.data
        Checked(message.data)
