"""Next best action: how likely a user is to take each action, learnt from what was proposed, and what to propose first."""
