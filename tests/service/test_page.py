"""The page to look at: facts with their ages, what needs a hand with its command, and nothing that is not text."""

from __future__ import annotations

import html
import json
import re
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from owui_vault import Pages, Repository, Secret, Vault
from owui_vault.errors import ConfigError, RepositoryUnreachableError
from owui_vault.model import (
    CronSchedule,
    ErrorNote,
    Outcome,
    Plan,
    PlanState,
    PlanStep,
    PointFact,
    Proof,
    ProofRecord,
    RepositorySpace,
    RepositoryState,
    RunOutcome,
    RunRecord,
    Snapshot,
    StatusReport,
    StepRecord,
    StepResult,
    Verdict,
)
from owui_vault.pages.html_page import html_page
from owui_vault.pages.page_values import Depth, Measurement, PageFacts, PointOnPage
from owui_vault.ports import Call
from owui_vault.testing.engines.directory import DirectoryEngine
from tests.service.world import World

NIGHTLY = Plan(name="nightly", schedule=CronSchedule(expression="0 3 * * *"), verify=True)
NASTY = (
    "</title></style><script>alert(1)</script><img src=x onerror=alert(2)>\" ' {{ 7*7 }} \u202egnp\x1b[31m" + "x" * 300
)
NOW = datetime(2026, 11, 30, 8, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Reader(HTMLParser):
    """The text of a page, and its elements."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._skipped = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._skipped = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._skipped = False

    def handle_data(self, data: str) -> None:
        if not self._skipped and data.strip():
            self.words.append(" ".join(data.split()))


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


def at(day: int, time: str = "08:00") -> datetime:
    return datetime.fromisoformat(f"2026-06-{day:02d}T{time}").replace(tzinfo=UTC)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, NIGHTLY)
    world.proof = ProofRecord(mode=Proof.PAUSE, attempts=4, freeze_seconds=0.25)
    world.nights(4)
    return world


@pytest.mark.parametrize("offline", [False, True], ids=["online", "offline"])
def test_reassurance_comes_first_and_is_made_of_facts(world: World, *, offline: bool) -> None:
    said = read(world.vault.report(offline=offline).text).words
    first = said[said.index("Backups of") :]
    assert "Everything is as new as it should be." in first[:6]
    assert any(each.startswith("No run has failed since") and "4 known runs" in each for each in first)
    assert first[first.index("Newest restore point") + 1] == "5 h ago"
    assert first[first.index("Last verified") + 1] == "5 h ago"
    assert first[first.index("Every file read") + 1] == "never"
    assert first[first.index("Restore points stored" if offline else "Restore points") + 1] == "4"
    assert first[first.index("Next run") + 1] == "in 19 h"
    assert first[first.index("Instance frozen") + 1] == "250 ms"
    assert first[first.index("What needs a hand") + 1] == "Nothing."
    assert ("no repository was asked" in " ".join(said)) == offline


def test_what_needs_a_hand_stands_there_with_the_command_for_it(world: World) -> None:
    world.carry_away("nas")
    world.clock.set(at(5, "03:00"))
    world.run()
    said = read(world.vault.report().text).words
    assert "Something needs a hand." in said or "Not everything could be looked at." in said
    assert "owui-vault snapshots --from nas" in said
    assert any("it cannot be asked" in each for each in said)
    offline = read(world.vault.report(offline=True).text).words
    assert "owui-vault history --plan nightly" in offline
    world.bring_back("nas")
    world.clock.set(at(7, "09:01"))
    assert "owui-vault run nightly" in read(world.vault.report().text).words


def test_days_are_shown_by_what_they_left_behind(world: World) -> None:
    world.outcome = Outcome.INCOMPLETE
    world.clock.set(at(5, "03:00"))
    world.run()
    world.clock.set(at(5))
    kinds = [each["class"] for tag, each in read(world.vault.report().text).elements if tag == "g" and "class" in each]
    days = [each for each in kinds if each and each.startswith("day ")][:-8]  # the rest is the legend
    assert [each.removeprefix("day ") for each in days[-5:]] == ["verified"] * 4 + ["incomplete"]
    assert set(days[:-5]) == {"day none"}


def test_what_retention_removed_is_told_apart_where_the_repositories_were_asked(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    world.nights(14)  # three last and seven daily ones are kept
    text = world.vault.report().text
    assert text.count(" gone") - 1 == 14 - 7  # one of them is the legend's
    assert world.vault.report(offline=True).text.count("removed since") == 1


def test_the_page_needs_nothing_else_and_runs_nothing(world: World) -> None:
    text = world.vault.report().text
    reader = read(text)
    assert text.startswith("<!DOCTYPE html>")
    assert not {"script", "link", "img", "iframe", "object", "form"} & {tag for tag, _ in reader.elements}
    outside = {"src", "href", "action", "srcset", "data"}
    assert not [each for _, each in reader.elements if outside & set(each)]
    assert not re.search(r"url\((?!#)|@import|https?:", text)
    (policy,) = [each["content"] for _, each in reader.elements if each.get("http-equiv") == "Content-Security-Policy"]
    assert policy
    assert policy.startswith("default-src 'none'")
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def some_facts(verdict: Verdict = Verdict.FINE, *, words: str = "nas", count: int = 88) -> PageFacts:
    """Three months of a home server, or whatever `words` make of it."""
    error = ErrorNote(type="RepositoryMissingError", message=f"no repository at {words}", hint=f"mount {words}")
    runs, points, taken = [], [], []
    for number in range(count, -1, -1):
        began = NOW - number * DAY
        outcome = RunOutcome.FAILED if number % 29 == 5 or verdict is not Verdict.FINE else RunOutcome.SUCCESS
        result = StepResult(
            repository=words,
            outcome=outcome,
            snapshot=f"{number:08x}",
            instant=began,
            size_bytes=10**9,
            added_bytes=10**6 * number,
            problems=(words,),
            error=error if outcome is RunOutcome.FAILED else None,
        )
        freeze = 0.1 * (number % 3)
        step = StepRecord(
            step=PlanStep.SNAPSHOT, began=began, outcome=outcome, results=(result,), freeze_seconds=freeze
        )
        runs.append(
            RunRecord(
                id=f"{number:08x}",
                plan=words,
                began=began,
                ended=began,
                outcome=outcome,
                took_seconds=20.0 + number,
                steps=(replace(step, error=error if number % 2 else None, problems=(words,)),),
            )
        )
        depth = Depth(number % 4)
        points.append(
            PointOnPage(
                id=f"{number:08x}",
                instant=began,
                depth=depth,
                size_bytes=10**9,
                added_bytes=10**6,
                is_gone=number % 7 == 3,
            )
        )
        taken.append(Measurement(repository=words, at=began, size_bytes=10**9 - number))
    point = PointFact(id="0000002a", instant=NOW - DAY, size_bytes=10**9, verified_at=NOW - DAY, all_read_at=NOW - DAY)
    state = RepositoryState(
        repository=words,
        series=words,
        verdict=verdict,
        reasons=() if verdict is Verdict.FINE else (f"it cannot be asked: {words}", f"overdue: {words}"),
        newest=point,
        verified=point,
        as_of=NOW,
        due=NOW + DAY,
        late_after=NOW + DAY,
        error=None if verdict is Verdict.FINE else error,
    )
    other = replace(state, repository="offsite", newest=None, verified=None, verdict=Verdict.UNKNOWN)
    plan = PlanState(
        plan=words,
        schedule="0 3 * * *",
        verdict=verdict,
        next_due=NOW + DAY,
        last_run=runs[-1],
        repositories=(state, other),
        reasons=() if verdict is Verdict.FINE else (f"its run failed: {words}",),
    )
    status = StatusReport(
        at=NOW,
        verdict=verdict,
        offline=verdict is Verdict.UNKNOWN,
        plans=(plan,),
        series=(state,),
        space=(
            RepositorySpace(
                repository=words, size_bytes=10**9, free_bytes=10**9, growth_bytes_per_day=1e6, until_full_seconds=1e6
            ),
            RepositorySpace(repository="offsite"),
        ),
        warnings=(f"look at {words}",),
    )
    return PageFacts(
        series=words, version="1", status=status, runs=tuple(runs), points=tuple(points), measurements=tuple(taken)
    )


@pytest.mark.parametrize("verdict", list(Verdict))
def test_hostile_names_and_errors_are_text_wherever_they_stand(verdict: Verdict) -> None:
    text = html_page(some_facts(verdict, words=NASTY, count=30))
    reader = read(text)
    assert not {"script", "img"} & {tag for tag, _ in reader.elements}
    assert not [name for _, attributes in reader.elements for name in attributes if name.startswith("on")]
    assert [tag for tag, _ in reader.elements].count("title") > 2
    assert "49" not in re.sub(r"[\d.:-]{3,}", "", " ".join(each for each in reader.words if "7*7" in each))
    assert not [each for each in text if not each.isprintable() and each != "\n"]
    assert text.count("alert(1)") == len(re.findall(re.escape(html.escape("<script>alert(1)")), text))


def test_nothing_is_shown_where_nothing_is_known(tmp_path: Path) -> None:
    world = World(tmp_path, NIGHTLY)
    said = read(world.vault.report(offline=True).text).words
    assert "Not everything could be looked at." in said
    assert "No run of a plan is known here." in said
    assert "Over time" not in said
    assert "Last runs" not in said


def test_without_plans_each_series_is_on_it(world: World) -> None:
    vault = Vault(None, world.vault.repositories, clock=world.clock, state_dir=world.folder / "other")
    said = read(vault.report().text).words
    assert "Series" in said
    assert "open-webui" in said


def test_no_secret_is_on_it(world: World) -> None:
    """The world's passphrase is one letter: what counts is that no location and no secret is asked for at all."""
    text = world.vault.report().text
    assert str(world.folder) not in text


def test_it_is_written_in_one_step_after_each_run_and_where_it_is_asked_for(world: World, tmp_path: Path) -> None:
    file = tmp_path / "backups.html"
    vault = Vault(
        None,
        world.vault.repositories,
        clock=world.clock,
        state_dir=world.folder / "state",
        series="open-webui",
        environ={"TZ": "UTC"},
        plans=world.plans,
        pages=Pages(report=file, metrics=tmp_path / "vault.prom"),
    )
    assert not vault.run("nightly").warnings
    assert file.read_text().rstrip().endswith("</html>")
    assert file.stat().st_mode & 0o777 == 0o644
    assert "owui_vault_verdict" in (tmp_path / "vault.prom").read_text()
    page = vault.report(tmp_path / "again.html")
    assert page.file
    assert page.file.read_text() == page.text
    with pytest.raises(ConfigError, match="cannot be written"):
        vault.report(tmp_path / "absent" / "x.html")
    assert {each.name for each in tmp_path.glob("*.html")} == {"backups.html", "again.html"}


class Silent(DirectoryEngine):
    """Its host answers nobody, after as long as anybody waits."""

    asked = 0

    def snapshots(self, call: Call) -> tuple[Snapshot, ...]:
        self.asked += 1
        raise RepositoryUnreachableError("nobody answers there")


@pytest.mark.parametrize("optional", [False, True])
def test_a_repository_that_did_not_answer_a_run_is_not_waited_for_again(tmp_path: Path, *, optional: bool) -> None:
    proof = Plan(name="proof", schedule=CronSchedule(expression="0 3 * * *"), snapshot=False, verify=True)
    asked = []
    for name, pages in (("bare", Pages()), ("shown", Pages(report=tmp_path / "page.html"))):
        engine = Silent(tmp_path / "nas", Secret("x"))
        repositories = [Repository("nas", engine, optional=optional)]
        vault = Vault(
            None, repositories, state_dir=tmp_path / name, series="open-webui", environ={}, plans=(proof,), pages=pages
        )
        (run,) = vault.run("proof").runs
        assert [each.silent for step in run.steps for each in step.results] == [True]
        asked.append(engine.asked)
    assert asked[0] == asked[1] > 0
    assert ("nobody answers there" in (tmp_path / "page.html").read_text()) is not optional


#: Puts the page into a frame of each width and scheme, and says what is too wide or too faint.
HARNESS = """<!doctype html><meta charset="utf-8"><body></body><pre id="said"></pre><script>
const pages = PAGES;
function channel(value) { value /= 255; return value <= .04045 ? value / 12.92 : ((value + .055) / 1.055) ** 2.4; }
function parts(colour) { return colour.match(/[\\d.]+/g).map(Number); }
function light(colour) {
  const [r, g, b] = parts(colour);
  return .2126 * channel(r) + .7152 * channel(g) + .0722 * channel(b);
}
function ratio(one, other) {
  const [a, b] = [light(one), light(other)].sort((x, y) => y - x);
  return (a + .05) / (b + .05);
}
function ground(node, view) {
  for (; node; node = node.parentElement) {
    const colour = view.getComputedStyle(node).backgroundColor, all = parts(colour);
    if (all.length < 4 || all[3] === 1) return colour;
    if (all[3] > 0) return "translucent";
  }
  return "rgb(255, 255, 255)";
}
function look(frame) {
  const there = frame.contentDocument, view = frame.contentWindow, faint = [], wide = [];
  const walker = there.createTreeWalker(there.body, NodeFilter.SHOW_TEXT);
  let texts = 0, least = 99;
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || node.closest("title, style") || !node.getClientRects().length) continue;
    const style = view.getComputedStyle(node), below = ground(node, view);
    const found = below === "translucent" ? 0 : ratio(node.closest("svg") ? style.fill : style.color, below);
    texts += 1; least = Math.min(least, found);
    if (found < 4.5 || style.opacity !== "1") faint.push([walker.currentNode.data.slice(0, 40), found]);
  }
  const width = there.documentElement.clientWidth;
  for (const node of there.querySelectorAll("body *")) {
    const box = node.getBoundingClientRect();
    if (box.right > width + 1 && !node.closest("defs")) wide.push([node.outerHTML.slice(0, 60), box.right]);
  }
  return {width, scroll: there.documentElement.scrollWidth, texts, least, faint, wide: wide.slice(0, 5),
          dark: view.matchMedia("(prefers-color-scheme: dark)").matches,
          ground: view.getComputedStyle(there.body).backgroundColor,
          heading: there.querySelector("h1").innerText, charts: there.querySelectorAll("figure svg").length};
}
const frames = [];
for (const page of pages) for (const scheme of ["light", "dark"]) for (const width of [360, 768, 1280])
frames.push(new Promise(done => {
  const frame = document.createElement("iframe");
  frame.style = `width:${width}px;height:900px;border:0;color-scheme:${scheme}`;
  frame.onload = () => done(Object.assign({scheme, asked: width}, look(frame)));
  frame.srcdoc = page;
  document.body.append(frame);
}));
Promise.all(frames).then(all => { document.getElementById("said").textContent = JSON.stringify(all); });
</script>"""


@pytest.mark.slow
def test_a_browser_shows_it_on_phone_and_desk_in_light_and_dark(tmp_path: Path, chromium: str) -> None:
    """No line is cut off at three widths, and every text has a contrast of 4.5 at least, as computed in the page."""
    shown = [
        ("fine", some_facts(Verdict.FINE)),
        ("wrong and hostile", some_facts(Verdict.WRONG, words=NASTY)),
        ("overdue", some_facts(Verdict.OVERDUE)),
        ("unknown and long", some_facts(Verdict.UNKNOWN, words="x" * 400)),
    ]
    pages = json.dumps([html_page(facts) for _, facts in shown]).replace("<", "\\u003c")
    (tmp_path / "harness.html").write_text(HARNESS.replace("PAGES", pages))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
    options += ["--virtual-time-budget=20000"]
    done = subprocess.run(
        [chromium, *options, f"--user-data-dir={tmp_path}/user", "--dump-dom", f"file://{tmp_path}/harness.html"],
        capture_output=True,
        text=True,
        check=True,
        timeout=200,
    )
    said = re.search(r'<pre id="said">(.*?)</pre>', done.stdout, re.DOTALL)
    assert said, done.stdout[-2000:] + done.stderr[-2000:]
    frames = json.loads(html.unescape(said[1]))
    expected = [
        (name, scheme, width) for name, _ in shown for scheme in ("light", "dark") for width in (360, 768, 1280)
    ]
    assert [(each["scheme"], each["asked"]) for each in frames] == [each[1:] for each in expected]
    for place, each in zip(expected, frames, strict=True):
        assert each["dark"] == (each["scheme"] == "dark"), place
        assert each["scroll"] <= each["width"] == each["asked"], (place, each["wide"])
        assert not each["wide"], place
        assert not each["faint"], (place, each["least"])
        assert each["texts"] > 100, place
        assert each["heading"].startswith("Everything") == (place[0] == "fine"), place
        assert each["charts"] >= 4, place
    assert len({each["ground"] for each in frames}) == 2
