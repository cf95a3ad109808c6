"""Entry of the app, here and on Spaces: builds the page and serves it."""

import sys

from app.demo import build_demo, launch
from diff3m.checkpoint import CheckpointError

try:
    demo = build_demo()
except CheckpointError as error:
    sys.exit(f"The app cannot start. {error}")

if __name__ == "__main__":
    launch(demo)
