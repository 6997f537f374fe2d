"""The next best action, answered: which actions to propose to a user now, and what came of those that were."""
