"""Published bidding rules and feedback controllers, one module each; all read the observation alone."""
