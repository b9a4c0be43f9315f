"""`python -m zsbench.cli`, used by the workflow rules."""

import sys

from zsbench.cli.main import main

sys.exit(main())
