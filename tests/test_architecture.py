"""The shape of the package, as far as ruff, mypy and import-linter do not see to it."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import cache
from pathlib import Path

from owui_vault.context.context import OperationContext

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "owui_vault"
MODULES = sorted(PACKAGE.rglob("*.py"))
PROGRAMS = sorted([*(ROOT / "examples").glob("*.py"), *(ROOT / "tools").glob("*.py")])

MODULE_LINES = 400
FUNCTION_LINES = 60

CLOCK_READS = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
#: Modules besides system/clock.py that read a clock or sleep, each with its reason.
CLOCK_EXCEPTIONS = {
    "capture/child": "a process of its own: the standard library, and nothing between two looks at the time",
    "engines/common/launcher.py": "a program of its own, which imports nothing of ours",
    "guardian/guardian_main.py": "same",
    "instance/probe_main.py": "a program of its own, which must start fast",
    "system": "beside the clock, and bounds processes and file system calls of this machine",
    "testing": "waits for real processes",
}
#: Modules that look at this process's environment, each with its reason; all others are given one.
ENVIRON_EXCEPTIONS = {
    "system/python.py": "the door, for whoever is given none, and for what our own programs inherit",
    "ports.py": "the default of a call by hand; it lies below the door",
    "components/database/full_check_main.py": "a program of its own sets its own",
    "engines/common/launcher.py": "same",
    "testing": "calls an engine as a user's program does",
}

#: Where whatever is raised may be caught: around notifiers, around one repository of several, as the last resort of
#: `cli`; with the words that have to stand beside it. What must be done on the way out is `system.unwinding`'s.
CATCHES_EXCEPTION = {
    "operations/notifications.py": "a notifier",
    "operations/initialize.py": "one repository of several",
    "repositories/verification_log.py": "one repository of several",
    "operations/pinning.py": "one repository of several",
    "operations/prune.py": "same repository|one repository of several",
    "repositories/lookup.py": "one repository of several",
    "operations/replicate.py": "one repository of several",
    "operations/snapshot/store.py": "one repository of several",
    "service/publishing.py": "a page is no part of the run",
    "service/steps.py": "one step of several",
    "service/telling/announce.py": "a notifier|a repository that cannot be asked",
    "repositories/listing.py": "one repository of several",
    "cli/run.py": "the last stop",
}
#: Nowhere but where an exception has to pass to another thread or process.
CATCHES_EVERYTHING = {
    "engines/restic/resticpy.py": "handed on to the caller's",
    "testing/engines/bench.py": "forked child",
}

#: Modules that may be longer, each with its reason.
LONGER: dict[str, str] = {
    "owui_vault/vault.py": "the facade: one method for each operation, and nothing else",
}

#: Modules of fewer lines than that belong into another, but for one of these reasons. Commands, programs (`…_main`) and
#: what helps tests have theirs by what they are.
FEWEST_LINES = 60
SHORTER = {
    "an address that outlives what is behind it, or that others read": "__main__ rescue version lazy_names",
    "one operation, its text on the screen, its values": (
        "operations/list_snapshots operations/pinning operations/secret_warnings service/history"
        " cli/render/configured cli/render/pins cli/render/containers cli/render/scheduling"
        " model/checks model/config_reports model/containers model/schedules model/sealing"
    ),
    "a pure decision, asked from several places": (
        "service/overdue repositories/pin_labels repositories/credentials engines/common/full_read"
        " engines/common/disk_full secrets/decode notify/addresses config/features quiesce/container/activity"
    ),
    "imported where more must not be": (
        "cli/own_options cli/arguments cli/options cli/foreign_words cli/terminal components/names"
        " components/database/first_facts components/restored_tree system/sqlite_format system/parent_death"
        " capture/child/errors capture/child/messages capture/child/sqlite/statements capture/stage"
        " manifest/application_facts operations/recovery/key_swap"
    ),
    "the only door to something": (
        "system/clock system/unwinding cli/service_manager pages/html_page pages/page_values secrets/command"
        " engines/common/spool"
    ),
}

#: Functions that still take a fifth parameter by position. The list may get shorter, never longer.
CROWDED = {
    "owui_vault/engines/borg/fetch.py: _extract",
    "owui_vault/secrets/sealed.py: _open",
    "owui_vault/testing/engines/directory_tree.py: _write",
    "owui_vault/testing/instances/generate.py: _grow_uploads",
    "owui_vault/testing/instances/vectors.py: grow_vectors",
    "owui_vault/operations/snapshot/manifest_builder.py: build_manifest",
    "owui_vault/guardian/bounded_hold.py: __init__",
    "owui_vault/operations/snapshot/snapshot.py: _report",
    "owui_vault/operations/snapshot/store.py: _store",
    "owui_vault/operations/snapshot/store.py: store_everywhere",
    "owui_vault/vault.py: restore",
}

#: What starts programs or opens databases has a door, like every package that is not Python's own.
DOORS = {"sqlite3", "subprocess"}

#: All of `system` that the process that takes the instant may know: the standard library and the file system.
SYSTEM_OF_THE_CHILD = {
    "attributes",
    "filesystem",
    "parent_death",
    "patterns",
    "python",
    "removal",
    "sqlite_door",
    "sqlite_format",
    "sqlite_main",
    "unwinding",
    "work_folder",
}

FOLDER_FILES = 20
#: One file for each command, named like the operation: a list, which nobody reads at one glance.
COMMANDS = PACKAGE / "cli" / "commands"

#: Names that modules share: parallel parts, or a value beside what decides on it or shows it.
PARALLEL = {
    "application",
    "containers",
    "engine",
    "errors",
    "fetch",
    "locks",
    "maintenance",
    "output",
    "process",
    "program",
    "reports",
    "rescue",
    "retention",
    "snapshots",
    "status",
    "store",
}

HEAVY = ["apprise", "pydantic", "yaml", "typer", "rich", "docker", "cryptography", "restic", "click", "requests"]
HEAVY += ["jinja2", "prometheus_client"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_no_module_imports_the_package_root() -> None:
    """The root is for callers; inside, everything is imported from where it lies, so that no import is circular."""
    offenders = []
    for path in MODULES:
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.Import):
                wrong = "owui_vault" in [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [alias.name for alias in node.names if node.module == "owui_vault"]
                rooms = all((PACKAGE / f"{each}.py").exists() or (PACKAGE / each).is_dir() for each in names)
                wrong = node.level != 0 or not rooms
            else:
                continue
            if wrong:
                offenders.append(f"{name(path)}:{node.lineno}: {ast.unparse(node)}")
    assert not offenders


def test_clocks_are_read_and_slept_by_in_one_place() -> None:
    readers = [
        f"{name(path)}:{node.lineno}: {ast.unparse(node)}"
        for path in _besides(CLOCK_EXCEPTIONS)
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.Attribute) and ast.unparse(node).removeprefix("datetime.") in CLOCK_READS)
        or (isinstance(node, ast.Import) and "time" in [alias.name for alias in node.names])
        or (isinstance(node, ast.ImportFrom) and node.module == "time")
    ]
    assert not readers


def test_the_environment_of_this_process_is_looked_at_in_one_place() -> None:
    readers = [
        f"{name(path)}:{node.lineno}: {ast.unparse(node)}"
        for path in _besides(ENVIRON_EXCEPTIONS)
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.environb", "os.getenv"})
        or (
            isinstance(node, ast.ImportFrom) and node.module == "os" and "environ" in [each.name for each in node.names]
        )
    ]
    assert not readers


def _besides(exceptions: Mapping[str, str]) -> list[Path]:
    """All modules but these, and those of these folders; each of them has to be there."""
    excepted = [PACKAGE / inside for inside in exceptions]
    assert [path for path in excepted if not path.exists()] == []
    return [path for path in MODULES if not any(each in (path, *path.parents) for each in excepted)]


def test_modules_and_functions_stay_short() -> None:
    """A longer module has two jobs."""
    modules = [
        f"{name(path)}: {lines} lines"
        for path in MODULES + PROGRAMS
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MODULE_LINES and name(path) not in LONGER
    ]
    long_functions = [
        f"{name(path)}:{function.lineno}: {function.name} has {length} lines"
        for path in MODULES + PROGRAMS
        for function in functions(path)
        if (length := (function.end_lineno or function.lineno) - function.lineno + 1) > FUNCTION_LINES
    ]
    assert modules + long_functions == []


def test_more_than_four_parameters_are_keyword_only() -> None:
    crowded = {
        f"{name(path)}: {function.name}"
        for path in MODULES
        for function in functions(path)
        if len([each for each in function.args.args if each.arg not in {"self", "cls"}]) > 4
    }
    assert crowded == CROWDED


def test_whatever_is_raised_is_caught_only_where_it_is_a_result() -> None:
    """Each place with its reason beside it; a bare `except` is none."""
    places = {"Exception": CATCHES_EXCEPTION, "BaseException": CATCHES_EVERYTHING, "": {}}
    offenders = []
    for path in MODULES:
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in ast.walk(tree(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            kinds = {each.id for each in ast.walk(node.type) if isinstance(each, ast.Name)} if node.type else {""}
            reasons = [places[kind].get(str(path.relative_to(PACKAGE)), "") for kind in kinds if kind in places]
            beside = lines[node.lineno - 1].partition("#")[2]
            if not all(reason and re.search(reason, beside) for reason in reasons):
                offenders.append(f"{name(path)}:{node.lineno}: {lines[node.lineno - 1].strip()}")
    assert not offenders


def test_one_place_descends_by_descriptors() -> None:
    """`work_folder` for whatever is reached in a folder that others may write to, `removal` for trees of any depth."""
    offenders = [
        f"{name(path)}:{node.lineno}: {ast.unparse(node)}"
        for path in MODULES
        if path.name not in {"work_folder.py", "removal.py"}
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.open"
        if any(each.arg == "dir_fd" for each in node.keywords)
    ]
    assert not offenders


def test_only_named_modules_have_module_state() -> None:
    """`global` statements are how module state is written to."""
    assert not [name(path) for path in MODULES for node in ast.walk(tree(path)) if isinstance(node, ast.Global)]


def test_the_root_import_is_light() -> None:
    """`--help` and programs that only want a type pay for nothing else."""
    code = "import json, sys, owui_vault; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", code], cwd="/", text=True))
    assert "owui_vault" in loaded
    assert not set(HEAVY) & set(loaded)


def test_the_layers_hold() -> None:
    """Downward only, siblings apart, one door per third-party package: the contracts are in pyproject.toml."""
    command = [str(Path(sysconfig.get_path("scripts"), "lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@cache
def contracts(kind: str) -> list[dict[str, list[str]]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [each for each in settings["tool"]["importlinter"]["contracts"] if each["type"] == kind]


def test_every_package_of_others_has_its_door() -> None:
    """A contract that was forgotten forbids nothing."""
    imported = {
        package.partition(".")[0]
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for package in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }
    doors = {package for each in contracts("protected") for package in each["protected_modules"]}
    assert (imported - sys.stdlib_module_names - {"owui_vault"}) | DOORS <= doors


def test_whatever_is_new_is_far_from_the_process_that_takes_the_instant() -> None:
    """All of the package but its own part of it, and of `system` what it may know, is forbidden to it by name."""
    top = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    system = {f"system.{path.stem}" for path in (PACKAGE / "system").glob("*.py")}
    parent = {f"capture.{path.stem}" for path in (PACKAGE / "capture").glob("*.py")}
    allowed = {f"system.{each}" for each in SYSTEM_OF_THE_CHILD} | {"errors"}
    all_others = {each for each in top | system | parent if not each.endswith("__init__")}
    all_others -= allowed | {"capture", "system"}
    [child] = [each for each in contracts("forbidden") if each["source_modules"] == ["owui_vault.capture.child"]]
    forbidden = {each.removeprefix("owui_vault.") for each in child["forbidden_modules"]}
    assert all_others <= forbidden
    assert not allowed & forbidden
    assert {package for each in contracts("protected") for package in each["protected_modules"]} - DOORS <= forbidden


def test_a_short_module_has_its_reason() -> None:
    short = {
        str(path.relative_to(PACKAGE).with_suffix(""))
        for path in MODULES
        if len(path.read_text(encoding="utf-8").splitlines()) < FEWEST_LINES
        and not (path.name == "__init__.py" or path.stem.endswith("_main") or COMMANDS in path.parents)
        and PACKAGE / "testing" not in path.parents
    }
    assert short == {module for modules in SHORTER.values() for module in modules.split()}


def test_no_function_takes_the_whole_context_for_one_part_of_it() -> None:
    parts = {each.name for each in fields(OperationContext)} | {"the_instance"}
    offenders = []
    for path in MODULES:
        for function in functions(path):
            uses = [node for node in ast.walk(function) if isinstance(node, ast.Name) and node.id == "context"]
            asked = [
                node.attr
                for node in ast.walk(function)
                if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "context"
            ]
            given = {ast.unparse(each.annotation) for each in function.args.args if each.annotation}
            if "OperationContext" in given and len(asked) == len(uses) and len(set(asked)) == 1 and set(asked) <= parts:
                offenders.append(f"{name(path)}: {function.name} needs {asked[0]}")
    assert offenders == []


def test_no_folder_is_crowded() -> None:
    """More than that nobody reads at one glance."""
    folders = Counter(name(path.parent) for path in MODULES if path.parent != COMMANDS)
    assert not {folder: count for folder, count in folders.items() if count > FOLDER_FILES}


def test_a_name_is_given_to_one_module() -> None:
    """Two of one name are taken for each other, unless they are parallel."""
    names = Counter(path.stem for path in MODULES if path.name != "__init__.py" and path.parent != COMMANDS)
    assert {each for each, count in names.items() if count > 1} == PARALLEL


SWITCH_OFF = re.compile(r"# (?:noqa(?:: [A-Z0-9, ]+\b)?|type: ignore(?:\[[^]]*\])?|pragma: no \w+)(?P<reason>.*)")


def test_every_ignored_rule_has_its_reason_beside_it() -> None:
    """A bare `noqa`, `type: ignore` or `pragma` hides what nobody remembers."""
    assert not [
        f"{name(path)}:{number}"
        for path in [*MODULES, *PROGRAMS]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for switch in SWITCH_OFF.finditer(line)
        if not re.search(r"\w{4,}", switch["reason"])
    ]
