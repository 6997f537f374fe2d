"""What is known of each consumer, kept up to date by events, and the messages that it sets off."""
