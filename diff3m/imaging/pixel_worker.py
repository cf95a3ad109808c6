"""Run as a script by `dicom_pixels`: a DICOM data set on standard input, its stored pixels as .npy on standard output.

Stands alone (no import from the package), so that it starts in a fraction of a second.
"""

import io
import sys

MEMORY_LIMIT = 3 * 2**30  # bytes of address space


def main() -> None:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError):  # not on Windows; a lower limit may be set already
        pass
    import numpy as np
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(sys.stdin.buffer.read()), force=True)
    out = io.BytesIO()
    np.save(out, dataset.pixel_array, allow_pickle=False)
    sys.stdout.buffer.write(out.getvalue())


if __name__ == "__main__":
    main()
