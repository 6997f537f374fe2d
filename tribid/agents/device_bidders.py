"""Rivals and teachers on a torch device: bidders of ``tribid.agents`` as tensor arithmetic, many markets at once.

Rules and controllers compute in float64 as their NumPy originals do, so that only the last bits of a power or a
logarithm may differ; nothing here asks the device for a number.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.functional import linear

from tribid.agents.bidder import BidderSpace
from tribid.agents.networks.mlp import MlpPolicy
from tribid.agents.pacing import _LEAST, _MOST, DualPacing
from tribid.agents.pid import _ERROR_BOUND, _LEAST_SHARE, PHI_BOUNDS, Pid
from tribid.agents.registry import make_bidder
from tribid.agents.rules import FixedMultiplier
from tribid.gpu.observation import to_action


class DeviceBidder(Protocol):
    """A bidder for advertisers of many markets at once."""

    def act(self, observations: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Actions float32 [M, R, S] for observations [M, R, D], and the state to pass next tick (None at a day's start)."""
        ...


def device_bidder(name: str, space: BidderSpace, device: str | torch.device) -> DeviceBidder:
    """The bidder that ``make_bidder`` knows by this name, on the device.

    Raises ``ValueError`` for a bidder that only plays on the host, such as ``random``.
    """
    bidder = make_bidder(name, space)
    published = not isinstance(bidder, DualPacing) or (bidder.utility, bidder.update) == ("value", "multiplicative")
    for kind, make in _ON_DEVICE.items():
        if published and isinstance(bidder, kind):
            return make(bidder, torch.device(device))
    raise ValueError(
        f"bidder {name!r} does not play on a device; choose off, truthful, fixed, fixed:MULTIPLIER, pid, dual_pacing or a "
        "policy file ending in .safetensors, or train with device='cpu' and engine='sb3'"
    )


class _Fixed:
    """``FixedMultiplier`` and what extends it."""

    def __init__(self, bidder: FixedMultiplier, device: torch.device) -> None:
        self._action = torch.from_numpy(bidder.space.actions(bidder.multiplier, 1)).to(device)

    def act(self, observations: Tensor, state: None) -> tuple[Tensor, None]:
        return self._action.expand(*observations.shape[:-1], -1), None


class _Integrals(NamedTuple):
    """``tribid.agents.pid.Integrals`` in tensors, each [M, R]."""

    budget: Tensor
    target: Tensor
    error: Tensor


class _Pid:
    """``Pid``, line for line."""

    def __init__(self, bidder: Pid, device: torch.device) -> None:
        self._pid = bidder

    def act(self, observations: Tensor, state: _Integrals | None) -> tuple[Tensor, _Integrals]:
        pid = self._pid
        field = {name: observations[..., index].double() for name, index in pid._at.items()}
        error = self._budget_error(field)
        before = state or _Integrals(torch.zeros_like(error), torch.zeros_like(error), error)
        slack = field["cpa_slack"] + field["roas_slack"]
        budget = (before.budget + pid.budget_gains.i * error / pid.space.n_ticks).clamp(*PHI_BOUNDS)
        target = (before.target + pid.target_gains.i * slack / pid.space.n_ticks).clamp(*PHI_BOUNDS)
        change = (error - before.error) * pid.space.n_ticks
        phi = pid.budget_gains.p * error + budget + pid.budget_gains.d * change
        phi_target = pid.target_gains.p * slack + target
        targeted = field["objective_target_cpa"] + field["objective_target_roas"] > 0
        phi = torch.where(targeted, torch.minimum(phi, phi_target), phi).clamp(*PHI_BOUNDS)
        return _actions(phi.exp(), pid.space), _Integrals(budget, target, error)

    def _budget_error(self, field: dict[str, Tensor]) -> Tensor:
        traffic_left = field["traffic_after"] + 4.0 * field["traffic_now"] / self._pid.space.n_ticks
        ratio = field["budget_left"].clamp(min=_LEAST_SHARE) / traffic_left.clamp(min=_LEAST_SHARE)
        return ratio.log().clamp(-_ERROR_BOUND, _ERROR_BOUND)


class _Prices(NamedTuple):
    """``tribid.agents.pacing.Prices`` in tensors, each [M, R]."""

    mu: Tensor
    target: Tensor
    budget_left: Tensor


class _Pacing:
    """``DualPacing``, line for line."""

    def __init__(self, bidder: DualPacing, device: torch.device) -> None:
        self._pacing = bidder

    def act(self, observations: Tensor, state: _Prices | None) -> tuple[Tensor, _Prices]:
        pacing = self._pacing
        field = {name: observations[..., index].double() for name, index in pacing._at.items()}
        by_value = pacing.utility == "value"
        if state is None:
            target = torch.ones_like(field["budget_left"])
            mu = torch.ones_like(target) if by_value else torch.zeros_like(target)
        else:
            mu, target = self._next_mu(state, field), self._next_target(state, field)
        if by_value:
            targeted = field["objective_target_cpa"] + field["objective_target_roas"] > 0
            price = torch.where(targeted, target, 0.0)
            multiplier = (1.0 + price) / (mu + price).clamp(min=1e-12)
        else:
            multiplier = 1.0 / (1.0 + mu)
        return _actions(multiplier, pacing.space), _Prices(mu, target, field["budget_left"])

    def _next_mu(self, state: _Prices, field: dict[str, Tensor]) -> Tensor:
        pace = field["spend_pace"].clamp(-0.95, 0.95)
        over = pace / (1.0 - pace.abs())
        if self._pacing.utility == "value":
            return (state.mu * (self._pacing.eps * over.clamp(max=5.0)).exp()).clamp(_LEAST, _MOST)
        return (state.mu + self._pacing.eps * over).clamp(0.0, _MOST)

    def _next_target(self, state: _Prices, field: dict[str, Tensor]) -> Tensor:
        squashed = field["value_last_tick"].clamp(0.0, 0.99)
        spend = (state.budget_left - field["budget_left"]).clamp(min=0.0)
        surplus = ((squashed / (1.0 - squashed) - spend) * self._pacing.space.n_ticks).clamp(-5.0, 5.0)
        return (state.target * (-self._pacing.target_eps * surplus).exp()).clamp(_LEAST, _MOST)


class _Network:
    """``MlpPolicy`` with the library's own matrix products: equal to float32 rounding, not to the bit."""

    def __init__(self, bidder: MlpPolicy, device: torch.device) -> None:
        self._policy = bidder
        self._mean, self._std = (torch.tensor(part, device=device) for part in (bidder.mean, bidder.std))
        self._layers = [
            (torch.tensor(weight, device=device), torch.tensor(bias, device=device))
            for weight, bias in zip(bidder.weights, bidder.biases, strict=True)
        ]

    def act(self, observations: Tensor, state: None) -> tuple[Tensor, None]:
        policy, clip = self._policy, self._policy.clip
        x = ((observations - self._mean) / self._std).clamp(-clip, clip)
        *hidden, last = self._layers
        for weight, bias in hidden:
            x = linear(x, weight, bias)
            x = x.relu() if policy.activation == "relu" else x.tanh()
        x = linear(x, *last)
        return x.clamp(-1.0, 1.0) if policy.output == "clip" else x.tanh(), None


def _actions(multiplier: Tensor, space: BidderSpace) -> Tensor:
    """The same action for every segment, float32 [..., S], as ``BidderSpace.actions`` gives it."""
    action = to_action(multiplier, space.max_multiplier).float()
    return action[..., None].expand(*action.shape, space.segments)


_ON_DEVICE: dict[type[Any], Callable[[Any, torch.device], DeviceBidder]] = {
    FixedMultiplier: _Fixed,
    Pid: _Pid,
    DualPacing: _Pacing,
    MlpPolicy: _Network,
}
