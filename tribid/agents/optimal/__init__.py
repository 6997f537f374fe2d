"""Optimal control: programmes over the budget, dynamic and linear, and the bidders that look their answers up."""
