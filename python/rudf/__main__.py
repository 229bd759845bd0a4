"""``python -m rudf`` is the command ``rudf``."""

import sys

from rudf.cli import main

sys.exit(main())
