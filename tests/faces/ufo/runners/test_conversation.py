"""What a model is told, kept within bounds."""

from __future__ import annotations

from treadle.faces.ufo.runners.conversation import Conversation, Entry, cut


def texts(conversation: Conversation) -> list[str]:
    return [str(message["content"]) for message in conversation.messages()]


def test_old_results_are_shortened_first() -> None:
    conversation = Conversation("system", "request", limit=5000)
    for number in range(4):
        conversation.add(Entry("assistant", f"step {number}"))
        conversation.add(Entry("user", f"{number}" * 2000))
    told = texts(conversation)
    assert told[:3] == ["system", "request", "step 0"]
    assert told[3].endswith("… (the rest was left out)")
    assert told[-1] == "3" * 2000
    assert sum(map(len, told)) <= 5000


def test_one_result_that_is_too_long_keeps_both_ends() -> None:
    conversation = Conversation("system", "request", limit=1000)
    conversation.add(Entry("user", "begin" + "x" * 9000 + "end"))
    last = texts(conversation)[-1]
    assert last.startswith("begin")
    assert last.endswith("end")
    assert len(last) < 1100
    assert cut("short") == "short"


def test_only_the_newest_pictures_stay() -> None:
    conversation = Conversation("system", "request", limit=1000)
    conversation.add(Entry("user", "one", ["data:1"]))
    conversation.add(Entry("user", "two", ["data:2", "data:3"]))
    first, second = conversation.messages()[2:]
    assert first["content"] == "one"
    assert [part["type"] for part in second["content"]] == ["text", "image_url", "image_url"]


def test_it_can_be_narrowed_until_little_is_left() -> None:
    conversation = Conversation("system", "request", limit=50_000)
    for _ in range(5):
        conversation.add(Entry("user", "x" * 9000))
    sizes = []
    while conversation.narrow():
        sizes.append(sum(map(len, texts(conversation))))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 12_000
    assert texts(conversation)[:2] == ["system", "request"]
