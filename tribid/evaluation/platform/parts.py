"""A platform's learnt parts by the folders that hold them, loaded once a process."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tribid.envs.platform import CreativePicker, Forecaster, Platform, Retriever, StateModel
from tribid.envs.scenario import Scenario
from tribid.envs.shop import Shop
from tribid.envs.world import build_world
from tribid.envs.worlds import ShopWorld


@dataclass(frozen=True, kw_only=True)
class LearntParts:
    """Folders that ``tribid fit`` wrote; what is empty is the world's own.

    ``click`` and ``order`` predict rates (a run of both events may stand for both), ``retrieval`` finds candidates,
    ``creative`` picks creatives, ``state`` tells buying visits from browsing ones.
    """

    click: str = ""
    order: str = ""
    retrieval: str = ""
    creative: str = ""
    state: str = ""

    def __bool__(self) -> bool:
        return any((self.click, self.order, self.retrieval, self.creative, self.state))


OWN = LearntParts()
"""Nothing learnt."""


def load_parts(scenario: Scenario, parts: LearntParts) -> tuple[Forecaster | None, Platform | None]:
    """The parts ready to play in a scenario, loaded anew where a folder has changed.

    ``ValueError`` for a scenario that is no shop, for bad folders, and for parts of a shop of another size.
    """
    if not parts:
        return None, None
    check_shop(scenario, parts)
    return _loaded(scenario, parts, _stamp(parts))


def check_shop(scenario: Scenario, parts: LearntParts) -> None:
    """``ValueError`` where a scenario that is no shop is given learnt parts."""
    if parts and not isinstance(scenario.world, ShopWorld):
        raise ValueError(f"scenario {scenario.name} is of kind {scenario.world.kind}; learnt parts need a shop")


def _stamp(parts: LearntParts) -> tuple[tuple[str, int, int], ...]:
    """Names, sizes and times of the folders' files, by which another run in the same folder is noticed."""
    folders = sorted({Path(folder) for folder in vars(parts).values() if folder})
    files = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
    return tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)


@lru_cache(maxsize=16)
def _loaded(
    scenario: Scenario, parts: LearntParts, stamp: tuple[tuple[str, int, int], ...]
) -> tuple[Forecaster | None, Platform | None]:
    shop = build_world(scenario)
    assert isinstance(shop, Shop)
    platform = Platform(
        retriever=_retriever(parts.retrieval, shop) if parts.retrieval else None,
        picker=_picker(parts.creative, shop) if parts.creative else None,
        state=_state(parts.state) if parts.state else None,
    )
    if not (parts.click or parts.order):
        return None, platform
    from tribid.models.fitted import load_fitted
    from tribid.models.forecaster import LearntForecaster

    kept = {folder: load_fitted(Path(folder)) for folder in {parts.click, parts.order} if folder}
    world = shop.with_platform(platform)
    return LearntForecaster(world, click=kept.get(parts.click), order=kept.get(parts.order)), platform


def parts_of(rates: Sequence[str] = (), *, retrieval: str = "", creative: str = "", state: str = "") -> LearntParts:
    """Parts from folders; each of ``rates`` gives the events that its model predicts, the later one where two do."""
    by_event: dict[str, str] = {}
    for folder in rates:
        from tribid.models.fitted import load_fitted

        by_event |= dict.fromkeys(load_fitted(folder).events, folder)
    return LearntParts(
        click=by_event.get("click", ""),
        order=by_event.get("order", ""),
        retrieval=retrieval,
        creative=creative,
        state=state,
    )


def _retriever(folder: str, shop: Shop) -> Retriever:
    from tribid.models.retrieval.in_market import MarketRetriever
    from tribid.models.retrieval.tdm import TdmRetriever

    found = TdmRetriever.load(folder)
    if found.num_items_ != len(shop.items):
        raise ValueError(f"{folder} finds among {found.num_items_} items; allowed is the shop's {len(shop.items)}")
    return MarketRetriever(found)


def _picker(folder: str, shop: Shop) -> CreativePicker:
    from tribid.models.creatives.served import ServedCreatives
    from tribid.models.fitted import CLICK_KINDS, load_fitted
    from tribid.models.store import load_model, read_card

    if read_card(folder).kind in CLICK_KINDS:
        from tribid.models.creatives.rate_picker import RatePicker

        return RatePicker(shop, load_fitted(folder))
    found = load_model(folder, kind=ServedCreatives.kind)
    assert isinstance(found, ServedCreatives)
    ads, count = found.features_.shape[:2]
    if (ads, count) != (len(shop.advertisers), shop.looks.count):
        raise ValueError(
            f"{folder} knows {ads} ads with {count} creatives; allowed is the shop's {len(shop.advertisers)} with "
            f"{shop.looks.count}"
        )
    return found


def _state(folder: str) -> StateModel:
    from tribid.models.state.estimator import StateEstimator
    from tribid.models.store import load_model

    found = load_model(folder)
    if not isinstance(found, StateEstimator):
        raise ValueError(f"{folder} holds a {found.kind}; allowed is a run of `tribid fit state`")
    return found
