"""Where the tests find data."""

from __future__ import annotations

import os
from pathlib import Path

DATA = Path(os.environ.get("EDGEQ_DATA") or Path(__file__).parent.parent.parent / "shared" / "data")
