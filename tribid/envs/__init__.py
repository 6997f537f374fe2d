"""The world that bidders meet: scenario, users, traffic, market rules, and the PettingZoo and Gymnasium environments."""
