"""Let ``python -m seaicekit`` be the command ``seaicekit``."""

import sys

from seaicekit.cli import main

sys.exit(main())
