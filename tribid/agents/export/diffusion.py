"""DiffBid's policy (``diffusion``) as an ONNX graph: its few denoising steps one after another, on shared weights."""

import numpy as np
from numpy.typing import NDArray

from tribid.agents.export.graph import Graph
from tribid.agents.export.perceptrons import layers
from tribid.agents.networks.diffusion import DiffusionPolicy, visited_levels


def add_diffusion(graph: Graph, policy: DiffusionPolicy) -> str:
    """The actions that inverse dynamics gives for the observation and the first planned tick."""
    card, kept = policy.network, policy.weights
    normal = graph.normalised(kept["normaliser.mean"], kept["normaliser.std"], card.observation_clip)
    sampler = _Sampler(graph, policy, normal)
    levels = visited_levels(card.levels, card.steps)
    plan = None
    for step, level in enumerate(levels):
        given = sampler.without_noise(plan, level)
        plan = given if step == len(levels) - 1 else sampler.towards(plan, given, level, levels[step + 1])
    assert plan is not None, "a card has at least one step"
    first = graph.columns(plan, range(len(card.planned)))
    count = len(card.inverse_sizes) - 1
    names = [f"inverse.{2 * i}" for i in range(count)]
    weights, biases = ([kept[f"{name}.{part}"] for name in names] for part in ("weight", "bias"))
    asked = graph.op("Concat", normal, first, axis=1)
    return graph.op("Tanh", layers(graph, asked, names, weights, biases, "relu"))


class _Sampler:
    """Denoising steps on a graph.

    The denoiser's first layer sees plan, observation, noise level, return and whether one is asked for. The observation's
    part of it is the same in all steps, and the last three are numbers that are known when the file is written.
    """

    def __init__(self, graph: Graph, policy: DiffusionPolicy, normal: str) -> None:
        self._graph, self._card, self._kept = graph, policy.network, policy.weights
        first = policy.weights["denoiser.0.weight"]
        sizes = (policy.network.denoiser_sizes[-1], policy.network.observed)
        self._of_plan, of_seen, self._of_rest = np.split(first, np.cumsum(sizes), axis=1)
        self._seen = graph.dense(normal, "denoiser.0.seen", of_seen)

    def without_noise(self, plan: str | None, level: int) -> str:
        """The plan [rows, P] without noise, guided to the return that is asked for, cut to the clip."""
        graph, card = self._graph, self._card
        start = self._seen
        if plan is not None:
            start = graph.op("Add", graph.dense(plan, "denoiser.0.plan", self._of_plan), start)
        given = self._denoised(start, level, "asked", card.target_return, 1.0)
        if card.guidance > 0:
            free = self._denoised(start, level, "free", 0.0, 0.0)
            away = graph.op("Mul", graph.op("Sub", given, free), graph.number(card.guidance))
            given = graph.op("Add", given, away)
        return graph.clip(given, -card.plan_clip, card.plan_clip)

    def towards(self, plan: str | None, given: str, level: int, after: int) -> str:
        """DDIM without noise from one level to the next; at first the plan is 0."""
        graph, share = self._graph, self._kept["noise.alpha_bar"]
        one, now, then = np.float32(1.0), share[level], share[after]
        scaled = graph.op("Mul", given, graph.number(float(np.sqrt(now))))
        rest = graph.op("Neg", scaled) if plan is None else graph.op("Sub", plan, scaled)
        noise = graph.op("Div", rest, graph.number(float(np.sqrt(one - now))))
        return graph.op(
            "Add",
            graph.op("Mul", given, graph.number(float(np.sqrt(then)))),
            graph.op("Mul", noise, graph.number(float(np.sqrt(one - then)))),
        )

    def _denoised(self, start: str, level: int, how: str, target: float, asked: float) -> str:
        graph, kept = self._graph, self._kept
        names = [f"denoiser.{2 * i}" for i in range(1, self._card.layers + 1)]
        weights, biases = ([kept[f"{name}.{part}"] for name in names] for part in ("weight", "bias"))
        offset = graph.weight(f"denoiser.0.{how}.{level}", self._offset(level, target, asked))
        return layers(graph, graph.op("Relu", graph.op("Add", start, offset)), names, weights, biases, "relu")

    def _offset(self, level: int, target: float, asked: float) -> NDArray[np.float32]:
        """What noise level, return and whether one is asked for add to the first layer, [width]."""
        rest = np.concatenate([self._kept["noise.embed"][level], [target, asked]]).astype(np.float64)
        offset = self._of_rest.astype(np.float64) @ rest + self._kept["denoiser.0.bias"]
        return offset.astype(np.float32)
