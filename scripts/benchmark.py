"""Measure speed on this machine; the same options as `tribid benchmark`.

python scripts/benchmark.py --out runs/benchmark.json
python scripts/benchmark.py --quick
"""

import sys

from tribid.cli import app

if __name__ == "__main__":
    app(["benchmark", *sys.argv[1:]])
