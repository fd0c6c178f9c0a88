"""`python -m owui_vault`."""

from owui_vault.cli import main

raise SystemExit(main())
