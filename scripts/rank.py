"""Let learnt policies answer requests; the same options as `tribid rank`.

python scripts/rank.py --policies runs/ppo/seed-0/policies --request '{"request": 1, "user": 42, "state": "buying"}'
python scripts/rank.py --policies pid --request - < requests.jsonl
"""

import sys

from tribid.cli import app

if __name__ == "__main__":
    app(["rank", *sys.argv[1:]])
