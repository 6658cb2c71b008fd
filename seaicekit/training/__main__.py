"""One rank of a training: ``python -m seaicekit.training FILE.json``, started by horovodrun."""

import sys

from seaicekit.training.ranks import main

main(sys.argv[1])
