"""Script that `dicom_syntax` runs: DICOM data set on standard input → its stored pixels as .npy on standard output.

Its argument is the processor time that it may take, in seconds. It imports nothing from the package, so that it starts
in a fraction of a second.
"""

import io
import sys

MEMORY_LIMIT = 3 * 2**29  # bytes of address space
JPEG_EXTENDED = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")  # transfer syntaxes


def main() -> None:
    """Limit the process's memory, decode the picture on standard input and write it to standard output."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (int(sys.argv[1]), int(sys.argv[1])))
    except (ImportError, ValueError):  # not on Windows; a lower limit may be set already
        pass
    import numpy as np
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(sys.stdin.buffer.read()), force=True)
    if dataset.file_meta.TransferSyntaxUID in JPEG_EXTENDED:  # of 12 bits, which no plugin of pydicom's reads
        from imagecodecs import jpeg8_decode
        from pydicom.encaps import generate_frames

        pixels = jpeg8_decode(next(generate_frames(dataset.PixelData, number_of_frames=1)))
    else:
        from pydicom.pixels import pixel_array

        pixels = pixel_array(dataset, correct_unused_bits=False)
    out = io.BytesIO()
    np.save(out, pixels, allow_pickle=False)
    sys.stdout.buffer.write(out.getvalue())


if __name__ == "__main__":
    main()
