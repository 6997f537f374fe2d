"""Train bidders and write their policy files; the same options as `tribid train`.

python scripts/train.py --scenario feed --seeds 0,1,2 --out runs/ppo
python scripts/train.py --algorithm sac --steps 100000 --out runs/sac
python scripts/train.py --mapping by_objective --rounds 4 --out runs/by_objective
python scripts/train.py --learners all --out runs/selfplay       # everybody learns, nobody is a fixed rival
tensorboard --logdir runs/ppo
"""

import sys

from tribid.cli import app

if __name__ == "__main__":
    app(["train", *sys.argv[1:]])
