"""Thousands of damaged files: an answer or our own error, in ten seconds and under 1.5 GB; nothing else.

Seconds are those of the processor, so that a busy machine fails no file; a file that only waits ends the process.

Run as a script, `python test_damaged_files.py KIND COUNT SEED FOLDER`, it feeds COUNT files, mutated from those in
FOLDER, to the reader of their kind, in a process of its own: a decoder that hangs or dies is seen from outside.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import subprocess
import sys
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from diff3m.data.archive import Archive, ArchiveError
from diff3m.data.manifest import ManifestError, read_manifest
from diff3m.ehr import EHRError, paper_schema
from diff3m.imaging import RadiographError, inspect, read_radiograph

ROOT = Path(__file__).resolve().parent.parent
SECONDS_EACH = 10  # of the processor, the processes that a reader starts included
MAX_WAIT = 90  # seconds on the clock
MAX_BYTES = 3 * 2**29  # of the process, and of each that it starts
LEAST_ANSWERED = 0.1  # share of the mutated files that are still read; else mutations only ever hit the first check
PROCESSES = 2
PNG_HEAD = 128  # bytes: signature, header and what else stands before the pixels
COUNTS = {"dicom": 3_000, "png": 1_300, "jpeg": 1_300, "tiff": 1_400, "zip": 1_000, "csv": 1_000, "parquet": 1_000}
SHARE = 1_000  # inputs of one process
QUICK = 15  # of each kind, in the usual run
PYDICOMS_OWN = (
    "JPEG2000.dcm",
    "JPGExtended.dcm",
    "MR_small_RLE.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_padded.dcm",
    "color-pl.dcm",
    "mlut_18.dcm",
    "examples_palette.dcm",
    "SC_rgb_dcmtk_+eb+cy+n1.dcm",
)
DECODED_APART = ("JPGExtended.dcm", "MR_small_RLE.dcm", "MR_small_jpeg_ls_lossless.dcm")  # each starts a process


def write_seeds(folder: Path) -> None:
    """Small whole files of every kind, each under a folder of its kind's name."""
    import cv2
    import pandas as pd
    import pydicom
    from helpers import dicom_film, drawn_film
    from PIL import Image
    from pydicom.data import get_testdata_file

    grey = (drawn_film(96) * 255).astype(np.uint8)
    deep = grey.astype(np.uint16) * 16
    for kind in COUNTS:
        (folder / kind).mkdir()
    (folder / "dicom" / "drawn.dcm").write_bytes(dicom_film())
    (folder / "dicom" / "headless.dcm").write_bytes(dicom_film()[132:])
    for name in PYDICOMS_OWN:
        path = get_testdata_file(name, download=False)
        if path is not None and Path(path).stat().st_size < 300_000:
            dataset = pydicom.dcmread(path, force=True)
            dataset.Modality = "CR"  # else it is refused before its pixels are decoded
            if max(dataset.Rows, dataset.Columns) > 2 * min(
                dataset.Rows, dataset.Columns
            ):  # the same of a long picture
                dataset.PixelAspectRatio = [dataset.Columns, dataset.Rows]
                for tag in ("PixelSpacing", "ImagerPixelSpacing"):
                    delattr(dataset, tag) if tag in dataset else None
            dataset.save_as(folder / "dicom" / name, enforce_file_format=False)
    for kind, suffix in (("png", "PNG"), ("jpeg", "JPEG"), ("tiff", "TIFF")):
        Image.fromarray(grey).save(folder / kind / "grey", suffix)
        Image.fromarray(np.dstack([grey] * 3)).save(folder / kind / "rgb", suffix)
    Image.fromarray(grey).save(folder / "jpeg" / "progressive", "JPEG", progressive=True)
    Image.fromarray(grey).save(folder / "tiff" / "lzw", "TIFF", compression="tiff_lzw")
    Image.fromarray(deep).save(folder / "tiff" / "deflate", "TIFF", compression="tiff_adobe_deflate")
    Image.fromarray(grey.astype(np.float32)).save(folder / "tiff" / "float", "TIFF")
    Image.fromarray(grey).save(folder / "tiff" / "pages", "TIFF", save_all=True, append_images=[Image.fromarray(grey)])
    for name, image in (("deep", deep), ("deep-rgb", np.dstack([deep] * 3)), ("deep-rgba", np.dstack([deep] * 4))):
        (folder / "png" / name).write_bytes(cv2.imencode(".png", image)[1].tobytes())
    (folder / "tiff" / "deep-rgb").write_bytes(cv2.imencode(".tiff", np.dstack([deep] * 3))[1].tobytes())
    rows = {
        "path": ["a.png", "b.png"],
        "age": ["063Y", "71"],
        "sex": ["F", "M"],
        "view": ["PA", "AP"],
        "label": ["normal", "x"],
    }
    table = pd.DataFrame({**rows, "height_cm": ["1.70 m", "5'10\""], "weight_kg": [70.5, 81.0], "patient": ["1", "2"]})
    table.to_csv(folder / "csv" / "comma.csv", index=False)
    (folder / "csv" / "semicolon.csv").write_text(table.to_csv(index=False, sep=";", decimal=","))
    (folder / "csv" / "utf16.csv").write_bytes(table.to_csv(index=False).encode("utf-16"))
    table.to_parquet(folder / "parquet" / "table.parquet", index=False)
    for name, method in (("stored.zip", zipfile.ZIP_STORED), ("deflated.zip", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(folder / "zip" / name, "w", method) as archive:
            archive.writestr("films/a.png", (folder / "png" / "grey").read_bytes())
            archive.writestr("films/b.dcm", dicom_film())


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with bytes changed, cut off, repeated or deleted; half of the changes lie in its first kilobyte."""
    content = bytearray(data)
    for _ in range(int(rng.integers(1, 5))):
        end = min(len(content), 1024) if rng.random() < 0.5 else len(content)
        place, kind = int(rng.integers(0, max(1, end))), rng.integers(0, 6)
        if kind <= 2:
            content[place : place + 1] = bytes([int(rng.integers(0, 256))])
        elif kind == 3:
            extreme = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x01\0\0\0", b"\xff\xff", b"\0\0")
            value = extreme[int(rng.integers(len(extreme)))]
            content[place : place + len(value)] = value
        elif kind == 4:
            del content[place : place + int(rng.integers(1, 64))]
        else:
            content[place:place] = content[place : place + int(rng.integers(1, 64))]
    return bytes(content[: int(rng.integers(1, len(content) + 1))]) if rng.random() < 0.1 else bytes(content)


def with_checksums(data: bytes) -> bytes:
    """Correct the checksums of a PNG's chunks, so that more than the first check of the reader is tested."""
    content, place = bytearray(data), 8
    while (end := place + 8 + int.from_bytes(content[place : place + 4], "big")) + 4 <= len(content):
        content[end : end + 4] = zlib.crc32(content[place + 4 : end]).to_bytes(4, "big")
        place = end + 4
    return bytes(content)


def read(kind: str, data: bytes, folder: Path) -> bool:
    """Read one input as the product does; True for an answer, False for our own error. Anything else is raised."""
    path = folder / f"input.{kind}"
    try:
        if kind == "zip":
            path.write_bytes(data)
            archive = Archive(path)
            for name in archive.names:
                with suppress(ArchiveError, RadiographError):
                    read_radiograph(archive.read(name))
            archive.close()
        elif kind in ("csv", "parquet"):
            path.write_bytes(data)
            read_manifest(path, paper_schema())
        else:
            film = read_radiograph(data)
            assert film.pixels.ndim == 2 and film.pixels.dtype == np.float32 and np.isfinite(film.pixels).all()
            assert film.pixels.min() >= 0 and film.pixels.max() <= 1
            with suppress(RadiographError):
                inspect(film)
    except (RadiographError, ArchiveError, ManifestError, EHRError) as error:
        assert str(error).endswith((".", ")")), f"not a sentence: {error}"
        return False
    return True


def processor_seconds() -> float:
    """What this process and those that it started have used so far."""
    return sum(os.times()[:4])


def peak_memory() -> int:
    """The largest memory in bytes that this process, or one that it started, has held.

    On Linux the kernel's `ru_maxrss` of a process begins with its parent's size, so its own mark is read instead.
    """
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    status = Path("/proc/self/status")
    if not status.is_file():
        return max(children, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    mark = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
    return max(children, int(mark.split()[1]) * 1024)


def feed(kind: str, count: int, seed: int, folder: Path) -> None:
    """Feed mutated files to the reader of their kind.

    An input that fails stays in the folder, with a line on standard output.
    """
    rng = np.random.default_rng([seed, *kind.encode()])
    paths = sorted((folder / kind).iterdir())
    paths += [path for path in paths if path.name not in DECODED_APART]  # these take a second each: half as often
    seeds = [path.read_bytes() for path in paths]
    work = folder / f"{kind}-{seed}"
    work.mkdir()
    answers, failures, slowest = 0, 0, 0.0
    for index in range(count):
        data = seeds[index % len(seeds)]
        if kind == "png" and index % 2:  # a PNG's checksums hide all but the first check
            data = with_checksums(mutated(data[:PNG_HEAD], rng) + data[PNG_HEAD:])
        else:
            data = mutated(data, rng)
        (work / "current").write_bytes(data)
        faulthandler.dump_traceback_later(MAX_WAIT, exit=True)
        start = processor_seconds()
        try:
            answers += read(kind, data, work)
        except BaseException as error:
            failures += 1
            (work / f"failed-{index}").write_bytes(data)
            place = error.__traceback__
            while place.tb_next is not None and "diff3m" in place.tb_next.tb_frame.f_code.co_filename:
                place = place.tb_next
            where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}"
            print(f"{kind} {seed} {index}: {type(error).__name__} at {where}: {str(error)[:200]}")
        faulthandler.cancel_dump_traceback_later()
        slowest = max(slowest, processor_seconds() - start)
    print(f"END {answers} {failures} {slowest:.2f} {peak_memory()}")


@pytest.mark.skipif(sys.platform == "win32", reason="limits of processes are read as on Unix")
@pytest.mark.parametrize("counts", [
    pytest.param(dict.fromkeys(COUNTS, QUICK), id="quick"),
    pytest.param(COUNTS, id="ten thousand", marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
])  # fmt: skip
def test_damaged_files_give_an_answer_or_our_own_error(tmp_path, counts):
    write_seeds(tmp_path)
    shares = [
        (kind, min(SHARE, count - start), start // SHARE)
        for kind, count in counts.items()
        for start in range(0, count, SHARE)
    ]

    def run(share: tuple[str, int, int]) -> tuple[str, subprocess.CompletedProcess]:
        command = [sys.executable, __file__, *map(str, share), str(tmp_path)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return share[0], subprocess.run(command, capture_output=True, text=True, timeout=1700, env=environment)

    with ThreadPoolExecutor(PROCESSES) as pool:
        results = list(pool.map(run, shares))
    answer_counts = dict.fromkeys(counts, 0)
    for kind, result in results:
        assert result.returncode == 0, (
            f"{kind}: a file took over {MAX_WAIT} s or ended the process:\n{result.stderr[-3000:]}"
        )
        *failures, end = result.stdout.splitlines()
        assert not failures, "\n".join(failures)
        assert "Traceback" not in result.stderr
        _, answers, _, slowest, peak_bytes = end.split()
        assert float(slowest) <= SECONDS_EACH and int(peak_bytes) < MAX_BYTES, (
            f"{kind}: {slowest} s, {int(peak_bytes) / 2**20:.0f} MB"
        )
        answer_counts[kind] += int(answers)
    assert sum(answer_counts.values()) >= LEAST_ANSWERED * sum(counts.values()), answer_counts


if __name__ == "__main__":
    feed(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
