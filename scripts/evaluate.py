"""Judge bidders on held-out days, or on a logged campaign; the same options as `tribid evaluate`.

python scripts/evaluate.py --bidders pid,fixed:0.8,runs/ppo --days 30 --out runs/first
python scripts/evaluate.py --scenario auctionnet --bidders pid,dual_pacing,truthful --days 4
python scripts/evaluate.py --replay 2997.test.theta.txt --bidders linear,fixed_lambda,pid,dual_pacing
"""

import sys

from tribid.cli import app

if __name__ == "__main__":
    app(["evaluate", *sys.argv[1:]])
