"""``python -m mailgenius.cli``, where the ``mailgenius`` script is not on the path."""

import sys

from mailgenius.cli.main import main

sys.exit(main())
