"""Markup of bids: a banner's HTML, and a native ad's assets by the Native Ad Specification 1.2."""

from html import escape
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from tribid.ranker.openrtb.config import Buyer
from tribid.ranker.openrtb.messages import Imp

BANNER, NATIVE = 1, 4
_MAIN_IMAGE, _ICON = 3, 1
_SPONSORED, _DESCRIPTION = 1, 2


class _Length(Struct, frozen=True):
    len: Annotated[int, Meta(ge=1)] = 10_000


class _Image(Struct, frozen=True):
    type: int = _MAIN_IMAGE


class _Data(Struct, frozen=True):
    type: int
    len: Annotated[int, Meta(ge=1)] = 10_000


class _Asset(Struct, frozen=True):
    id: int
    required: int = 0
    title: _Length | None = None
    img: _Image | None = None
    data: _Data | None = None


class _Layout(Struct, frozen=True):
    assets: Annotated[tuple[_Asset, ...], Meta(max_length=100)]


class _Wrapped(Struct, frozen=True):
    native: _Layout | None = None


def markup_of(imp: Imp, name: str, buyer: Buyer, click_url: str) -> tuple[int, str] | None:
    """The markup's type and text for an advertiser on an imp; None where a native ad asks for what there is not."""
    if imp.banner is not None:
        size = "" if buyer.w is None else f' width="{buyer.w}" height="{buyer.h}"'
        image = f'<img src="{escape(str(buyer.image))}"{size} alt="{escape(name)}" style="border:0">'
        return BANNER, f'<a href="{escape(click_url)}" target="_blank" rel="noopener nofollow">{image}</a>'
    native = None if imp.native is None else _native(imp.native.request, name, buyer, click_url)
    return None if native is None else (NATIVE, native)


def _native(request: str, name: str, buyer: Buyer, click_url: str) -> str | None:
    """A native ad with the assets that the request lists; version 1.0 wrapped the request in ``native``."""
    try:
        wrapped = msgspec.json.decode(request, type=_Wrapped).native
        layout = msgspec.json.decode(request, type=_Layout) if wrapped is None else wrapped
    except (msgspec.DecodeError, RecursionError):
        return None
    assets = []
    for asked in layout.assets:
        content = _content(asked, name, buyer)
        if content is not None:
            assets.append({"id": asked.id, **content})
        elif asked.required:
            return None
    if not assets:
        return None
    return msgspec.json.encode({"native": {"ver": "1.2", "assets": assets, "link": {"url": click_url}}}).decode()


def _content(asked: _Asset, name: str, buyer: Buyer) -> dict[str, object] | None:
    if asked.title is not None:
        return {"title": {"text": name[: asked.title.len]}}
    if asked.img is not None and asked.img.type in (_MAIN_IMAGE, _ICON):
        size = {} if buyer.w is None else {"w": buyer.w, "h": buyer.h}
        return {"img": {"url": str(buyer.image), **size}}
    if asked.data is not None and asked.data.type in (_SPONSORED, _DESCRIPTION):
        text = name if asked.data.type == _DESCRIPTION else buyer.adomain[0]
        return {"data": {"value": text[: asked.data.len]}}
    return None
