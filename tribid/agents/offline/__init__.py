"""Learning from recorded days alone: what was bid, what came of it, and the methods that make a policy of that."""
