"""What a result was worth, to the platform, the advertisers and the users."""
