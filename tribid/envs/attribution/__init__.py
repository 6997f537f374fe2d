"""Attribution: which touches an order is owed to, by rule, and what advertisers are credited with."""
