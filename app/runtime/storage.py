"""Where the page keeps films and pictures: a folder of its own, emptied by age and removed at the end.

Gradio writes every upload and every picture it shows to a cache folder, and its own `delete_cache` misses the
pictures of components that were updated during a session. So the app gives Gradio a fresh folder and clears it
itself.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from gradio.utils import get_upload_folder

PREFIX = "diff3m-explorer-"
KEEP_SECONDS = 50 * 60  # with the interval below, nothing lives for an hour
SWEEP_SECONDS = 5 * 60


class Storage:
    """A temporary folder for Gradio. Old files are deleted, except those that `keep_current_files` saw (examples)."""

    def __init__(self, keep_seconds: float = KEEP_SECONDS) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.keep_seconds = keep_seconds
        self._permanent: set[Path] = set()
        os.environ["GRADIO_TEMP_DIR"] = str(self.folder)
        atexit.register(self.remove)

    def keep_current_files(self) -> None:
        """Keep what is there now for as long as the app runs."""
        self._permanent = {path for path in self.folder.rglob("*") if path.is_file()}

    def sweep(self) -> int:
        """Delete files that are older than `keep_seconds`; returns how many."""
        limit, count = time.time() - self.keep_seconds, 0
        for path in list(self.folder.rglob("*")):
            try:
                if path.is_file() and path not in self._permanent and path.stat().st_mtime < limit:
                    path.unlink()
                    count += 1
            except OSError:  # gone meanwhile, or not ours to delete
                continue
        return count

    def sweep_orphans(self) -> int:
        """Delete the folders of earlier runs that were killed before they could; returns how many."""
        count = 0
        for folder in self.folder.parent.glob(f"{PREFIX}*"):
            number = folder.name.removeprefix(PREFIX).split("-")[0]
            if folder.is_dir() and number.isdigit() and not _process_exists(int(number)):
                shutil.rmtree(folder, ignore_errors=True)
                count += 1
        return count

    def start_sweeping(self, interval: float = SWEEP_SECONDS) -> None:
        """Sweep in the background for as long as the process lives."""

        def loop() -> None:
            self.sweep_orphans()
            while self.folder.exists():
                time.sleep(interval)
                self.sweep()

        threading.Thread(target=loop, daemon=True, name="storage-sweep").start()

    def remove(self) -> None:
        """Delete the folder with everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _process_exists(process: int) -> bool:
    """Return whether a process of that number is there, as far as one can ask."""
    if os.name == "nt":  # where asking would stop it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    return True


def store_picture(png: bytes) -> Path:
    """Write a PNG into Gradio's folder under a name that follows from its content, whole or not at all.

    A second time only its age is renewed.
    """
    folder = Path(get_upload_folder()) / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(png).hexdigest()}.png"
    if path.exists():
        os.utime(path)
        return path
    partial = folder / f"{path.name}.{threading.get_ident()}.partial"
    partial.write_bytes(png)
    os.replace(partial, path)
    return path


def store_file(name: str, data: bytes) -> Path:
    """Write a file for download into a folder of its own, so that nobody can guess its address."""
    folder = Path(get_upload_folder()) / "results" / secrets.token_hex(16)
    folder.mkdir(parents=True)
    path = folder / name
    path.write_bytes(data)
    return path


def exit_on_terminate() -> None:
    """Let SIGTERM end the process the ordinary way, so that the storage is removed."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
