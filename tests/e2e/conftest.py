"""Nothing here is collected unless it is asked for: it takes 3 GB of downloads and a good half hour."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("OWUI_VAULT_E2E") == "1" else ["test_*.py"]
