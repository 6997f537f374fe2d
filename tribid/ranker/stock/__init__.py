"""What the shop has to sell, as of now: titles, prices and counts that change while pages and mails are being filled."""

from tribid.ranker.stock.item import StockChange, StockItem
from tribid.ranker.stock.source import ShopStock, read_stock, scenario_stock
from tribid.ranker.stock.stock import LiveStock

__all__ = ["LiveStock", "ShopStock", "StockChange", "StockItem", "read_stock", "scenario_stock"]
