"""``python -m tribid``."""

import sys

from tribid.cli import app

if __name__ == "__main__":
    sys.argv[0] = "tribid"  # what pages and results say that made them
    app()
