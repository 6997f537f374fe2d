"""The served LSTM: torch's numbers, the same bits in any batch, and a memory that travels with the state alone."""

from dataclasses import FrozenInstanceError, replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from tribid.agents.bidder import BidderSpace
from tribid.agents.networks.lstm import Cell, LstmCard, LstmPolicy, LstmState
from tribid.agents.testing import check_bidder, random_observations
from tribid.envs.chance import Stream, normals

SPACE = BidderSpace(n_ticks=8)


def random_lstm(space: BidderSpace, *, hidden: int = 8, depth: int = 1, seed: int = 0, **changes: Any) -> LstmPolicy:
    """A network with normal weights; ``changes`` are arguments of ``LstmPolicy``."""

    def numbers(which: int, *shape: int) -> Any:
        index = np.arange(int(np.prod(shape))).reshape(shape)
        return normals(seed, Stream.POLICY, day=which, request=index)[..., 0] / np.sqrt(shape[-1])

    size = space.observation_size
    cells = [
        Cell(numbers(3 * i, 4 * hidden, into), numbers(3 * i + 1, 4 * hidden, hidden), numbers(3 * i + 2, 4 * hidden))
        for i, into in enumerate([size, *[hidden] * (depth - 1)])
    ]
    settings: dict[str, Any] = {
        "mean": np.full(size, 0.1), "std": np.full(size, 0.5), "clip": 10.0,
        "weights": (numbers(90, 16, hidden), numbers(91, space.segments, 16)),
        "biases": (numbers(92, 16), np.zeros(space.segments)),
    }  # fmt: skip
    return LstmPolicy(space=space, cells=tuple(cells), **{**settings, **changes})


def play(policy: LstmPolicy, rows: int, ticks: int = 5) -> tuple[np.ndarray, LstmState]:
    """Actions [ticks, rows, d] of a day, and the state after it."""
    state, actions = None, []
    for tick in range(ticks):
        action, state = policy.predict(random_observations(policy.space, rows, tick), state)
        actions.append(action)
    assert state is not None
    return np.stack(actions), state


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("output", ["tanh", "clip"])
def test_it_computes_what_torch_computes_over_a_long_day(depth: int, output: str) -> None:
    torch = pytest.importorskip("torch")
    space = BidderSpace(segments=2)
    policy = random_lstm(space, hidden=32, depth=depth, activation="relu", output=output, clip=0.8)
    lstm = torch.nn.LSTM(space.observation_size, 32, num_layers=depth)
    with torch.no_grad():
        for i, cell in enumerate(policy.cells):
            parts = (("weight_ih", cell.weight), ("weight_hh", cell.recurrent), ("bias_ih", cell.bias), ("bias_hh", 0))
            for name, values in parts:
                getattr(lstm, f"{name}_l{i}").copy_(torch.as_tensor(np.array(values)))
    state, theirs, seen_differently = None, None, set[float]()
    for tick in range(200):
        seen = random_observations(space, 20, tick)
        action, state = policy.predict(seen, state)
        with torch.no_grad():
            normal = np.clip((seen - policy.mean) / policy.std, -0.8, 0.8)
            out, theirs = lstm(torch.as_tensor(normal)[None], theirs)
            hidden = torch.relu(out[0] @ torch.tensor(policy.weights[0]).T + torch.tensor(policy.biases[0]))
            last = hidden @ torch.tensor(policy.weights[1]).T + torch.tensor(policy.biases[1])
            wanted = torch.tanh(last) if output == "tanh" else last.clamp(-1.0, 1.0)
        assert np.abs(action - wanted.numpy()).max() < 1e-5
        assert np.abs(state.h.transpose(1, 0, 2) - theirs[0].numpy()).max() < 1e-5
        assert np.abs(state.c.transpose(1, 0, 2) - theirs[1].numpy()).max() < 1e-5
        seen_differently.add(float(action[0, 0]))
    assert len(seen_differently) > 50


@pytest.mark.parametrize("segments", [1, 3])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("output", ["tanh", "clip"])
def test_a_row_gives_the_same_bits_in_any_batch(segments: int, activation: str, output: str) -> None:
    space = BidderSpace(segments=segments)
    policy = random_lstm(space, hidden=17, depth=2, activation=activation, output=output)
    together, after = play(policy, 200)
    alone, backwards = LstmState(*(np.empty_like(part) for part in after)), None
    for row in range(200):
        state = None
        for tick in range(5):
            seen = random_observations(space, 200, tick)[row : row + 1]
            action, state = policy.predict(seen, state)
            assert action.tobytes() == together[tick, row : row + 1].tobytes()
        assert state is not None
        alone.h[row], alone.c[row] = state.h[0], state.c[0]
    assert alone.h.tobytes() == after.h.tobytes()
    assert alone.c.tobytes() == after.c.tobytes()
    for tick in range(5):
        seen = np.asfortranarray(random_observations(space, 200, tick)[::-1])
        action, backwards = policy.predict(seen, backwards)
        assert action[::-1].tobytes() == together[tick].tobytes()
    assert len(np.unique(together)) > 100


def test_it_keeps_the_contract_of_a_bidder() -> None:
    check_bidder(lambda space: random_lstm(space, depth=2))


def test_what_it_saw_before_counts_and_a_fresh_row_forgets_it() -> None:
    policy = random_lstm(SPACE)
    seen = random_observations(SPACE, 3)
    first, state = policy.predict(seen)
    second, _ = policy.predict(seen, state)
    assert (first != second).all()
    kept = LstmState(state.h.copy(), state.c.copy())
    mixed, after = policy.predict(seen, state, np.array([True, False, True]))
    assert (mixed == np.stack([first[0], second[1], first[2]])).all()
    assert (after.h[0] == state.h[0]).all()
    assert (state.h == kept.h).all() and (state.c == kept.c).all()


def test_a_card_tells_its_tensors_and_makes_the_policy_again_to_the_bit() -> None:
    policy = random_lstm(SPACE, depth=2, activation="relu", output="tanh")
    card = LstmCard.model_validate_json(policy.card().model_dump_json())
    assert (card.observed, card.hidden, card.depth, card.layers) == (36, 8, 2, (8, 16, 1))
    tensors = policy.tensors()
    assert {name: values.shape for name, values in tensors.items()} == card.tensors()
    assert all(values.dtype == np.float32 for values in tensors.values())
    again = card.policy(SPACE, tensors)
    assert again.card() == policy.card()
    assert play(again, 50)[0].tobytes() == play(policy, 50)[0].tobytes()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layers", (8,)), ("layers", (9, 16, 1)), ("layers", (8, 10**9, 1)), ("layers", "8"), ("hidden", 0),
        ("hidden", 5000), ("hidden", 4096), ("hidden", 8.5), ("depth", 0), ("depth", 5), ("observed", 0), ("observed", True),
        ("activation", "gelu"), ("output", None), ("observation_clip", 0.0), ("kind", "mlp"), ("path", "/etc/passwd"),
    ],
)  # fmt: skip
def test_a_card_with_a_bad_field_is_refused(name: str, value: Any) -> None:
    content = random_lstm(SPACE).card().model_dump()
    with pytest.raises(ValidationError):
        LstmCard(**{**content, name: value})


def test_a_card_that_calls_for_too_many_weights_is_refused_before_anything_is_made() -> None:
    with pytest.raises(ValidationError, match=r"make 134205440 weights; allowed are 8388608"):
        LstmCard(
            observed=4095,
            hidden=4096,
            depth=1,
            layers=(4096, 1),
            activation="tanh",
            output="clip",
            observation_clip=5.0,
        )


def test_extreme_weights_and_observations_still_give_actions_within_the_bounds() -> None:
    for output in ("tanh", "clip"):
        policy = random_lstm(SPACE, seed=3, output=output, std=np.full(36, 1e-6), clip=1e6, activation="relu")
        state = None
        for _ in range(3):
            actions, state = policy.predict(np.full((3, 36), 1e30, np.float32), state)
            assert (np.abs(actions) <= 1).all()


def test_a_policy_is_frozen_and_its_arrays_are_read_only_copies() -> None:
    mean = np.zeros(36, np.float32)
    policy = random_lstm(SPACE, mean=mean)
    before = play(policy, 2)[0]
    mean[:] = 9.0
    assert (play(policy, 2)[0] == before).all()
    with pytest.raises(FrozenInstanceError):
        policy.clip = 5.0  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        policy.cells[0].recurrent[0, 0] = 1.0


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (LstmState(np.zeros((1, 1, 8)), np.zeros((1, 1, 8))), r"state\.h has shape \(1, 1, 8\).*\(2, 1, 8\)"),
        (LstmState(np.zeros((2, 1, 8)), np.full((2, 1, 8), np.nan)), r"state\.c has shape .*finite"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(state: LstmState, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_lstm(SPACE).predict(random_observations(SPACE, 2), state)


def test_an_observation_that_is_not_finite_is_refused() -> None:
    seen = random_observations(SPACE, 2)
    seen[1, 3] = np.inf
    with pytest.raises(ValueError, match="finite"):
        random_lstm(SPACE).predict(seen)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation": "gelu"}, "choose tanh, relu"),
        ({"output": "relu"}, "choose tanh, clip"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"std": np.zeros(36)}, "std"),
        ({"std": np.ones(35)}, "std has shape"),
        ({"mean": np.full(36, np.nan)}, "mean"),
        ({"mean": np.zeros(37), "std": np.ones(37)}, r"cells\[0\] has shapes"),
        ({"weights": (), "biases": ()}, "0 weights"),
        (
            {"weights": (np.zeros((1, 9)),), "biases": (np.zeros(1),)},
            r"weights\[0\] has shape \(1, 9\); allowed is \(1, 8\)",
        ),
        (
            {"weights": (np.zeros((2, 8)),), "biases": (np.zeros(2),)},
            "the network maps 36 numbers to 2; allowed is 36 to 1",
        ),
    ],
)
def test_a_policy_that_cannot_be_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        random_lstm(SPACE, **changes)


def test_a_policy_without_an_lstm_or_with_one_that_does_not_fit_is_refused() -> None:
    policy = random_lstm(SPACE)
    with pytest.raises(ValueError, match="0 LSTM layers"):
        replace(policy, cells=())
    with pytest.raises(ValueError, match=r"cells\[1\] has shapes"):
        replace(policy, cells=(*policy.cells, policy.cells[0]))


def test_closed_gates_remember_nothing() -> None:
    # Input and forget gates of sigmoid(-40): the cells stay empty, and every tick gives what biases alone give.
    closed = Cell(np.zeros((32, 36)), np.zeros((32, 8)), np.repeat([-40.0, -40.0, 0.0, 0.0], 8))
    policy = replace(random_lstm(SPACE), cells=(closed,))
    actions, state = play(policy, 4)
    assert np.abs(state.h).max() < 1e-6
    wanted = np.tanh(policy.biases[0].astype(np.float64)) @ policy.weights[1].T + policy.biases[1]
    assert np.allclose(actions, np.clip(wanted, -1, 1), atol=1e-6)


def test_weights_that_could_answer_with_nan_are_refused() -> None:
    policy = random_lstm(BidderSpace(n_ticks=8))
    with pytest.raises(ValueError, match=r"the layers after the LSTM up to layer \d can give .* allowed is 1e\+37"):
        replace(policy, weights=tuple(np.full_like(weight, 3e38) for weight in policy.weights))
    cells = tuple(cell._replace(weight=np.full_like(cell.weight, 3e38)) for cell in policy.cells)
    with pytest.raises(ValueError, match=r"cells\[0\] up to layer 0 can give"):
        replace(policy, cells=cells)
