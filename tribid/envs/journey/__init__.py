"""The world of ``kind: journey``: a shop whose users remember, met in scenes before, during and after a purchase."""
