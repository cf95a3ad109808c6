"""The command `diff3m`: parses the arguments, runs a command and prints errors as one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from .parser import build_parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit status.

    Errors that a user can correct are one sentence on stderr and status 1; DIFF3M_TRACEBACK=1 raises them instead.
    """
    options = build_parser().parse_args(arguments)
    try:
        return options.run(options) or 0
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reading process, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if os.environ.get("DIFF3M_TRACEBACK"):
            raise
        expected = isinstance(error, ValueError | LookupError | RuntimeError | OSError) and str(error)
        text = error if expected else f"unexpected {type(error).__name__}; DIFF3M_TRACEBACK=1 shows where"
        print(f"diff3m {options.command}: {text}", file=sys.stderr)
        return 1
