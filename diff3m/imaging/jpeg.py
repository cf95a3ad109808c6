"""What compressed pictures say of themselves: markers and frame headers of JPEG and JPEG-LS, and the size of JPEG 2000.

Sources: ITU-T T.81 (JPEG), annex B; T.87 (JPEG-LS), annex C; T.800 (JPEG 2000), annex A.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

START_OF_IMAGE = b"\xff\xd8"
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9
FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}  # the SOF markers, and that of JPEG-LS
SEGMENT = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)  # none of these can stand within a scan
JPEG_2000_CODESTREAM = b"\xff\x4f\xff\x51"  # start of codestream, then the marker of the size
MAX_BOXES = 4096  # bytes of a JPEG 2000 file before its codestream


@dataclass(frozen=True)
class PictureHeader:
    """What a compressed picture says of itself.

    width, height: in pixels. marker: of the frame header of a JPEG or JPEG-LS picture, e.g. 0xC0 for baseline; 0 for
    JPEG 2000. precision: bits a value, and components: channels; None for JPEG 2000.
    """

    width: int
    height: int
    marker: int = 0
    precision: int | None = None
    components: int | None = None


def segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the marker of each segment of a JPEG file, and the position of its length."""
    position = len(START_OF_IMAGE)
    while match := SEGMENT.search(data, position):
        yield match[1][0], match.end()
        position = match.end() + max(2, int.from_bytes(data[match.end() : match.end() + 2], "big"))


def count_scans(data: bytes, limit: int) -> int:
    """Return the number of scans of the first picture of a JPEG file; counting ends one beyond `limit`.

    What follows the picture's end, for example the video of a phone, does not count.
    """
    scans = 0
    for marker, _ in segments(data):
        if marker == END_OF_IMAGE or scans > limit:
            break
        scans += marker == START_OF_SCAN
    return scans


def read_jpeg_header(data: bytes) -> PictureHeader | None:
    """Read the frame header of a JPEG or JPEG-LS picture; None where the bytes are no such picture."""
    if not data.startswith(START_OF_IMAGE):
        return None
    position = next((position for marker, position in segments(data) if marker in FRAME_HEADERS), None)
    if position is None or position + 8 > len(data):
        return None
    precision, height, width, components = struct.unpack_from(">B2HB", data, position + 2)
    return PictureHeader(width, height, data[position - 1], precision, components)


def read_picture_header(data: bytes) -> PictureHeader | None:
    """Read the header of a JPEG, JPEG-LS or JPEG 2000 picture; None where the bytes are no such picture."""
    start = data.find(JPEG_2000_CODESTREAM, 0, MAX_BOXES)
    if start < 0:
        return read_jpeg_header(data)
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    return PictureHeader(right - left, bottom - top)
