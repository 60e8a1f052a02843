"""Pictures in what tools answer."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from treadle.faces.ufo.runners.seeing import MOST_IMAGES, seen

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(90)).decode()
JPEG = base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(90)).decode()


@pytest.mark.parametrize(
    ("value", "url"),
    [
        (PNG, f"data:image/png;base64,{PNG}"),
        (JPEG, f"data:image/jpeg;base64,{JPEG}"),
        (f"data:image/png;base64,{PNG}", f"data:image/png;base64,{PNG}"),
        ({"type": "image", "data": JPEG, "mimeType": "image/jpeg"}, f"data:image/jpeg;base64,{JPEG}"),
        ({"screenshot": [{"deep": PNG}]}, f"data:image/png;base64,{PNG}"),
    ],
)
def test_a_picture_is_taken_out_of_the_text(value: Any, url: str) -> None:
    found = seen(value)
    assert found.images == [url]
    assert PNG not in str(found.value)
    assert JPEG not in str(found.value)
    assert "[picture 1, about 0 KiB]" in str(found.value)


@pytest.mark.parametrize(
    "value", ["iVBORw0KGgo is how PNG begins", "/9j/" + "a b" * 60, "text", {"n": 1}, None, 7, [True]]
)
def test_what_is_no_picture_stays(value: Any) -> None:
    found = seen(value)
    assert (found.value, found.images) == (value, [])


def test_too_many_and_too_large_are_only_mentioned() -> None:
    found = seen([PNG] * (MOST_IMAGES + 1) + [PNG + "A" * (9 * 2**20)])
    assert len(found.images) == MOST_IMAGES
    assert found.value[MOST_IMAGES:] == [
        "[a picture, about 0 KiB, not shown]",
        "[a picture, about 6912 KiB, not shown]",
    ]
