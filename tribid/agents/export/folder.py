"""From a training run to a folder that can be served: its policies with cards, a lineup and fresh probes, ONNX beside."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tribid.agents.policy_card import PolicyCard
from tribid.agents.policy_file import LINEUP_FILE, file_stems, read_lineup, save_policy, write_lineup

if TYPE_CHECKING:  # needs onnx, which a folder without ONNX files does not
    from tribid.agents.export.parity import Parity


_APART_IN = 1_000
"""Of so many answers of an ONNX file one may lie over 1e-4 off: at a step of a policy's arithmetic rounding decides."""


class Exported(NamedTuple):
    """What was written: cards by policy, who drives which advertiser, and how far each ONNX file's answers lie off.

    ``parity`` is empty without ONNX files, or where onnxruntime is not installed to ask them.
    """

    folder: Path
    cards: dict[str, PolicyCard]
    mapping: dict[str, str]
    parity: "dict[str, Parity]"


def export_policies(source: str | Path, out: str | Path, *, seed: int | None = None, onnx: bool = False) -> Exported:
    """Write the policies of a run, or of a folder of policy files, into ``out``, whole or not at all.

    ``source`` is what ``tribid train`` wrote (then ``seed`` says which, where it has several), one seed's folder, or a
    folder with ``lineup.json``. Everything is loaded with all checks, written anew with probes of this version, and loaded
    again before it appears. With ``onnx`` there is a file NAME.onnx beside each policy. ``ValueError`` where there is
    nothing to export, where ``out`` holds something already, for a kind of network that cannot be written as ONNX, or where
    an ONNX file's answers are not the policy's (more than 1 in 1,000 lies over 1e-4 off).
    """
    home = Path(out)
    if home.is_file() or (home.is_dir() and any(home.iterdir())):
        raise ValueError(f"out is {home}, which holds something already; choose another folder")
    files, mapping = read_lineup(policies_folder(source, seed))
    home.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(dir=home.parent, prefix=f".{home.name}."))
    try:
        stems = file_stems(list(files))
        for name, (card, policy) in files.items():
            path = making / f"{stems[name]}.safetensors"
            save_policy(policy, path, name=card.name, scenario=card.scenario, training=card.training.model_dump())
        write_lineup(making, stems, mapping)
        written, _ = read_lineup(making)
        parity = _write_onnx(making, stems) if onnx else {}
        making.chmod(0o777 & ~_umask())
        os.replace(making, home)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return Exported(home, {name: file.card for name, file in written.items()}, mapping, parity)


def policies_folder(source: str | Path, seed: int | None = None) -> Path:
    """The folder with ``lineup.json`` that is meant; ``ValueError`` says what there is instead."""
    given = Path(source)
    if seed is None:
        for folder in (given, given / "policies"):
            if (folder / LINEUP_FILE).is_file():
                return folder
    seeds = {
        int(path.parent.parent.name.removeprefix("seed-")): path.parent
        for path in given.glob(f"seed-*/policies/{LINEUP_FILE}")
        if path.parent.parent.name.removeprefix("seed-").isdigit()
    }
    if not seeds:
        raise ValueError(f"{given} holds no policies; allowed is a run of tribid train, or a folder with {LINEUP_FILE}")
    if seed is None and len(seeds) == 1:
        return next(iter(seeds.values()))
    if seed not in seeds:
        chosen = "" if seed is None else f", not {seed}"
        raise ValueError(f"{given} holds the seeds {', '.join(map(str, sorted(seeds)))}{chosen}; choose one (--seed)")
    return seeds[seed]


def _write_onnx(folder: Path, stems: dict[str, str]) -> "dict[str, Parity]":
    """ONNX beside each policy of a folder, checked and, where onnxruntime is there, asked the same as the policy."""
    from tribid.agents.export.onnx_file import check_onnx
    from tribid.agents.export.onnx_model import save_onnx
    from tribid.agents.export.parity import onnx_parity

    parity = {}
    for name, file in read_lineup(folder)[0].items():
        path = folder / f"{stems[name]}.onnx"
        save_onnx(file, path)
        check_onnx(path)
        try:
            found = parity[name] = onnx_parity(file.policy, path)
        except ImportError:
            continue
        if found.apart * _APART_IN > found.answers:
            raise ValueError(
                f"policy {name!r}: {found.apart} of {found.answers} answers of its ONNX file lie over 1e-4 off, at most "
                f"{found.action:.1e}; allowed is 1 in {_APART_IN:,}, so nothing was written"
            )
    return parity


def _umask() -> int:
    # The operating system tells the mask only by setting it.
    mask = os.umask(0)
    os.umask(mask)
    return mask
