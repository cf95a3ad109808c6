"""Reading a film from a file of any supported format, which is recognized by its content and never by its suffix."""

from __future__ import annotations

import os
import stat

from .dicom_content import has_dicom_prefix, looks_like_dicom
from .radiograph import MAX_BYTES, Radiograph, RadiographError
from .raster import looks_like_raster, read_raster


def read_radiograph(source: str | os.PathLike | bytes) -> Radiograph:
    """Read a film.

    source: path or bytes of a DICOM, PNG, JPEG, WebP or TIFF file of at most 256 MB. Raises RadiographError, whose
    message says what to do.
    """
    data = _bytes(source)
    if len(data) > MAX_BYTES:
        raise RadiographError(f"The file is larger than {MAX_BYTES // 2**20} MB. Export a single film.")
    if not data:
        raise RadiographError("The file is empty. Export or download it again.")
    # a DICOM file's preamble may be the beginning of a TIFF
    if has_dicom_prefix(data) or (looks_like_dicom(data) and not looks_like_raster(data)):
        from .dicom import read_dicom  # with pydicom, which other films do not need

        return read_dicom(data)
    return read_raster(data)


def _bytes(source: str | os.PathLike | bytes) -> bytes:
    """Return the first `MAX_BYTES` + 1 bytes of a file, or the bytes themselves. Raises RadiographError."""
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source)
    try:
        path = os.fspath(source)
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise RadiographError("This is a folder. Choose one image or DICOM file in it.")
        if not stat.S_ISREG(mode):
            raise RadiographError("This is no ordinary file. Choose an image or DICOM file.")
        with open(path, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise RadiographError("There is no such file. Check the path.") from None
    except (OSError, TypeError, ValueError) as error:
        if isinstance(error, RadiographError):
            raise
        raise RadiographError("The file cannot be read. Check that it exists and that you may open it.") from None
