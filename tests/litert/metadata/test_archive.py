"""The zip at the end of a LiteRT file."""

from __future__ import annotations

import io
import zipfile

import pytest

from tlcli.litert.metadata.archive import append_files, split_files

FILES = {"labels.txt": "데이지\n".encode(), "score_calibration.txt": b"1,1,0,0.5\n"}


def test_zipfile_reads_it_and_positions_count_from_the_beginning() -> None:
    content = append_files(b"x" * 1000, FILES, b"the end")
    assert content.endswith(b"the end")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        entries = archive.infolist()
        assert [each.filename for each in entries] == list(FILES)
        assert {each.compress_type for each in entries} == {zipfile.ZIP_STORED}
        assert content[entries[0].header_offset :][:4] == b"PK\x03\x04"
        assert entries[0].header_offset == 1000


def test_the_same_files_give_the_same_bytes() -> None:
    assert append_files(b"x", FILES) == append_files(b"x", FILES)


def test_what_was_appended_is_split_again() -> None:
    assert split_files(append_files(b"x" * 99, FILES)) == (b"x" * 99, FILES)


@pytest.mark.parametrize("content", [b"", b"x" * 99, b"PK\x05\x06" + b"\xff" * 18])
def test_what_has_no_zip_stays_whole(content: bytes) -> None:
    assert split_files(content) == (content, {})


def test_a_zip_bomb_stays_where_it_is() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("labels.txt", bytes(64 << 20))
    assert split_files(stream.getvalue()) == (stream.getvalue(), {})
