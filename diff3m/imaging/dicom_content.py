"""Recognition of DICOM files by their bytes, without pydicom, which takes a quarter of a second to import."""

from __future__ import annotations

VRS = frozenset(  # value representations of PS3.5
    b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV".split()
)
FIRST_GROUPS = range(0x0002, 0x0030)  # groups of the first element: a picture's size and kind are in these
MAX_FIRST_LENGTH = 4096  # bytes of the first element's value in a data set with implicit VRs


def has_dicom_prefix(data: bytes) -> bool:
    """Tell whether bytes have "DICM" behind a preamble of 128 bytes."""
    return data[128:132] == b"DICM"


def without_blank_preamble(data: bytes) -> bytes:
    """Remove a preamble of 128 zeros that "DICM" does not follow, or a "DICM" without a preamble."""
    if data[:4] == b"DICM" and not has_dicom_prefix(data):
        return data[4:]
    return data[128:] if data[:128] == bytes(128) and not has_dicom_prefix(data) else data


def looks_like_dicom(data: bytes) -> bool:
    """Tell whether bytes are those of a DICOM file; the first 512 suffice.

    A DICOM file has "DICM" at byte 128, or, without preamble, a plausible first data element: a low group, and either a
    known VR in either byte order or, in little-endian order, a short even length.
    """
    if has_dicom_prefix(data):
        return True
    data = without_blank_preamble(data)
    if len(data) < 8:
        return False
    for order in ("little", "big"):
        group, element = int.from_bytes(data[:2], order), int.from_bytes(data[2:4], order)
        if group not in FIRST_GROUPS:
            continue
        if data[4:6] in VRS:
            return True
        length = int.from_bytes(data[4:8], order)
        if order == "little" and group % 2 == 0 and element < 0x4000 and length % 2 == 0 and length <= MAX_FIRST_LENGTH:
            return True
    return False
