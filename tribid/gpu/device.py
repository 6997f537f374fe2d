"""The torch device that markets are played on."""

import torch


def device_named(name: str | torch.device) -> torch.device:
    """The CPU or a GPU with its number: ``cpu``, ``cuda`` (the current one) or ``cuda:N``.

    Raises ``ValueError`` for any other name, and for a GPU that torch does not see.
    """
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"device is {str(name)!r}; allowed is cpu, cuda or cuda:N")
    if device.type == "cpu":
        return torch.device("cpu")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if (device.index or 0) >= count:
        allowed = "cpu" if count == 0 else f"cpu, or cuda:0 to cuda:{count - 1}"
        raise ValueError(
            f"device is {str(name)!r}, but torch {torch.__version__} sees {count} CUDA device(s); allowed is {allowed}"
        )
    return torch.device("cuda", torch.cuda.current_device() if device.index is None else device.index)
