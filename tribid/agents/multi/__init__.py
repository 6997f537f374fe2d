"""Learners that know of one another: clusters of advertisers, shared credit, critics that see the whole market."""
