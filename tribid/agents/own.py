"""Bidders of one's own: a Python file that names them, loaded because its user asked for it on the command line."""

import sys
from collections.abc import Callable, Sequence
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from tribid.agents.bidder import Bidder, BidderSpace
from tribid.agents.registry import BIDDERS
from tribid.agents.testing import check_bidder

_loaded: dict[Path, tuple[str, ...]] = {}


def load_own(files: Sequence[str | Path]) -> tuple[str, ...]:
    """Run each file, check every bidder in its ``BIDDERS`` (name to maker) and make them known by name; the names.

    The file is code and is run: only give your own. ``ValueError`` where there is no such file or table, where a name is
    taken, or where a bidder breaks the contract (``tribid.agents.testing.check_bidder``), with what it breaks.
    """
    return tuple(name for file in files for name in _load(Path(file).resolve()))


def loaded_files() -> tuple[str, ...]:
    """The files that this process has loaded; a worker process loads them too before it is sent their bidders."""
    return tuple(str(file) for file in _loaded)


def _load(file: Path) -> tuple[str, ...]:
    if file in _loaded:
        return _loaded[file]
    spec = spec_from_file_location(f"tribid_own_{file.stem}", file) if file.suffix == ".py" else None
    if spec is None or spec.loader is None or not file.is_file():
        raise ValueError(f"own bidders are to be in {file}; allowed is a Python file that is there")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # so that its bidders can be sent to processes that loaded it too
    spec.loader.exec_module(module)
    makers: Any = getattr(module, "BIDDERS", None)
    if not isinstance(makers, dict) or not makers:
        raise ValueError(
            f"{file}: BIDDERS is {makers!r:.80}; allowed is a dict from names to makers, BIDDERS = {{'mine': Mine}}"
        )
    for name, make in makers.items():
        _register(file, name, make)
    _loaded[file] = tuple(makers)
    return _loaded[file]


def _register(file: Path, name: str, make: Callable[[BidderSpace], Bidder]) -> None:
    if not isinstance(name, str) or not name.isidentifier() or name in BIDDERS:
        taken = " (taken)" if name in BIDDERS else ""
        raise ValueError(
            f"{file}: a bidder is named {name!r}{taken}; allowed are letters, digits and _, not {', '.join(BIDDERS)}"
        )
    try:
        check_bidder(make)
    except AssertionError as error:
        raise ValueError(f"{file}: bidder {name} breaks the contract: {error}") from None
    BIDDERS[name] = make
