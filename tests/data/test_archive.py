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
    zip_archive = Archive(pack({"a/one.png": b"1", "b/two.png": b"2", "b/one.png": b"3", "a/": b""}))
    assert zip_archive.names == ["a/one.png", "b/two.png", "b/one.png"]
    assert zip_archive.find("a/one.png") == zip_archive.find("a\\one.png") == "a/one.png"
    assert (
        zip_archive.find("elsewhere/two.png") == "b/two.png"
        and zip_archive.find("one.png") is None
        and zip_archive.find("x.png") is None
    )
    assert zip_archive.read("b/one.png") == b"3"


@pytest.mark.parametrize(
    ("name", "word"),
    [("../out.png", "leads out"), ("a/../../out.png", "leads out"), ("/etc/out.png", "leads out"),
     ("C:\\out.png", "leads out"),
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


def zip_of(tmp_path, entries: list[tuple[bytes, int]]):
    """A ZIP whose names are these raw bytes, with these flags.

    Windows and macOS tools write such names and `zipfile` would not.
    """
    path = tmp_path / "films.zip"
    stand_ins = [f"{index:0{len(name)}d}"[: len(name)].encode() for index, (name, _) in enumerate(entries)]
    with zipfile.ZipFile(path, "w") as file:
        for index, stand_in in enumerate(stand_ins):
            file.writestr(stand_in.decode(), f"film {index}")
    data = bytearray(path.read_bytes())
    for stand_in, (name, flags) in zip(stand_ins, entries, strict=True):
        for signature, at, flags_at in ((b"PK\x03\x04", 30, 6), (b"PK\x01\x02", 46, 8)):
            place = data.find(signature)
            while data[place + at : place + at + len(name)] != stand_in:
                place = data.find(signature, place + 1)
            data[place + at : place + at + len(name)] = name
            data[place + flags_at : place + flags_at + 2] = flags.to_bytes(2, "little")
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("raw", "flags", "name"),
    [
        (b"films\\a1.png", 0, "films/a1.png"),
        ("films/Ba\u0308r.png".encode(), 0x800, "films/B\u00e4r.png"),
        ("films/Ba\u0308r.png".encode(), 0, "films/B\u00e4r.png"),  # macOS: UTF-8 without the flag
        ("films/B\u00e4r.png".encode(), 0, "films/Ba\u0308r.png"),
        ("films\\B\u00e4r.png".encode("cp437"), 0, "films/B\u00e4r.png"),
        ("films\\B\u00e4r.png".encode("cp1252"), 0, "films/B\u00e4r.png"),
        ("films\\\u00c1rea.png".encode("cp850"), 0, "films/\u00c1rea.png"),
    ],
)
def test_names_of_all_systems_are_found(tmp_path, raw, flags, name):
    zip_archive = Archive(zip_of(tmp_path, [(b"other.png", 0), (raw, flags)]))
    for spelling in (name, name.replace("/", "\\"), f"./{name}"):
        match = zip_archive.match(spelling)
        assert match is not None and zip_archive.read(match.name) == b"film 1" and not match.note
    assert "\\" not in "".join(zip_archive.names)


def test_case_is_ignored_as_a_last_resort_and_said(pack):
    zip_archive = Archive(pack({"Films/A.PNG": b"1", "films/b.png": b"2"}))
    match = zip_archive.match("films/a.png")
    assert match.name == "Films/A.PNG" and "upper and lower case alone" in match.note
    assert zip_archive.match("films/b.png").note == ""


def test_of_files_of_one_name_the_path_that_ends_alike_is_meant(pack):
    zip_archive = Archive(pack({"set/p1/view.png": b"1", "set/p2/view.png": b"2"}))
    assert zip_archive.find("C:\\data\\p2\\view.png") == "set/p2/view.png" and zip_archive.find("view.png") is None


def test_what_operating_systems_leave_behind_is_no_film(pack):
    junk = (
        "__MACOSX/films/._a.png",
        "__MACOSX/._films.zip",
        ".DS_Store",
        "films/Thumbs.db",
        "films/desktop.ini",
        "films/._a.png",
        "~$films.csv",
    )
    zip_archive = Archive(pack({"films/a.png": b"1", **dict.fromkeys(junk, b"x")}))
    assert zip_archive.names == ["films/a.png"] and zip_archive.find("a.png") == "films/a.png"
    with pytest.raises(ArchiveError, match="empty"):
        Archive(pack(dict.fromkeys(junk, b"x")))
