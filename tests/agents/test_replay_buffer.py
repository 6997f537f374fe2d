"""The replay buffer keeps the latest rows, whole, and draws the same batches from the same seed."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from tribid.agents.replay_buffer import ReplayBuffer


def filled(seed: int = 0, capacity: int = 10, rows: int = 7) -> ReplayBuffer:
    buffer = ReplayBuffer(capacity, {"seen": (2,), "reward": ()}, seed)
    numbers = np.arange(rows)
    buffer.add(seen=np.stack([numbers, -numbers], axis=1), reward=numbers)
    return buffer


def test_a_batch_holds_rows_as_they_were_added() -> None:
    batch = filled().sample(500)
    assert batch["seen"].dtype == batch["reward"].dtype == torch.float32
    assert batch["seen"].shape == (500, 2)
    assert torch.equal(batch["seen"][:, 0], batch["reward"])
    assert torch.equal(batch["seen"][:, 1], -batch["reward"])
    assert sorted(set(batch["reward"].tolist())) == list(range(7))


def test_every_row_is_drawn_about_equally_often() -> None:
    counts = np.bincount(filled().sample(7000)["reward"].numpy().astype(int))
    assert (np.abs(counts - 1000) < 150).all()


@pytest.mark.parametrize("chunks", [(25,), (7, 7, 7, 4), (1,) * 25, (9, 16)])
def test_the_oldest_rows_give_way_however_they_come(chunks: tuple[int, ...]) -> None:
    buffer, first = ReplayBuffer(10, {"x": ()}, 0), 0
    for chunk in chunks:
        buffer.add(x=np.arange(first, first + chunk))
        first += chunk
    assert len(buffer) == 10
    assert sorted(set(buffer.sample(1000)["x"].tolist())) == list(range(15, 25))


def test_the_same_seed_draws_the_same_batches_and_another_seed_others() -> None:
    one, same, other = filled(3), filled(3), filled(4)
    for _ in range(3):
        assert torch.equal(one.sample(20)["reward"], same.sample(20)["reward"])
    assert not torch.equal(one.sample(20)["reward"], other.sample(20)["reward"])


def test_a_batch_is_a_copy() -> None:
    buffer = filled(rows=1)
    buffer.sample(1)["reward"].fill_(9.0)
    assert buffer.sample(1)["reward"].item() == 0.0


def test_what_does_not_fit_is_refused_and_changes_nothing() -> None:
    buffer = filled()
    with pytest.raises(ValueError, match="allowed are exactly seen, reward"):
        buffer.add(seen=np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"seen has shape \(1, 3\)"):
        buffer.add(seen=np.zeros((1, 3)), reward=[0.0])
    with pytest.raises(ValueError, match=r"allowed are finite numbers of shape \(1, 2\)"):
        buffer.add(seen=np.zeros((2, 2)), reward=[0.0])
    with pytest.raises(ValueError, match="1 numbers not finite"):
        buffer.add(seen=np.zeros((1, 2)), reward=[np.nan])
    assert len(buffer) == 7
    with pytest.raises(ValueError, match="from a buffer that holds some"):
        ReplayBuffer(5, {"x": ()}, 0).sample(1)
    with pytest.raises(ValueError, match="capacity is 0"):
        ReplayBuffer(0, {"x": ()}, 0)
