"""Entry of the app, here and on Spaces: builds the page and serves it."""

import argparse
import sys
from pathlib import Path

from app.demo import build_demo, launch
from diff3m.checkpoint.folder import CheckpointError
from diff3m.data.manifest import ManifestError

parser = argparse.ArgumentParser(description="Diff3M Explorer in a browser.")
parser.add_argument(
    "--data", type=Path, default=None, metavar="DIR", help="folder of manifests and films that Many cases may read"
)
parser.add_argument(
    "--cases",
    type=Path,
    action="append",
    default=[],
    metavar="DIR",
    help="folder of films and a manifest.csv, which become examples, a quiz and lessons; may be given several times",
)
parser.add_argument(
    "--mcp", action="store_true", help="also offer the functions as MCP tools (needs: pip install 'gradio[mcp]')"
)
options = parser.parse_args() if __name__ == "__main__" else parser.parse_args([])
if options.data and not options.data.is_dir():
    sys.exit(f"The app cannot start. There is no folder {options.data}: give --data a folder of manifests and films.")

try:
    demo = build_demo(data=options.data, cases=options.cases)
except (CheckpointError, ManifestError) as error:
    sys.exit(f"The app cannot start. {error}")

if __name__ == "__main__":
    launch(demo, mcp_server=options.mcp)
