"""Ways to bid compared: methods times markets, trained, played on held-out days, and put into one page."""
