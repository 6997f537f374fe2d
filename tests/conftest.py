"""What every test shares: repeatable hypothesis runs, and real logs where the machine has them."""

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import settings

PROJECT = Path(__file__).resolve().parents[1]

# numba looks at the file of a cached function alone, not at what that function calls: a cache for each state of the code.
_SOURCES = sorted((PROJECT / "tribid").rglob("*.py"))
_STATE = hashlib.sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:16]
os.environ.setdefault("NUMBA_CACHE_DIR", str(PROJECT / ".numba_cache" / _STATE))

# Triton is interpreted where no GPU is; it asks for this when it is first imported, which torch may do for any test.
if not Path("/dev/nvidiactl").exists():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# The same examples in every run and no time limit per example: a failure in CI is a failure at your desk.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real logs beside the project (../shared/data); the test is skipped where it is absent."""
    folder = PROJECT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real logs in {folder}, which are not part of the project and are absent here")
    return folder
