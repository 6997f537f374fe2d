"""The ranker over HTTP: an app for any ASGI server, its limits, its metrics, and the server that ``tribid serve`` runs."""

from tribid.ranker.service.settings import Settings

__all__ = ["Settings"]
