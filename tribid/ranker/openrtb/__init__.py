"""OpenRTB 2.6: the ranker as a bidder whose advertisers compete inside; and a validator for anybody's bid responses."""

from tribid.ranker.openrtb.config import BidderConfig, default_config, load_config
from tribid.ranker.openrtb.messages import BidRequest, BidResponse
from tribid.ranker.openrtb.validate import check_bid_response

__all__ = ["BidRequest", "BidResponse", "BidderConfig", "check_bid_response", "default_config", "load_config"]
