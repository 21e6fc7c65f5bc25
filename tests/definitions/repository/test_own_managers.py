"""What can be told of an IO manager before it is made."""

# Annotations are not postponed here: Dagster reads those of resources when the class is made.

import dagster as dg
import pytest

from metaxy_dagster.definitions.repository.own_managers import OwnManagers
from metaxy_dagster.runtime.io.wrapped import wrapped

# Dagster itself asks pydantic in a way that is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


class Folder(dg.IOManager):
    def handle_output(self, context, obj): ...

    def load_input(self, context):
        if context is None:
            raise NotImplementedError
        return 1


class Away(Folder):
    def load_input(self, context):
        message = f"nothing comes back of {context}"
        raise NotImplementedError(message)


class ConfigurableAway(dg.ConfigurableIOManager):
    def handle_output(self, context, obj): ...

    def load_input(self, context):
        raise NotImplementedError


class AwayFactory(dg.ConfigurableIOManagerFactory):
    def create_io_manager(self, context):
        return Away()


class FolderFactory(dg.ConfigurableIOManagerFactory):
    def create_io_manager(self, context):
        return Folder()


@dg.io_manager
def away(context):
    return Away()


@dg.io_manager
def either(context):
    return Away() if context.resource_config else Folder()


def enclosed():
    class Inner(Away): ...

    @dg.io_manager
    def made(context):
        return Inner()

    return made


@dg.input_manager
def loader(context):
    return 1


AWAY = "it cannot load what it wrote"
MEMORY = "it holds nothing beyond the run that wrote it"
#: The resource, its name, and why increments cannot be merged into what it holds.
MANAGERS = {
    "object": (Folder, "Folder", None),
    "object that sends away": (Away, "Away", AWAY),
    "configurable": (ConfigurableAway, "ConfigurableAway", AWAY),
    "at launch": (ConfigurableAway.configure_at_launch, "ConfigurableAway", AWAY),
    "factory": (FolderFactory, "FolderFactory", None),
    "factory that sends away": (AwayFactory, "AwayFactory", AWAY),
    "function": (lambda: away, "away", AWAY),
    "function of two": (lambda: either, "either", None),
    "enclosed": (enclosed, "made", AWAY),
    "bound": (lambda: dg.IOManagerDefinition.hardcoded_io_manager(Away()), "Away", AWAY),
    "files": (dg.FilesystemIOManager, "FilesystemIOManager", None),
    "fs": (lambda: dg.fs_io_manager, "fs_io_manager", None),
    "memory": (lambda: dg.mem_io_manager, "mem_io_manager", MEMORY),
    "memory, made": (dg.InMemoryIOManager, "InMemoryIOManager", MEMORY),
    "input manager": (lambda: loader, "loader", None),
}


@pytest.mark.parametrize("kind", MANAGERS)
def test_own_managers(kind):
    make, name, why = MANAGERS[kind]
    value = make()
    for managers in (OwnManagers({"k": value}, ()), OwnManagers({}, [{"k": value}])):
        own = managers.of("k", {"k": value})
        assert own.name == f"'k' ({name})"
        assert own.no_increments == why
        assert own.is_in_memory == (why == MEMORY)
        assert not own.is_wrapped
        assert own.obstacle is None


@pytest.mark.parametrize("value", [None, "text", object(), dg.ResourceDefinition.none_resource()])
def test_what_is_no_io_manager_is_none(value):
    assert OwnManagers({"k": value}, ()).of("k") is None
    assert OwnManagers({}, ()).of("k") is None


def test_what_is_bound_counts_before_what_is_not():
    managers = OwnManagers({"k": Folder()}, [{"k": away}])
    assert managers.of("k", {}, {"k": away}).name == "'k' (away)"
    assert managers.of("k", {}).name == "'k' (Folder)"


def test_what_is_wrapped_is_known_again():
    assert OwnManagers({"k": wrapped(Folder())}, ()).of("k").is_wrapped


def test_who_holds_what_is_configured_at_launch():
    late = ConfigurableAway.configure_at_launch()

    class Holder(dg.ConfigurableResource):
        manager: ConfigurableAway

    class Outer(dg.ConfigurableResource):
        holder: Holder

    resources = {
        "k": late,
        "inner": Holder(manager=late),
        "outer": Outer(holder=Holder(manager=late)),
    }
    assert "'inner', 'outer' holds it" in OwnManagers(resources, ()).of("k").obstacle
    # What is bound was made a definition by Dagster.
    bound = [{"k": late.get_resource_definition(), "inner": Holder(manager=late)}]
    assert "'inner' holds it" in OwnManagers({}, bound).of("k", *bound).obstacle
