"""How the weights of ``NextBestAction`` are learnt: regressions one by one, or one network, and their calibration."""

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from tribid.models.calibration import PlattCalibrator

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Layers = tuple[tuple[Floats, Floats], ...]
"""Weights [in, out] and biases [out] of each layer; between them negative values become 0."""

_BATCH = 512
_PATIENCE = 8
_MOST_DECAY = 10.0
_OWN = 50  # held-out examples of each label, from which on an action is calibrated on its own


def held_out(user: Ids, share: float, seed: int) -> NDArray[np.bool_]:
    """Which examples [E] are of users that are kept aside: by a hash of user and seed, so each user is in or out."""
    users, place = np.unique(user, return_inverse=True)
    edge = int(share * 2**64)
    aside = [
        int.from_bytes(hashlib.blake2b(b"%d.%d" % (seed, one), digest_size=8).digest(), "little") < edge
        for one in users.tolist()
    ]
    return np.array(aside, np.bool_)[place]


def logistic_layers(x: Floats, action: Ids, label: Floats, actions: int, penalty: float) -> Layers:
    """One logistic regression for each action that has examples of both labels; zeros for the others."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ImportError("logistic regressions need scikit-learn: pip install 'tribid[logs]'") from error
    weight, bias = np.zeros((x.shape[1], actions), np.float32), np.zeros(actions, np.float32)
    for one in np.unique(action).tolist():
        rows = action == one
        found = LogisticRegression(C=1.0 / penalty, max_iter=500).fit(x[rows].astype(np.float64), label[rows])
        weight[:, one], bias[one] = found.coef_[0], found.intercept_[0]
    return ((weight, bias),)


def network_layers(
    x: Floats, action: Ids, label: Floats, aside: NDArray[np.bool_], actions: int, *, hidden: tuple[int, ...],
    epochs: int, learning_rate: float, penalty: float, seed: int,
) -> Layers:  # fmt: skip
    """A network whose outputs are the actions' log-odds, stopped where the examples ``aside`` are predicted best.

    Adam with decoupled weight decay of ``penalty`` / examples, at most 10. The same arguments give the same weights on one
    machine.
    """
    try:
        import torch
        from torch import nn
    except ImportError as error:
        raise ImportError("networks need torch: pip install 'tribid[train]'") from error
    from tribid.models.threads import threads

    sizes = (x.shape[1], *hidden, actions)
    with torch.random.fork_rng(devices=[]), threads(1):
        torch.manual_seed(seed)
        parts: list[nn.Module] = []
        for place in range(len(sizes) - 1):
            parts += [nn.Linear(sizes[place], sizes[place + 1]), nn.ReLU()]
        network = nn.Sequential(*parts[:-1])
        inputs, which, target = torch.from_numpy(x), torch.from_numpy(action), torch.from_numpy(label)
        train, check = (torch.from_numpy(np.flatnonzero(part)) for part in (~aside, aside))
        if not len(train):
            return _layers_of(network)
        decay = min(penalty / len(train), _MOST_DECAY)
        optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=decay)
        loss_of = nn.BCEWithLogitsLoss()

        def loss(rows: torch.Tensor) -> torch.Tensor:
            told: torch.Tensor = loss_of(network(inputs[rows]).gather(1, which[rows, None])[:, 0], target[rows])
            return told

        best, kept, waited = float("inf"), _layers_of(network), 0
        for _ in range(epochs):
            for rows in train[torch.randperm(len(train))].split(_BATCH):  # type: ignore[no-untyped-call]
                optimizer.zero_grad()
                loss(rows).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
            with torch.no_grad():
                now = float(loss(check))
            if now < best:
                best, kept, waited = now, _layers_of(network), 0
            else:
                waited += 1
            if waited >= _PATIENCE:
                break
    return kept


def calibrated(logits: Floats, action: Ids, label: Floats, actions: int) -> tuple[Floats, Floats]:
    """Platt's slope and intercept [A] on held-out log-odds: an action's own where it has enough examples, else those of all.

    Few examples would make an action's own calibration worse than none.
    """
    slope, intercept = np.ones(actions, np.float32), np.zeros(actions, np.float32)
    if not 0.0 < label.mean(dtype=np.float64) < 1.0 if len(label) else True:
        return slope, intercept
    rates = expit(logits.astype(np.float64))
    shared = PlattCalibrator().fit(rates, label)
    slope[:], intercept[:] = shared.slope_, shared.intercept_
    for one in np.unique(action).tolist():
        rows = action == one
        taken = int(label[rows].sum())
        if min(taken, int(rows.sum()) - taken) >= _OWN:
            own = PlattCalibrator().fit(rates[rows], label[rows])
            slope[one], intercept[one] = own.slope_, own.intercept_
    return slope, intercept


def _layers_of(network: "object") -> Layers:
    """Copies of a torch network's weights, turned to [in, out]."""
    from torch import nn

    assert isinstance(network, nn.Sequential)
    return tuple(
        (
            np.ascontiguousarray(part.weight.detach().numpy().T.copy()),
            part.bias.detach().numpy().copy(),
        )
        for part in network
        if isinstance(part, nn.Linear)
    )
