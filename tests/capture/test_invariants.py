"""Everything in a proven capture belongs to one moment: real databases, a real writer at full speed, many instants."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from owui_vault.capture import verify_stage
from owui_vault.model import Proof, Quiesce

MODES = [("wal", "delete"), ("delete", "delete"), ("wal", "wal")]
ATTEMPTS = Path(__file__).parent / "programs" / "attempts.py"
LEFTOVERS = ("-wal", "-shm", "-journal")
# How long the writer rests at most, in the first round and in those after it: a slow machine has no instant beside a
# writer that rests for five milliseconds. Its fast rounds are made first and count as much: none may be wrong.
RESTS_SECONDS = (0.005, 0.02, 0.1, 0.5)
# With 128-byte inodes marks are whole seconds, and one has to pass before they tell anything.
RESTS_OF_WHOLE_SECONDS = (1.5, 2.5)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("webui", "chroma"), MODES)
def test_every_claimed_instant_is_one_moment(
    site: Any, soak: Callable[[int], int], find_contradictions: Callable[..., list[str]], webui: str, chroma: str
) -> None:
    site.build(webui, chroma)
    site.run(rest_seconds=0.1 if webui == "delete" else 0.02)
    wanted = soak(300)
    claimed: Counter[str] = Counter()
    while claimed["live"] < wanted and claimed.total() < 3 * wanted + 20:
        captured = site.take()
        claimed[captured.proof.mode.value] += 1
        if captured.proof.mode is Proof.LIVE:
            assert find_contradictions(site, captured) == [], captured.proof
            assert captured.problems == ()
            assert verify_stage(captured) == ()
            assert not [path for path in captured.stage.rglob("*") if path.name.endswith(LEFTOVERS)]
    assert claimed["live"] >= wanted, claimed


@pytest.mark.slow
@pytest.mark.parametrize(("webui", "chroma"), MODES)
def test_every_frozen_instant_is_one_moment_under_a_writer_without_rest(
    site: Any, soak: Callable[[int], int], find_contradictions: Callable[..., list[str]], webui: str, chroma: str
) -> None:
    """Where the writer never rests, `auto` falls back to a pause; what it takes then is exact too."""
    site.build(webui, chroma)
    site.run(rest_seconds=0, chats=3)
    quiet = site.quiet()
    for _ in range(soak(100)):
        captured = site.take(Quiesce.PAUSE, quiet=quiet)
        assert captured.proof.mode is Proof.PAUSE, captured.proof
        assert find_contradictions(site, captured) == [], captured.proof
    assert max(seconds for _, seconds in quiet.held) < 5


def one_moment(instant: dict[str, Any]) -> bool:
    """Whether the writer, which goes uploads, segments, Chroma, webui.db, can have been there."""
    first, second = instant["chroma"]
    uploads, webui = instant["uploads"], instant["webui"]
    order = [uploads[-1], *(number for segment in instant["segments"] for number in segment), first, webui]
    whole = all(len(segment) == 1 for segment in instant["segments"])
    known = set(range(max(0, webui - 50), webui + 2))
    return (
        whole
        and first == second
        and order == sorted(order, reverse=True)
        and order[0] - order[-1] <= 1
        and set(uploads) <= known
        and {each for each in known if max(0, webui - 48) <= each <= webui} <= set(uploads)
    )


def attempted(site: Any, kind: str, wanted: int, seconds: int, *how: str) -> tuple[list[dict[str, Any]], int]:
    """The instants that were claimed, and of how many attempts. The writer gets more rest only while there are none."""
    claimed: list[dict[str, Any]] = []
    tried = 0
    for number, rest in enumerate(RESTS_OF_WHOLE_SECONDS if kind == "ext4-128" else RESTS_SECONDS):
        writer = site.run(rest_seconds=rest, chats=3)
        work, longest = site.work / f"round-{number}", max(20, seconds) if number == 0 else 20
        command = [sys.executable, str(ATTEMPTS), str(site.data), str(work), str(wanted), str(longest), *how]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        writer.end()
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        claimed += [line for line in lines if "failed" not in line]
        tried += len(lines)
        if claimed:
            break
    return claimed, tried


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("kind", "journal_modes"),
    [
        # One pair of modes on each file system before make soak.
        pytest.param(kind, modes, marks=() if modes == first else pytest.mark.rare)
        for kind, first in zip(("ext4", "ext4-128", "xfs", "btrfs", "tmpfs"), (*MODES, *MODES[:2]), strict=True)
        for modes in MODES
    ],
)
def test_attempts_beside_a_writer_without_rest_claim_nothing_false(
    mounted: Callable[[str], Path],
    make_site: Callable[[Path], Any],
    soak: Callable[[int], int],
    kind: str,
    journal_modes: tuple[str, str],
) -> None:
    """Thousands of attempts, at a rate that whole captures never reach; most fail, and none may be wrong."""
    base = mounted(kind) / f"attempts-{'-'.join(journal_modes)}"
    base.mkdir()
    site = make_site(base).build(*journal_modes, filling=300)
    wanted = soak(1000) if kind == "ext4" else soak(100)
    # The full count needs minutes; before that a writer is watched as long on ext4 as on any other file system.
    claimed, tried = attempted(site, kind, wanted, soak(600) if wanted == 1000 else soak(200))
    print(f"{kind} {journal_modes}: {len(claimed)} of {tried} attempts claimed an instant")
    assert [instant for instant in claimed if not one_moment(instant)] == []
    assert claimed
    # How many of the attempts succeed is the machine's business; the full count is asked for in the full run.
    assert kind != "ext4" or len(claimed) >= wanted or soak(1000) < 1000


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ext4", "ext4-128"])
def test_a_freeze_with_a_writer_in_it_that_nobody_sees_claims_nothing_false(
    mounted: Callable[[str], Path], make_site: Callable[[Path], Any], soak: Callable[[int], int], kind: str
) -> None:
    """A process of another container, say: the marks alone have to tell, so they must settle in a freeze as well."""
    base = mounted(kind) / "unseen"
    base.mkdir()
    site = make_site(base).build(filling=300)
    claimed, _ = attempted(site, kind, soak(200), soak(100), "unseen")
    print(f"{kind}: {len(claimed)} claimed")
    assert [instant for instant in claimed if not one_moment(instant)] == []
    assert claimed


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.parametrize("journal_modes", MODES)
def test_every_trusted_file_system_gives_exact_instants(
    any_filesystem: Path,
    make_site: Callable[[Path], Any],
    find_contradictions: Callable[..., list[str]],
    soak: Callable[[int], int],
    journal_modes: tuple[str, str],
) -> None:
    site = make_site(any_filesystem).build(*journal_modes, filling=50)
    site.run(rest_seconds=0.1)
    modes: Counter[Proof] = Counter()
    for _ in range(soak(40)):
        captured = site.take(Quiesce.AUTO, quiet=site.quiet())
        modes[captured.proof.mode] += 1
        assert captured.proof.mode in (Proof.LIVE, Proof.PAUSE), captured.proof
        assert find_contradictions(site, captured) == [], captured.proof
    print(any_filesystem.parent.parent.name, modes)
