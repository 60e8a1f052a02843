"""SGR to CSS, as a table."""

import pytest

from treadle.faces.console.terminal.looks import PLAIN, Style, css, number, restyled

CASES = [
    ("", ""),
    ("0", ""),
    ("1", "font-weight:bold"),
    ("2", "opacity:.6"),
    ("3", "font-style:italic"),
    ("4", "text-decoration:underline"),
    ("9", "text-decoration:line-through"),
    ("4;9", "text-decoration:underline line-through"),
    ("4:3", "text-decoration:underline"),
    ("4;4:0", ""),
    ("1;2;22", ""),
    ("3;23;4;24;7;27;9;29", ""),
    ("31", "color:#cd3131"),
    ("01;34", "color:#2472c8;font-weight:bold"),
    ("91", "color:#f14c4c"),
    ("42", "background-color:#0dbc79"),
    ("107", "background-color:#ffffff"),
    ("31;39;41;49", ""),
    ("38;5;1", "color:#cd3131"),
    ("38;5;16", "color:#000000"),
    ("38;5;208", "color:#ff8700"),
    ("48;5;255", "background-color:#eeeeee"),
    ("38;5;256", ""),
    ("38;2;255;128;0", "color:#ff8000"),
    ("38;2;256;0;0", ""),
    ("38:2::1:2:3", "color:#010203"),
    ("38:2:1:2:3", "color:#010203"),
    ("48:5:9", "background-color:#f14c4c"),
    ("38;2;1;2;3;1", "color:#010203;font-weight:bold"),
    ("58;2;1;2;3;1", "font-weight:bold"),
    ("58:5:4;1", "font-weight:bold"),
    ("7", "color:#1e1e1e;background-color:#d4d4d4"),
    ("7;31", "color:#1e1e1e;background-color:#cd3131"),
    ("7;31;44", "color:#2472c8;background-color:#cd3131"),
    ("38", ""),
    ("38;5", ""),
    ("38;2;1", ""),
    ("5;6;8;10;53;99;38:9;:", ""),
    ("31;?;99999999999999999999", "color:#cd3131"),
    ("31;" + "1" * 5000, "color:#cd3131"),
    (";".join(["4"] * 10_000), "text-decoration:underline"),
]


@pytest.mark.parametrize(("parameters", "style"), CASES, ids=[case[0][:24] for case in CASES])
def test_a_sequence_gives_a_style(parameters: str, style: str) -> None:
    assert css(restyled(PLAIN, parameters)) == style


def test_a_reset_takes_everything_back() -> None:
    assert restyled(Style("#010203", "#040506", True, True, True, True, True, True), "") == PLAIN


@pytest.mark.parametrize(
    ("field", "value"), [("", 0), ("007", 7), ("9999", 9999), ("10000", 9999), ("x", -1), ("²", -1)]
)
def test_numbers_are_bounded(field: str, value: int) -> None:
    assert number(field) == value
