"""Make the HTML report of a results.json; the same options as `tribid report`.

python scripts/report.py runs/first
python scripts/report.py runs/first/results.json --out first.html
"""

import sys

from tribid.cli import app

if __name__ == "__main__":
    app(["report", *sys.argv[1:]])
