"""What each part of a journey is worth to the three sides, on common random numbers, in one table."""
