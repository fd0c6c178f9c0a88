"""What somebody without rights is told: one true sentence, and the command to type."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.root, pytest.mark.slow]
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
#: The program, with root's configuration in the place that is given.
PROGRAM = """
import sys
from pathlib import Path
from owui_vault.config import paths
paths._OF_ROOT = Path(sys.argv[1])
from owui_vault.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """A folder of root's, with all that a vault needs; what is around it is open to everybody."""
    folder = tmp_path / "closed"
    for name in ("data/uploads", "nas/keys", "state"):
        (folder / name).mkdir(parents=True)
    for name in ("nas/config", "pass"):
        (folder / name).write_text("x")
    (folder / "vault.yaml").write_text(f"instance: {{data_dir: {folder}/data}}\n")
    (folder / "vault.yaml").chmod(0o600)
    for place in (tmp_path, *tmp_path.parents[:2]):
        place.chmod(0o755)
    folder.chmod(0o700)
    return folder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["snapshots", "--all"], "cannot read the configuration file {closed}/vault.yaml"),
        (["inspect"], "cannot read the configuration file {closed}/vault.yaml"),
        (["--config", "{closed}/vault.yaml", "snapshots"], "cannot read the configuration file {closed}/vault.yaml"),
        (["--repository", "{closed}/nas", "snapshots"], "{closed}/nas"),
        (["--repository", "{closed}/nas", "--engine", "borg", "snapshots"], "{closed}/nas"),
        (["--repository", "nas", "--passphrase-file", "{closed}/pass", "snapshots"], "{closed}/pass"),
        (["--data-dir", "{closed}/data", "inspect"], "the data directory {closed}/data cannot be read by user 65534"),
    ],
)
def test_the_sentence_is_true_and_the_command_is_there(closed: Path, words: list[str], said: str) -> None:
    typed = [word.format(closed=closed) for word in words]
    open_folder = closed.parent / "open"
    open_folder.mkdir(mode=0o777)
    open_folder.chmod(0o777)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(open_folder), "OWUI_VAULT_PASSPHRASE": "x"}
    argv = [*NOBODY, sys.executable, "-c", PROGRAM, str(closed / "vault.yaml"), *typed]
    done = subprocess.run(argv, cwd=open_folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 2)
    assert said.format(closed=closed) in " ".join(done.stderr.split())
    assert f"type: sudo owui-vault {' '.join(typed)}" in " ".join(done.stderr.split())
    assert "unexpected" not in done.stderr
    assert "there is no" not in done.stderr
