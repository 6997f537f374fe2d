"""Load on a running ranker: requests at their due times whatever the server does, and latencies from those times."""
