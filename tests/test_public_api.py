"""What callers may rely on: the names in the root, their signatures, and values that do not change."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType

import owui_vault
import pytest
from owui_vault import errors, model, testing

PROMISED = [
    "BorgEngine",
    "DataDirectory",
    "Outcome",
    "Quiesce",
    "Repository",
    "ResticEngine",
    "RetentionPolicy",
    "Secret",
    "Vault",
    "VaultError",
    "open_vault",
]

#: The parameters that were promised, in their order; further ones are keyword-only and may be left out.
SIGNATURES = {
    "inspect": [],
    "initialize": [],
    "snapshot": ["to", "tags", "quiesce", "progress", "cancel"],
    "snapshots": ["repository", "instance"],
    "manifest": ["snapshot"],
    "entries": ["snapshot", "path"],
    "read": ["snapshot", "path"],
    "dump": ["snapshot", "path", "to"],
    "restore": ["snapshot", "target", "components", "repository", "app_data_dir"],
    "plan_prune": ["policy", "repository"],
    "prune": ["plan"],
    "pin": ["snapshot"],
    "unpin": ["snapshot"],
    "accept_collapse": ["collapse"],
    "plan_replication": ["source", "to", "snapshots"],
    "replicate": ["plan"],
    "verify": ["snapshot", "repository", "read_data"],
    "recover": [],
    "plan_replacement": ["snapshot", "components", "repository"],
    "replace": ["plan"],
    "undo": [],
    "discard": [],
    "previous_data": [],
    "hold": ["mode", "limit"],
    "run": ["plans", "dry_run"],
    "history": ["last", "plan"],
    "status": ["max_age", "offline"],
    "metrics": ["file", "max_age", "offline"],
    "report": ["file", "max_age", "offline"],
}
EXPORTED = {name: getattr(owui_vault, name) for name in owui_vault.__all__}


def test_the_promised_names_are_there() -> None:
    assert set(PROMISED) <= set(owui_vault.__all__)


def test_names_are_listed_once_and_in_order() -> None:
    assert len(set(owui_vault.__all__)) == len(owui_vault.__all__)
    assert set(owui_vault.__all__) <= set(dir(owui_vault))
    with pytest.raises(AttributeError):
        owui_vault.nothing_of_this_name  # noqa: B018  looking is the test


@pytest.mark.parametrize("package", [owui_vault, testing, model])
def test_type_checkers_see_the_names_that_are_there(package: ModuleType) -> None:
    assert package.__file__
    tree = ast.parse(Path(package.__file__).read_text(encoding="utf-8"))
    (block,) = [each for each in tree.body if isinstance(each, ast.If)]
    seen = {
        (node.module, name.name, name.asname)
        for node in ast.walk(block)
        if isinstance(node, ast.ImportFrom)
        for name in node.names
    }
    homes = {(module, name, name) for module, names in package._HOME.items() for name in names.split()}
    assert seen == homes


def test_every_error_is_exported() -> None:
    kinds = {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.VaultError)
    }
    assert kinds <= set(owui_vault.__all__)


def test_every_operation_is_promised() -> None:
    public = {name for name, each in vars(owui_vault.Vault).items() if inspect.isfunction(each) and name[0] != "_"}
    assert public == set(SIGNATURES)


def promised_parameters(operation: str) -> tuple[list[str], set[str]]:
    """Of those promised: the ones that can be given by position, in their order, and all that are there."""
    parameters = inspect.signature(getattr(owui_vault.Vault, operation)).parameters
    named = [name for name in parameters if name in SIGNATURES[operation]]
    return [name for name in named if parameters[name].kind is inspect.Parameter.POSITIONAL_OR_KEYWORD], set(named)


def test_operations_take_what_was_promised() -> None:
    broken = {
        operation: (positional, named)
        for operation, promise in SIGNATURES.items()
        for positional, named in [promised_parameters(operation)]
        if named != set(promise) or positional != promise[: len(positional)]
    }
    assert not broken


def test_the_parts_of_a_vault_can_be_given_in_place() -> None:
    parameters = inspect.signature(owui_vault.Vault).parameters
    assert list(parameters)[:2] == ["instance", "repositories"]
    assert {"quiescer", "notifiers", "clock", "state_dir"} <= set(parameters)


def types_in(hint: object) -> Iterator[type]:
    if isinstance(hint, type):
        yield hint
    for argument in typing.get_args(hint):
        yield from types_in(argument)


def public_types() -> Iterator[tuple[str, type]]:
    """All types of ours in signatures and fields of what is exported."""
    for name, value in EXPORTED.items():
        if not isinstance(value, type) or issubclass(value, Enum | BaseException):
            continue
        hints = dict(typing.get_type_hints(value, localns=EXPORTED))
        for method, function in vars(value).items():
            target = function.fget if isinstance(function, property) else function
            if (inspect.isfunction(target) and not method.startswith("_")) or method == "__init__":
                hints |= {
                    f"{method}.{each}": hint for each, hint in typing.get_type_hints(target, localns=EXPORTED).items()
                }
        for hint in hints.values():
            yield from ((name, kind) for kind in types_in(hint) if kind.__module__.startswith("owui_vault"))


def test_every_type_in_a_public_signature_is_exported() -> None:
    hidden = {f"{kind.__name__} (in {name})" for name, kind in public_types() if kind.__name__ not in EXPORTED}
    assert not hidden


def test_values_are_frozen() -> None:
    values = [each for each in EXPORTED.values() if isinstance(each, type) and dataclasses.is_dataclass(each)]
    assert len(values) > 20
    assert not [each.__name__ for each in values if not vars(each)["__dataclass_params__"].frozen]


def test_every_public_name_has_a_docstring() -> None:
    documented = [each for each in EXPORTED.values() if isinstance(each, type) or inspect.isfunction(each)]
    assert not [each.__name__ for each in documented if not inspect.getdoc(each)]


def test_secrets_do_not_print_themselves() -> None:
    secret = owui_vault.Secret("hidden text")
    engine = owui_vault.ResticEngine("/nowhere", secret)
    assert "hidden text" not in f"{secret!r} {secret} {engine!r} {owui_vault.Repository('nas', engine)!r}"


def test_the_package_is_typed() -> None:
    assert Path(owui_vault.__file__).with_name("py.typed").is_file()


def test_what_third_parties_test_with_is_in_one_place() -> None:
    assert set(testing.__all__) <= set(dir(testing))
    assert not [name for name in testing.__all__ if name != "PASSPHRASE" and not inspect.getdoc(getattr(testing, name))]
    with pytest.raises(AttributeError):
        testing.nothing_of_this_name  # noqa: B018  looking is the test


def test_the_fakes_need_no_pytest() -> None:
    """They are of use in examples and demonstrations too."""
    fakes = "DirectoryEngine, FakeClock, FakeInstance, FakeQuiescer, FaultyEngine"
    code = f"import sys; sys.modules['pytest'] = None\nfrom owui_vault.testing import {fakes}"
    subprocess.run([sys.executable, "-c", code], cwd="/", check=True)
