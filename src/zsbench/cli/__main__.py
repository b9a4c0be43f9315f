"""`python -m zsbench.cli`, as the rules start it."""

import sys

from zsbench.cli.main import main

sys.exit(main())
