"""The consumers' side of the service: profiles, triggers, live stock, slots of mails, next best actions, in one place."""
