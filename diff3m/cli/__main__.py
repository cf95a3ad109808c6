"""`python -m diff3m.cli`."""

import sys

from .main import main

sys.exit(main())
