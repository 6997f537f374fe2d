"""Where pages are seen: which scenes are open to a user, which one a page is in, and how it is laid out."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tribid.envs.chance import Stream, uniforms
from tribid.envs.channels.channel import CHANNELS
from tribid.envs.journey.config import Scene
from tribid.envs.journey.effects import shifted
from tribid.envs.journey.memory import NOTHING, Memory
from tribid.envs.settlement import Leaving
from tribid.envs.visit_events import EVENTS, VisitEvents


class Layout(NamedTuple):
    """A scene's pages: what each slot is seen by [K], when users leave, and the channel as which its exposures count."""

    slot_effects: NDArray[np.float64]
    leaving: Leaving
    channel: int


def layouts_of(scenes: tuple[Scene, ...], slot_effects: tuple[float, ...], leaving: Leaving) -> tuple[Layout, ...]:
    """The scenes' layouts; ads are judged by what is usual in their scene, so a poorer scene alone drives nobody away."""
    return tuple(
        Layout(
            np.array(scene.slot_effects or slot_effects, np.float64),
            leaving._replace(reference_ctr=float(shifted(leaving.reference_ctr, scene.ctr))),
            CHANNELS.index(scene.channel),
        )
        for scene in scenes
    )


def effect_table(layouts: tuple[Layout, ...], slots: int) -> NDArray[np.float64]:
    """What each of ``slots`` slots is seen by in each scene, [S, K]; 0 for one that the scene does not have."""
    table = np.zeros((len(layouts), slots))
    for row, layout in zip(table, layouts, strict=True):
        row[: len(layout.slot_effects)] = layout.slot_effects
    return table


def searched(events: VisitEvents) -> NDArray[np.int32]:
    """The category [V] that each visit searched last, -1 where it did not search."""
    is_search = (np.arange(events.kind.shape[1]) < events.length[:, None]) & (events.kind == EVENTS.index("search"))
    last = is_search.shape[1] - 1 - is_search[:, ::-1].argmax(axis=1)
    category = events.category[np.arange(len(last)), last]
    return np.where(is_search.any(axis=1), category, NOTHING).astype(np.int32)


def open_scenes(
    scenes: tuple[Scene, ...], memory: Memory, user: NDArray[np.int64], search: NDArray[np.int32], hour: float
) -> NDArray[np.bool_]:
    """Which scenes are open [V, S] to visits of these users [V] at ``hour`` that searched these categories [V]."""
    out = np.ones((len(user), len(scenes)), np.bool_)
    for s, scene in enumerate(scenes):
        if scene.needs == "search":
            out[:, s] = search != NOTHING
        elif scene.needs == "cart":
            out[:, s] = (memory.cart[user] != NOTHING) & (hour - memory.cart_hour[user] <= scene.within_hours)
        elif scene.needs == "order":
            out[:, s] = (memory.bought[user] != NOTHING) & (hour - memory.bought_hour[user] <= scene.within_hours)
    return out


def scene_of_pages(
    scenes: tuple[Scene, ...], is_open: NDArray[np.bool_], seed: int, day: int, request: NDArray[np.int64]
) -> NDArray[np.int8]:
    """The scene [B] of each page, drawn by the weights of those that are open to it [B, S]."""
    weight = np.cumsum(np.where(is_open, [scene.weight for scene in scenes], 0.0), axis=1)
    drawn = uniforms(seed, Stream.SCENE, day, request)[:, 0] * weight[:, -1]
    chosen: NDArray[np.int8] = (drawn[:, None] >= weight).sum(axis=1).astype(np.int8)
    return chosen
