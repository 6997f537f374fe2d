"""Measure speed on this machine; the same options as `tribid benchmark`.

python scripts/benchmark.py --out runs/speed
python scripts/benchmark.py --quick --only bare --only days
python scripts/benchmark.py --compare docs/benchmark.json
"""

import sys

from tribid.cli import app

if __name__ == "__main__":
    app(["benchmark", *sys.argv[1:]])
