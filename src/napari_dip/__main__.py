"""`python -m napari_dip`: the shell command."""

import sys

from napari_dip.cli import main

sys.exit(main())
