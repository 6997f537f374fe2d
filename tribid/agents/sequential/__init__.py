"""Who decides what a consumer is shown next, and which consumers a budget is spent on."""
