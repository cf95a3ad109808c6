"""What compressed pictures say of themselves."""

import io

import numpy as np
import pydicom
import pytest
from helpers import GREY
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import generate_frames

from diff3m.imaging import read_radiograph
from diff3m.imaging.jpeg import PictureHeader, count_scans, read_jpeg_header, read_picture_header


def jpeg(**options) -> bytes:
    """GREY, 96×96, as a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(GREY).save(buffer, "JPEG", **options)
    return buffer.getvalue()


def first_frame(name: str) -> bytes:
    """The first frame of one of pydicom's own files."""
    return next(generate_frames(pydicom.dcmread(get_testdata_file(name)).PixelData, number_of_frames=1))


def test_a_phones_video_behind_a_jpeg_does_not_count():
    data = jpeg()
    motion = data + np.random.default_rng(0).bytes(20 * 2**20)
    assert count_scans(motion, 200) == count_scans(data, 200) == 1
    assert read_radiograph(motion).pixels == pytest.approx(read_radiograph(data).pixels)
    progressive = jpeg(progressive=True)
    assert count_scans(progressive, 200) == progressive.count(b"\xff\xda") > 1
    assert count_scans(progressive, 0) == 1, "counting ends one beyond the limit"


def test_headers_give_size_and_coding():
    height, width = GREY.shape
    assert read_jpeg_header(jpeg()) == PictureHeader(width, height, 0xC0, 8, 1)
    assert read_jpeg_header(jpeg(progressive=True)) == PictureHeader(width, height, 0xC2, 8, 1)
    assert read_jpeg_header(first_frame("MR_small_jpeg_ls_lossless.dcm")) == PictureHeader(64, 64, 0xF7, 16, 1)
    assert read_picture_header(first_frame("MR_small_jp2klossless.dcm")) == PictureHeader(64, 64)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xc0\0\x0b\x08", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_other_bytes_have_no_header(data):
    assert read_jpeg_header(data) is None and read_picture_header(data) is None
