"""Models that predict: weights learnt from logs, for the world and the ranker through `tribid.envs.platform`."""
