"""Tables of text: columns that stand straight whatever the script."""

from __future__ import annotations

from tlcli.text import byte_size, counted, display_width, printable, table, wrapped


def test_columns_are_aligned_to_the_right_but_for_the_first() -> None:
    assert table([("label", "images"), ("a", "1"), ("bcd", "100")]) == [
        "label  images",
        "a           1",
        "bcd       100",
    ]
    assert table([("a", "bb"), ("ccc", "d")], right=()) == ["a    bb", "ccc  d"]
    assert table([]) == []


def test_wide_letters_take_two_columns_and_marks_none() -> None:
    assert [display_width(text) for text in ("ab", "수영장", "プール", "e\u0301", "ﾊﾟ")] == [
        2,
        6,
        6,
        1,
        2,
    ]
    lines = table([("수영장", "1"), ("pool", "22")])
    assert lines == ["수영장   1", "pool    22"]
    assert len({display_width(line) for line in lines}) == 1


def test_control_characters_are_spelled_out() -> None:
    assert printable("a\nb\x1b[31m") == "a\\nb\\x1b[31m"
    assert printable("집 \udcff") == "집 \udcff"
    assert table([("a\tb", "1")]) == ["a\\tb  1"]


def test_one_of_a_kind_is_not_many() -> None:
    assert [counted(number, "more label") for number in (0, 1, 2)] == [
        "0 more labels", "1 more label", "2 more labels",
    ]  # fmt: skip


def test_sentences_are_broken_between_words_and_tables_are_not() -> None:
    text = "Advice:\n  one two three\nlabel  images  all\n--a_long_option"
    assert wrapped(text, 10).split("\n") == [
        "Advice:", "  one two", "  three", "label  images  all", "--a_long_option",
    ]  # fmt: skip
    assert wrapped(text, 80) == text


def test_bytes_have_a_unit_that_fits() -> None:
    sizes = (0, 1, 999, 1500, 2e6, 3.25e9, 4e12, 5e15)
    assert [byte_size(size) for size in sizes] == [
        "0 bytes", "1 byte", "999 bytes", "1.5 KB", "2.0 MB", "3.2 GB", "4.0 TB", "5000.0 TB",
    ]  # fmt: skip
