"""Which run of the tests does a test: `make test`, `make test-all` or `make soak`?

A new test is in `make test`, unless it says or uses one of these:

- the marker `slow` (real engines, the whole program, weeks in a row), the markers `docker` (containers) and `alone`
  (measures time), a server or a file system of its own (`LEFT_TO_ALL`), or an engine that `tools/engine-matrix` brings:
  `make test-all`;
- an engine of the matrix that is neither the machine's own nor the newest: `make soak`.

Slow tests are in `make test` all the same if they say `always`, as the conformance suites do (with the machine's own
engines) and a kill inside each step of a capture, or if they count by the fixture `soak`, as all other kills, races and
instants do. Those are in all three runs: once each, a tenth, the full count.

Where that is not right the test says it with a marker: `thorough` leaves it to `make test-all`, `rare` to `make soak`;
`doubled` says that what it claims is decided the same way whatever the engine: with a second one (borg after restic,
the newest after the machine's own) it is left to `make soak`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

#: Fixtures that start a server, mount a file system, or bring another version of an engine.
LEFT_TO_ALL = frozenset(
    {"any_filesystem", "chromium", "compose", "mounted", "newest_borg", "newest_restic", "rclone", "rest_server"}
)


#: Of `make_engine` in tests/operations/conftest.py: what comes after the fake and the first real engine.
SECOND_ENGINES = frozenset({"own_borg"})


def marker_of(
    markers: Collection[str], fixtures: Collection[str], engines: Mapping[str, Sequence[str]], chosen: Mapping[str, str]
) -> str | None:
    """`thorough`, `rare`, or None for `make test`.

    `engines` has the versions of each engine's fixture, the machine's own first and the newest last; `chosen` the one
    that a test is done with, `make_engine` among them.
    """
    chosen = dict(chosen)
    second = chosen.pop("make_engine", "") in SECOND_ENGINES
    said = next((marker for marker in ("rare", "thorough") if marker in markers), None)
    places = [engines[fixture].index(version) for fixture, version in chosen.items()]
    newest = {len(engines[fixture]) - 1 for fixture in chosen}
    if "doubled" in markers and (second or any(places)):
        return "rare"
    if said == "rare" or any(place and place not in newest for place in places):
        return "rare"
    if said or {"docker", "alone"} & set(markers) or LEFT_TO_ALL & set(fixtures) or any(places):
        return "thorough"
    return "thorough" if "slow" in markers and not ("always" in markers or "soak" in fixtures) else None
