"""What the ids of a log look like: pictures of its ads' creatives and of the items that users met, for a cross-media model.

Creatives are the files that the log names. Items are the files of ``items.parquet`` where that has a column ``picture`` (a
null: no picture); else they are drawn as the log's scenario draws products, in the neutral style of a catalogue.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from tribid.envs.pictures import pictures
from tribid.envs.scenario import Scenario, load_scenario
from tribid.envs.shop import Shop
from tribid.envs.worlds import ShopWorld
from tribid.files import read_json
from tribid.models.creatives.cross_media import Gallery, PictureFields
from tribid.models.creatives.image_files import as_loaded, inside, load_pictures
from tribid.models.features import FeaturePipeline
from tribid.models.fit.data import LogSource

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class PicturePlan:
    """How pictures are come by: ``size`` pixels a side, and the log's ``scenario`` where its name does not find it."""

    size: int = 32
    scenario: str | Scenario = ""

    def __post_init__(self) -> None:
        if not 8 <= self.size <= 1024:
            raise ValueError(f"picture size is {self.size}; allowed is 8 to 1024 pixels a side")


def gallery_of_log(source: LogSource, features: FeaturePipeline, plan: PicturePlan | None = None) -> Gallery:
    """The pictures of a shop's log by the ids that its features give.

    Raises ``ValueError`` for a public log, a log that was written without pictures, files outside the log's folder or that
    are none, and a scenario that is not the log's; ``ImportError`` without Pillow.
    """
    asked = plan or PicturePlan()
    if source.format != "shop":
        raise ValueError(f"format is {source.format!r}; pictures are learnt from a shop's log alone")
    creatives, items = source.table("creatives"), source.table("items")
    shown = load_pictures(inside(source.path, creatives["picture"]), size=asked.size)
    if "picture" in items.columns:
        items = items.filter(pl.col("picture").is_not_null())
        met = load_pictures(inside(source.path, items["picture"], "items.parquet"), size=asked.size)
    else:
        met = catalogue_pictures(_seed(source, asked.scenario), items, asked.size)
    return _gallery(features, creatives, shown, items, met)


def gallery_of_shop(shop: Shop, features: FeaturePipeline, size: int = PicturePlan.size) -> Gallery:
    """The same pictures, drawn for a shop whose log has none."""
    ads, count = shop.looks.style.shape[:2]
    ad, creative = np.repeat(np.arange(ads), count), np.tile(np.arange(count), ads)
    style = shop.looks.style.reshape(ads * count, -1)
    shown = as_loaded(pictures(shop.config.seed, ad, shop.items.category[ad], style, variant=creative), size)
    items = pl.DataFrame({"item": np.arange(len(shop.items), dtype=np.int32), "category": shop.items.category})
    met = catalogue_pictures(shop.config.seed, items, size)
    return _gallery(features, pl.DataFrame({"advertiser": ad, "creative": creative}), shown, items, met)


def catalogue_pictures(seed: int, items: pl.DataFrame, size: int) -> Pixels:
    """Products ``item`` of ``category`` as a catalogue shows them, in no ad's style, uint8 [P, size, size, 3]."""
    item, category = (items[name].to_numpy().astype(np.int64) for name in ("item", "category"))
    return as_loaded(pictures(seed, item, category, np.zeros((len(item), 1), np.float32)), size)


def _seed(source: LogSource, named: str | Scenario) -> int:
    """The seed of the world that was logged; ``ValueError`` where the scenario cannot be had, or is another's."""
    path = source.path / "log.json"
    told = read_json(path)
    name, wanted = (told.get("scenario"), told.get("hash")) if isinstance(told, dict) else (None, None)
    said = "; name the log's own scenario with --scenario, or give items.parquet a column picture"
    try:
        scenario = named if isinstance(named, Scenario) else load_scenario(named or str(name))
    except ValueError as error:
        raise ValueError(f"{error}{said}") from None
    if scenario.hash != wanted:
        raise ValueError(f"{path}: hash is {wanted!r:.80}, that of scenario {scenario.name} is {scenario.hash!r}{said}")
    assert isinstance(scenario.world, ShopWorld)  # logs are written of shops alone
    return scenario.world.seed


def _gallery(
    features: FeaturePipeline, creatives: pl.DataFrame, shown: Pixels, items: pl.DataFrame, met: Pixels
) -> Gallery:
    """Pictures ``shown`` of the creatives' rows and ``met`` of the items', by the ids that each has; of unknown ids none."""
    fields, schema = PictureFields(), features.schema_
    by_name = {field.name: field for field in (*schema.ad, *schema.history)}
    ad, creative = (features.ids_of(creatives, by_name[name]) for name in (fields.ad, fields.creative))
    item = features.ids_of(items, by_name[fields.item])
    rows = {name: schema.vocabularies[by_name[name].vocabulary] for name in fields}
    of_creative = np.full((rows[fields.ad], rows[fields.creative]), -1, np.int32)
    of_creative[ad, creative] = np.arange(len(shown))
    of_item = np.full(rows[fields.item], -1, np.int32)
    of_item[item] = len(shown) + np.arange(len(met))
    of_creative[:2], of_creative[:, :2], of_item[:2] = -1, -1, -1  # padding, and what no log has shown
    return Gallery(np.concatenate([shown, met]), of_item, of_creative)
