"""One class for each component that is more than files, and one table of them."""

from __future__ import annotations

from pathlib import Path

from owui_vault.components.providers import PROVIDERS, ComponentProvider, Returned
from owui_vault.instance.layout import OUTSIDE_COMPONENTS, component_of, component_outside
from owui_vault.model import KINDS, ApplicationRecord, Component, ComponentKind
from owui_vault.operations.verify import _ALWAYS_FETCHED, _FETCHED

APPLICATION = ApplicationRecord(alembic_head="0bd252b206fb", chroma_migration="10")


def test_each_is_where_the_layout_says_and_there_is_one_of_each() -> None:
    assert len({provider.name for provider in PROVIDERS}) == len(PROVIDERS)
    for provider in PROVIDERS:
        of = component_outside if provider.name in OUTSIDE_COMPONENTS else component_of
        assert of(provider.place) is provider.name
        assert {component_of(name) for name in provider.databases} <= {provider.name}


def test_what_is_more_than_files_or_a_key_has_a_provider() -> None:
    plain = {ComponentKind.FILES, ComponentKind.KEY}
    assert {name for name, kind in KINDS.items() if kind not in plain} <= {provider.name for provider in PROVIDERS}
    assert set(KINDS) == set(Component)


def test_the_schema_is_the_databases_and_the_stores_own() -> None:
    assert {provider.name: schema for provider in PROVIDERS if (schema := provider.schema(APPLICATION))} == {
        Component.DATABASE: "0bd252b206fb",
        Component.VECTORS: "10",
    }


def test_verify_always_fetches_what_a_database_is_in() -> None:
    assert _FETCHED == (Component.DATABASE, Component.VECTORS)
    assert _ALWAYS_FETCHED == ("manifest.json", "data/webui.db", "data/vector_db")


def test_one_that_has_nothing_to_say_says_nothing(tmp_path: Path) -> None:
    class Plain(ComponentProvider):
        name, place = Component.LEGACY, "config.json"

    returned = Returned(
        data_dir=tmp_path,
        manifest=None,  # type: ignore[arg-type]  # which it must not ask
        fetched=(Component.LEGACY,),
        differing=(Component.LEGACY,),
        is_content_other=True,
        size_of=lambda _path: None,
        hash_of=lambda _path: "",
    )
    assert Plain().check(returned).problems == Plain().check(returned).changed == ()
    assert Plain().schema(APPLICATION) == ""
