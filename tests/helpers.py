"""Pictures, files and small networks that tests of several rooms share; fixtures are in conftest.py."""

from __future__ import annotations

import gzip
import io
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pydicom
import torch
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, SecondaryCaptureImageStorage

from diff3m.cli.main import main
from diff3m.data.phantom import make_person
from diff3m.ehr import EHRSchema
from diff3m.network import NetworkConfig
from diff3m.training.config import TrainingConfig

ROOT = Path(__file__).resolve().parent.parent
REAL_DATA = Path(os.environ.get("DIFF3M_TEST_DATA", ROOT.parent / "shared" / "data"))
GOLDEN = Path(__file__).resolve().parent / "released" / "golden"
RECORD = {"age": 60, "sex": "F", "view": "AP", "bmi": 31, "height_cm": 165, "systolic_mmhg": 150, "diastolic_mmhg": 80}

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def drawn_film(size: int = 96, seed: int = 0, bright: float = 0.0) -> np.ndarray:
    """Two dark lungs on a bright chest, with a little noise: enough of a film for plumbing. (size, size) in [0, 1]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size] / size
    film = 0.75 - 0.15 * y
    for center in (0.3, 0.7):
        film -= 0.5 * np.exp(-(((x - center - 0.01 * rng.normal()) / 0.13) ** 2 + ((y - 0.45) / 0.28) ** 2))
    film += bright * np.exp(-(((x - 0.7) / 0.06) ** 2 + ((y - 0.5) / 0.06) ** 2))
    film[:, 0:2] = rng.uniform(0, 0.1, (size, 2))
    return np.clip(film + 0.02 * rng.normal(size=(size, size)), 0, 1).astype(np.float32)


@cache
def phantom_png(turns: int = 0, negative: bool = False) -> bytes:
    """A simulated chest film of 70×70 pixels, which the gate lets pass as it is, as a PNG file."""
    pixels = np.rot90(make_person(0).render(70), turns)
    return cv2.imencode(".png", ((1 - pixels if negative else pixels) * 255).astype(np.uint8))[1].tobytes()


def write_film(path: Path) -> None:
    """Write `phantom_png` to a path, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(phantom_png())


def write_gzip(path: Path, text: str) -> None:
    """Write a gzipped table, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()))


def dicom_film() -> bytes:
    """A DICOM file of a drawn film, 128×128, 12 bits, with age, sex and view in its header."""
    pixels = (drawn_film(128) * 4095).astype(np.uint16)
    return dicom(pixels, Modality="DX", PatientAge="063Y", PatientSex="F", ViewPosition="PA")


def dicom(pixels: np.ndarray, **tags) -> bytes:
    """A small but whole CR file around (rows, columns) uint16 or int16 pixels; a tag that is None is left out."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.Modality, dataset.PhotometricInterpretation = "CR", "MONOCHROME2"
    signed = pixels.dtype == np.int16
    dataset.SamplesPerPixel, dataset.BitsAllocated, dataset.PixelRepresentation = 1, 16, int(signed)
    dataset.BitsStored, dataset.HighBit = (16, 15) if signed else (12, 11)
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.PixelData = pixels.tobytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some values are malformed on purpose
        for name, value in tags.items():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)
        buffer = io.BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


FILM = np.round(drawn_film(128) * 4000).astype(np.uint16)
EXPECTED = (FILM.astype(np.float32) - FILM.min()) / float(np.ptp(FILM))


FILM_ROWS, FILM_COLUMNS = np.mgrid[:128, :128]
CORNERS = (np.hypot(FILM_ROWS - 64, FILM_COLUMNS - 64) > 75) | (FILM_ROWS + FILM_COLUMNS < 37)  # of FILM
DEEP = np.round(drawn_film(96) * 4000).astype(np.uint16)  # 12 bits
GREY = (DEEP >> 4).astype(np.uint8)


def scaled(values: np.ndarray) -> np.ndarray:
    """Return values scaled to 0 for the smallest and 1 for the largest, float64."""
    values = values.astype(np.float64)
    return (values - values.min()) / np.ptp(values)


def with_element(pixels: np.ndarray, *elements: tuple, implicit: bool = False, **tags) -> bytes:
    """A film with elements (tag, VR, value) of any VR."""
    dataset = pydicom.dcmread(io.BytesIO(dicom(pixels, **tags)))
    for element in elements:
        dataset.add_new(*element)
    if implicit:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    buffer = io.BytesIO()
    dataset.save_as(buffer, implicit_vr=implicit, little_endian=True)
    return buffer.getvalue()


def behind_meta(dataset: Dataset, syntax: str, implicit: bool, little: bool = True) -> bytes:
    """A file whose meta information names a transfer syntax, and whose data set is written as it likes."""
    meta, stream = Dataset(), DicomBytesIO()
    meta.add_new(0x00020010, "UI", syntax)
    stream.is_implicit_VR, stream.is_little_endian = False, True
    write_dataset(stream, meta)
    head = stream.getvalue()
    plain, body = Dataset(), DicomBytesIO()
    plain.update(dict(dataset.items()))
    body.is_implicit_VR, body.is_little_endian = implicit, little
    write_dataset(body, plain)
    return bytes(128) + b"DICM\x02\0\0\0UL\x04\0" + len(head).to_bytes(4, "little") + head + body.getvalue()


def tiff(
    *pages: np.ndarray,
    order: str = "<",
    white_is_zero: bool = False,
    thumbnails: tuple[bool, ...] = (),
    changes: dict[int, int] | None = None,
) -> bytes:
    """Write an uncompressed TIFF with one page for each array, from the specification.

    thumbnails: for each page, whether it is marked as a reduced version of another. changes: tags to overwrite.
    """
    data = {"<": b"II*\0", ">": b"MM\0*"}[order]
    place, blocks = 8, b""
    data += struct.pack(order + "I", place)
    for number, array in enumerate(pages):
        pixels = array.astype(array.dtype.newbyteorder(order)).tobytes()
        kind = {"u": 1, "i": 2, "f": 3}[array.dtype.kind]
        tags = {
            254: int(bool(thumbnails) and thumbnails[number]),
            256: array.shape[1],
            257: array.shape[0],
            258: array.itemsize * 8,
            259: 1,
            262: int(not white_is_zero),
            273: 0,
            277: 1,
            278: array.shape[0],
            279: len(pixels),
            339: kind,
        }
        tags |= changes or {}
        end = place + 2 + 12 * len(tags) + 4
        tags[273] = end
        last = number == len(pages) - 1
        block = struct.pack(order + "H", len(tags))
        block += b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags.items())
        block += struct.pack(order + "I", 0 if last else end + len(pixels)) + pixels
        blocks, place = blocks + block, place + len(block)
    return data + blocks


def compressed_dicom(frame: bytes, syntax: str, **tags) -> bytes:
    """A DICOM file of FILM's size whose pixels are a compressed frame."""
    dataset = pydicom.dcmread(io.BytesIO(dicom(FILM)))
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = encapsulate([frame + bytes(len(frame) % 2)])
    dataset["PixelData"].VR = "OB"
    for name, value in tags.items():
        setattr(dataset, name, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def tiny_network(schema: EHRSchema, **changes) -> NetworkConfig:
    """A network of two levels and 32 channels for films of 32×32."""
    settings = dict(
        image_size=32,
        space_to_depth=2,
        channels=32,
        channel_multipliers=(1, 2),
        blocks_per_level=1,
        attention_resolutions=(8,),
        shared_masked_encoder=True,
        fusion="multihead",
        fusion_heads=4,
        condition_encoders=True,
        parameterization="velocity",
        slots=schema.slots,
    )
    return NetworkConfig(**{**settings, **changes})


def randomize(network: torch.nn.Module, seed: int = 0, scale: float = 0.05) -> None:
    """Give every parameter a small random value, also those that start at zero, so that nothing is the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))


def run_command(capsys, *arguments) -> tuple[int, str, str]:
    """Run `diff3m` with arguments, and return its exit status, standard output and standard error."""
    status = main([str(argument) for argument in arguments])
    output = capsys.readouterr()
    return status, output.out, output.err


TRAINING_NETWORK = dict(
    image_size=32, space_to_depth=2, channels=32, channel_multipliers=[1, 2], fusion_heads=4, attention_resolutions=[8]
)


def training_config(folder, **changes) -> TrainingConfig:
    """Settings of a training of six steps on the films of a folder."""
    values = dict(
        name="test",
        manifest=str(folder / "manifest.csv"),
        validation=str(folder / "manifest.csv"),
        out=str(folder / "run"),
        network=TRAINING_NETWORK,
        steps=6,
        batch_size=4,
        warmup_steps=2,
        log_every=2,
        validate_every=3,
        precision="no",
        rotate_degrees=5,
        shift=0.05,
        gamma=0.1,
    )
    return TrainingConfig(**{**values, **changes})


def listed(folder, name: str, films: range, patients: tuple = (), column: str = "Patient") -> str:
    """A manifest of normal films, with their patients where given."""
    lines = [f"path,label,{column}"] + [
        f"film{film}.png,normal,{patients[place] if patients else ''}" for place, film in enumerate(films)
    ]
    (folder / name).write_text("\n".join(lines) + "\n")
    return str(folder / name)


def full_disk(*_) -> None:
    """Stand in for a write to a disk without space."""
    raise OSError(28, "No space left on device")


@contextmanager
def serving(log: Path, *arguments: str, **environment: str) -> Iterator[str]:
    """A server of the page, ended at the end: its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    everything = {**os.environ, "PORT": str(port), "HF_HUB_OFFLINE": "1", **environment}
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "app.py", *arguments], cwd=ROOT, env=everything, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(address, timeout=2)
                break
            except (urllib.error.URLError, OSError):
                assert process.poll() is None, log.read_text()
                time.sleep(0.5)
        yield address
    finally:
        process.terminate()
        process.wait(120)


def with_commas(text: str) -> str:
    """A table whose rows, but not its header, end in a comma."""
    head, *rows = text.splitlines()
    return "\n".join([head, *(f"{row}," for row in rows)]) + "\n"


SMALL_PARTS = "from diff3m.evaluation import shards\nshards.MAX_PARTS = 6\n"  # of 12 films: 2 in each
KILLED = """
import os, signal
write = shards.Parts._write
def once(parts, number, rows):
    write(parts, number, rows)
    os.kill(os.getpid(), signal.SIGKILL)
shards.Parts._write = once
"""


def _one_of_two(arguments: list, rank: int, port: int, before: str) -> subprocess.Popen:
    """Start `diff3m` as one of two processes, as a launcher does. before: code that runs first."""
    code = f"{SMALL_PARTS}{before}\nimport sys\nfrom diff3m.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    environment = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1"}
    environment |= {"MASTER_PORT": port, "OMP_NUM_THREADS": 1}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def two_processes(arguments: list, victim: int | None = None, before: str = "") -> list[tuple[int, str, str]]:
    """Run `diff3m` in two gloo processes with small parts, and return the exit status, output and errors of each.

    victim: rank of the process that is killed after its first part (default: none). before: code that runs first.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    processes = [_one_of_two(arguments, rank, port, before + (KILLED if rank == victim else "")) for rank in (0, 1)]
    try:
        outputs = [process.communicate(timeout=200) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *output) for process, output in zip(processes, outputs, strict=True)]
