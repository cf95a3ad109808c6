"""ZIPs from strangers: harmless ones are read without writing, harmful ones are refused with a sentence."""

import os
import stat
import zipfile

import pytest

from diff3m.data import archive
from diff3m.data.archive import Archive, ArchiveError


@pytest.fixture
def pack(tmp_path):
    def made(files: dict[str, bytes], **options):
        path = tmp_path / "films.zip"
        with zipfile.ZipFile(path, "w", **options) as file:
            for name, data in files.items():
                file.writestr(name, data)
        return path

    return made


def test_files_are_found_by_path_or_by_their_only_name(pack):
    opened = Archive(pack({"a/one.png": b"1", "b/two.png": b"2", "b/one.png": b"3", "a/": b""}))
    assert opened.names == ["a/one.png", "b/two.png", "b/one.png"]
    assert opened.find("a/one.png") == opened.find("a\\one.png") == "a/one.png"
    assert (
        opened.find("elsewhere/two.png") == "b/two.png"
        and opened.find("one.png") is None
        and opened.find("x.png") is None
    )
    assert opened.read("b/one.png") == b"3"


@pytest.mark.parametrize(
    ("name", "word"),
    [("../out.png", "leads out"), ("a/../../out.png", "leads out"), ("/etc/out.png", "leads out"), ("C:\\out.png", "leads out"),
     ("films.zip", "another archive"), ("films.tar.gz", "another archive")],
)  # fmt: skip
def test_paths_that_lead_out_and_nested_archives_are_refused(pack, name, word):
    with pytest.raises(ArchiveError, match=word):
        Archive(pack({"good.png": b"1", name: b"2"}))


def test_links_are_refused(tmp_path):
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as file:
        entry = zipfile.ZipInfo("film.png")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(entry, "/etc/passwd")
    with pytest.raises(ArchiveError, match="link"):
        Archive(path)


def test_too_many_too_large_and_bombs_are_refused(pack, monkeypatch):
    with pytest.raises(ArchiveError, match="far more than any film"):
        Archive(pack({"bomb.png": bytes(50 * 2**20)}, compression=zipfile.ZIP_DEFLATED))
    monkeypatch.setattr(archive, "MAX_FILES", 3)
    with pytest.raises(ArchiveError, match="4 files"):
        Archive(pack({f"{index}.png": b"x" for index in range(4)}))
    monkeypatch.setattr(archive, "MAX_BYTES", 10)
    with pytest.raises(ArchiveError, match="unpacks to more"):
        Archive(pack({"a.png": b"x" * 20}))
    monkeypatch.setattr(archive, "MAX_BYTES", 10**6)
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 10)
    with pytest.raises(ArchiveError, match="a file of more than"):
        Archive(pack({"a.png": b"x" * 20}))


def test_a_million_files_are_refused_at_once(tmp_path):
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as file:
        for index in range(20_000):
            file.writestr(f"{index}", b"")
    with pytest.raises(ArchiveError, match="20,000 files"):
        Archive(path)


def test_damaged_empty_and_foreign_files_are_refused(pack, tmp_path):
    with pytest.raises(ArchiveError, match="empty"):
        Archive(pack({}))
    path = tmp_path / "letter.zip"
    path.write_bytes(b"dear reader" * 100)
    with pytest.raises(ArchiveError, match="no ZIP"):
        Archive(path)
    good = pack({"film.png": os.urandom(5000)})
    data = bytearray(good.read_bytes())
    data[1000:1100] = bytes(100)
    good.write_bytes(data)
    with pytest.raises(ArchiveError, match="damaged"):
        Archive(good).read("film.png")
