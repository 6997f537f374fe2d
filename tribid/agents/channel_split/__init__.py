"""How a brand's daily budget is split over channels: bounds, rules, a bandit and learners."""
