"""Check what the documentation points at.

    python scripts/check_docs.py

Every relative link in the root's Markdown files and in docs/ must lead to a file that exists, and every
`tribid <subcommand>` that they show must be one that `tribid --help` lists. Prints each fault as file:line and exits 1
if there is one.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import typer.main

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)|\b(?:src|href)=\"([^\"]+)\"")
CODE_SPAN = re.compile(r"`[^`]*`")
# At the start of a code span or of a line of code: an optional prompt, an optional folder, and the command.
COMMAND = re.compile(r"^\s*(?:\$ )?(?:[\w./-]*/)?tribid[ \t]+([a-z][\w-]*)")
FENCE = re.compile(r"^\s*(```|~~~)")


def documents(root: Path) -> list[Path]:
    """The Markdown files of the root and of docs/, those of built documentation left out."""
    found = sorted(root.glob("*.md")) + sorted((root / "docs").rglob("*.md"))
    return [path for path in found if "_build" not in path.parts]


def lines_of(text: str) -> Iterator[tuple[int, str, bool]]:
    """Yield each line's number (from 1), its text, and whether it is code."""
    fenced = False
    for number, line in enumerate(text.splitlines(), start=1):
        if FENCE.match(line):
            fenced = not fenced
            continue
        yield number, line, fenced or line.startswith(("    ", "\t"))


def broken_links(path: Path, root: Path) -> Iterator[str]:
    """Yield a complaint for each relative link of the document that leads nowhere."""
    for number, line, code in lines_of(path.read_text(encoding="utf-8")):
        if code:
            continue
        for match in LINK.finditer(CODE_SPAN.sub("", line)):
            target = (match[1] or match[2]).split("#")[0]
            if not target or re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            place = root / target.lstrip("/") if target.startswith("/") else path.parent / target
            if not place.exists():
                yield f"{path.relative_to(root)}:{number}: the link to {target!r} leads to no file"


def unknown_commands(path: Path, root: Path, known: set[str]) -> Iterator[str]:
    """Yield a complaint for each `tribid <subcommand>` of the document that does not exist."""
    for number, line, code in lines_of(path.read_text(encoding="utf-8")):
        pieces = re.split(r"&&|;|\|", line) if code else [span.strip("`") for span in CODE_SPAN.findall(line)]
        for piece in pieces:
            match = COMMAND.match(piece)
            if match and match[1] not in known:
                choices = ", ".join(sorted(known))
                yield f"{path.relative_to(root)}:{number}: no subcommand 'tribid {match[1]}'; there are {choices}"


def subcommands() -> set[str]:
    """The names that `tribid --help` lists."""
    from tribid.cli import app

    return set(getattr(typer.main.get_command(app), "commands", {}))


def main() -> int:
    """Print every fault; return 1 if there is one."""
    paths = documents(ROOT)
    known = subcommands()
    faults = [fault for path in paths for fault in (*broken_links(path, ROOT), *unknown_commands(path, ROOT, known))]
    for fault in faults:
        print(fault)
    print(f"{len(paths)} documents, {len(known)} subcommands, {len(faults)} faults")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
