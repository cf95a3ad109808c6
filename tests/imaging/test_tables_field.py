"""Records, tables and archives as people of several countries and systems write them."""

import zipfile

import numpy as np
import pytest
from helpers import GREY, scaled, tiff

from diff3m.data.archive import Archive
from diff3m.data.manifest import ManifestError, read_manifest
from diff3m.data.paths import is_junk
from diff3m.ehr import paper_schema
from diff3m.imaging import read_radiograph

SCHEMA = paper_schema()
HEAD = "path,age,sex,view,label\n"


@pytest.mark.parametrize("name, text, value", [
    *[("age", text, 63) for text in ("63岁", "63歳", "63세", "63 лет", "63 años", "63 lat")],
    *[("age", text, 63) for text in ("63 y.o.", "+63", "756 Monate")],
    *[("age", text, None) for text in ("-0", "+0", "-0.0", "0 Jahre", "+999")],
    ("height_cm", "5'10½\"", 70.5 * 2.54), ("height_cm", "178 см", 178), ("height_cm", "178厘米", 178),
    ("weight_kg", "70 кг", 70), ("weight_kg", "70公斤", 70), ("weight_kg", "70,5 Kilogramm", 70.5),
    *[("sex", text, "F") for text in ("女", "Ж", "Kobieta", "Kadın", "여성")],
    *[("sex", text, "M") for text in ("男", "муж", "Mężczyzna", "erkek", "남")],
    ("view", "PA1", "PA"), ("view", "Post-Ant", "PA"), ("view", "AP_MOBILE", "AP"), ("view", "de frente", None),
])  # fmt: skip
def test_values_in_several_languages(name, text, value):
    assert SCHEMA[name].parse(text) == (value if value is None or isinstance(value, str) else pytest.approx(value))


@pytest.mark.parametrize("view", ["侧位", "側面", "боковая", "SEITLICH", "SIDE", "Latéro-latéral", "laterale"])
def test_side_views_in_several_languages_are_refused_by_name(view):
    with pytest.raises(ValueError, match="lateral view"):
        SCHEMA["view"].parse(view)


def manifest(folder, data: bytes):
    (folder / "films.csv").write_bytes(data)
    return read_manifest(folder / "films.csv", SCHEMA)


@pytest.mark.parametrize("extra", [",,,,\n", "\u200b,,,,\n", "\ufeff,\u200b,,,\n", '"","",,,""\n', "\t,\u00a0,,,\n"])
def test_rows_without_a_value_are_left_out_anywhere(tmp_path, extra):
    row = "a.png,63,F,PA,normal\n"
    assert len(manifest(tmp_path, (HEAD + row + extra).encode())) == 1
    assert len(manifest(tmp_path, (",,,,\n" + HEAD + row).encode())) == 1


@pytest.mark.parametrize("encoding, name", [
    ("cp932", "胸部"), ("cp1250", "Dvořák"), ("cp1257", "Šarūnas"), ("cp1254", "İstanbul"), ("cp1251", "снимок"),
])  # fmt: skip
def test_no_table_is_read_as_other_letters(tmp_path, encoding, name):
    with pytest.raises(ManifestError, match="CSV UTF-8"):
        manifest(tmp_path, f"{HEAD}{name}.png,63,F,PA,normal\n".encode(encoding))


class RawName(zipfile.ZipInfo):
    """An entry whose name is written as the bytes given, without the flag for UTF-8."""

    raw = b""

    def _encodeFilenameFlags(self):
        return self.raw, self.flag_bits & ~0x800


@pytest.mark.parametrize("encoding, name", [
    ("cp932", "胸部表.png"), ("gb18030", "胸片/张三.png"), ("cp949", "흉부.png"), ("cp866", "грудь.png"),
    ("cp1251", "снимок.png"), ("cp1250", "płuca.png"), ("cp737", "θώρακας.png"), ("cp857", "göğüs.png"),
    ("cp862", "חזה.png"),
])  # fmt: skip
def test_names_in_a_zip_of_any_country_are_found(tmp_path, encoding, name):
    entry = RawName("placeholder")
    entry.raw = name.encode(encoding)
    with zipfile.ZipFile(tmp_path / "films.zip", "w") as archive:
        archive.writestr(entry, b"film")
        archive.writestr("other.png", b"another")
    films = Archive(tmp_path / "films.zip")
    assert films.read(films.find(name)) == b"film"


def test_what_systems_and_devices_leave_behind_is_no_film():
    junk = (
        *("@eaDir/a.png/SYNOPHOTO_THUMB_M.jpg", ".Trash-1000/files/a.png", ".AppleDouble/a.png", "#recycle/a.png"),
        *("films/thumbs.db:encryptable", "DICOMDIR", "films\\.thumbnails\\a.png", ".ipynb_checkpoints/a.png"),
    )
    assert all(map(is_junk, junk)) and not any(map(is_junk, ("a.png", "./films/a.png", "../a.dcm", "1.2.840.1")))


def test_signed_tiffs_of_8_bits():
    film = (GREY.astype(np.int16) - 128).astype(np.int8)
    assert read_radiograph(tiff(film)).pixels == pytest.approx(scaled(film), abs=1e-6)
