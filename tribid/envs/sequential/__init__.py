"""Content by stage: what each content does to consumers at each stage, and small worlds of journeys that end in an order."""
