from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from metaxy_dagster.features import (
    FeatureDep,
    FeatureGraph,
    FeatureSpec,
    FieldDep,
    FieldsMapping,
    FieldSpec,
    SpecialFieldDep,
    digest,
)

PARTS = st.lists(
    st.none()
    | st.text("0123:-a", max_size=4)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    max_size=5,
)


@given(PARTS, PARTS)
def test_different_parts_have_different_digests(one, other):
    assert (digest(*one) == digest(*other)) == (one == other)


@given(PARTS)
def test_the_digest_is_a_plain_sha256_of_length_prefixed_parts(parts):
    text = b""
    for part in parts:
        text += b"-" if part is None else f"{len(part.encode())}:".encode() + part.encode()
    assert digest(*parts) == hashlib.sha256(text).hexdigest()[:32]


# ---------------------------------------------------------------- against a naive oracle
FIELDS = ("audio", "frames", "text")
ALL = "all"


@dataclass(frozen=True)
class Declared:
    """A feature as plain data: fields with code versions and explicit deps; deps by mapping."""

    name: str
    fields: tuple[tuple[str, str, object], ...]
    deps: tuple[tuple[str, object], ...]


@st.composite
def graphs(draw):
    declared = {}
    for index in range(draw(st.integers(1, 6))):
        name = f"f{index}"
        upstreams = draw(
            st.lists(st.sampled_from(sorted(declared)), unique=True, max_size=3)
            if declared
            else st.just([])
        )
        names = draw(st.lists(st.sampled_from(FIELDS), unique=True, min_size=1, max_size=3))
        declared[name] = Declared(
            name,
            tuple(
                (field, draw(st.sampled_from("12")), draw(_explicit(upstreams, declared)))
                for field in names
            ),
            tuple((upstream, draw(_mapping(names, declared[upstream]))) for upstream in upstreams),
        )
    return declared


def _explicit(upstreams, declared):
    choices = st.none() | st.just(ALL)
    if upstreams:
        pairs = [(up, field[0]) for up in upstreams for field in declared[up].fields]
        choices |= st.lists(st.sampled_from(pairs), max_size=3).map(tuple)
    return choices


def _mapping(names, upstream):
    fields = [field[0] for field in upstream.fields]
    specific = st.dictionaries(
        st.sampled_from(names), st.lists(st.sampled_from(fields), max_size=2), max_size=2
    )
    return st.sampled_from(["default", "all", "none"]) | specific


def _spec(one, *, shuffle=None):
    fields = [
        FieldSpec(name, code_version=code, deps=_field_deps(deps))
        for name, code, deps in one.fields
    ]
    deps = [FeatureDep(up, fields_mapping=_fields_mapping(mapping)) for up, mapping in one.deps]
    if shuffle is not None:
        shuffle.shuffle(fields)
        shuffle.shuffle(deps)
    return FeatureSpec(one.name, id_columns=["id"], fields=fields, deps=deps)


def _field_deps(deps):
    if deps is None:
        return None
    if deps == ALL:
        return SpecialFieldDep.ALL
    return [FieldDep(up, fields=[field]) for up, field in deps]


def _fields_mapping(mapping):
    if isinstance(mapping, dict):
        return FieldsMapping.specific(mapping)
    return getattr(FieldsMapping, mapping)()


def _graph(declared, **options):
    graph = FeatureGraph()
    for one in declared.values():
        graph.add(_spec(one, **options))
    return graph


def _hash(*parts):
    text = "".join(f"{len(part.encode())}:{part}" for part in parts)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _naive_field(declared, name, field):
    """The version of a field, straight from its definition, by recursion."""
    one = declared[name]
    _, code, _ = next(entry for entry in one.fields if entry[0] == field)
    parts = []
    for parent, parent_field in sorted(_naive_parents(declared, one, field)):
        parts += [f"{parent}:{parent_field}", _naive_field(declared, parent, parent_field)]
    return _hash(field, code, str(len(parts) // 2), *parts)


def _naive_parents(declared, one, field):
    explicit = next(entry[2] for entry in one.fields if entry[0] == field)
    if explicit is not None and explicit != ALL:
        return set(explicit)
    parents = set()
    for upstream, mapping in one.deps:
        names = {entry[0] for entry in declared[upstream].fields}
        if explicit == ALL or mapping == "all":
            chosen = names
        elif mapping == "default":
            chosen = {field} if field in names else names
        else:
            chosen = set() if mapping == "none" else set(mapping.get(field, ()))
        parents |= {(upstream, each) for each in chosen}
    return parents


def _naive_feature(declared, name):
    parts = [name]
    for field in sorted(entry[0] for entry in declared[name].fields):
        parts += [field, _naive_field(declared, name, field)]
    return _hash(*parts)


@given(graphs())
def test_versions_follow_their_definition(declared):
    graph = _graph(declared)
    for name, one in reversed(declared.items()):
        assert graph.feature_version(name) == _naive_feature(declared, name)
        for field, _, _ in one.fields:
            assert graph.field_version(name, field) == _naive_field(declared, name, field)
            plan = next(each for each in graph.plan(name).fields if str(each.key) == field)
            parents = [(str(parent.feature), str(parent.field)) for parent in plan.parents]
            assert parents == sorted(_naive_parents(declared, one, field))
        own = [text for entry in sorted(one.fields, key=lambda e: e[0]) for text in entry[:2]]
        assert graph.code_version(name) == _hash(*own)


@given(graphs(), st.randoms(use_true_random=False))
def test_versions_do_not_depend_on_the_order_of_declaration(declared, chance):
    names = list(declared)
    chance.shuffle(names)
    shuffled = _graph({name: declared[name] for name in names}, shuffle=chance)
    graph = _graph(declared)
    for name in declared:
        assert shuffled.feature_version(name) == graph.feature_version(name)
        assert shuffled.code_version(name) == graph.code_version(name)
    assert shuffled.topological_order() == graph.topological_order()


@given(graphs(), st.data())
def test_a_new_code_version_changes_exactly_what_is_computed_from_the_field(declared, data):
    name = data.draw(st.sampled_from(sorted(declared)))
    field = data.draw(st.sampled_from([entry[0] for entry in declared[name].fields]))
    one = declared[name]
    bumped = dict(declared)
    bumped[name] = Declared(
        name,
        tuple((f, "bumped" if f == field else code, deps) for f, code, deps in one.fields),
        one.deps,
    )
    before, after = _graph(declared), _graph(bumped)
    touched = {(name, field)}
    for other, each in declared.items():  # in an order in which upstreams come first
        for entry in each.fields:
            if _naive_parents(declared, each, entry[0]) & touched:
                touched.add((other, entry[0]))
    for other, each in declared.items():
        for entry in each.fields:
            changed = before.field_version(other, entry[0]) != after.field_version(other, entry[0])
            assert changed == ((other, entry[0]) in touched)
        changed = before.feature_version(other) != after.feature_version(other)
        assert changed == any(feature == other for feature, _ in touched)
        assert (before.code_version(other) != after.code_version(other)) == (other == name)


def test_versions_are_pinned():
    """Versions are stored beside data: they must not change between releases."""
    graph = FeatureGraph()
    graph.add(FeatureSpec("video", id_columns=["id"], fields=["audio", "frames"]))
    graph.add(FeatureSpec("faces", id_columns=["id"], fields={"faces": "1"}, deps=["video"]))
    assert graph.field_version("video", "audio") == "264545ee33daff922ba639b4846a2929"
    assert graph.feature_version("video") == "7e7ee43635688143c14f646cf102e369"
    assert graph.feature_version("faces") == "4f0d3230eab42b0a187a29761433d02d"
    assert graph.code_version("faces") == "41afe029530ed1099caaa23295de8d70"


def test_versions_are_the_same_in_large_shuffled_graphs():
    chance = random.Random(0)  # noqa: S311 - repeatable, not secret
    specs = [
        FeatureSpec(f"f{i}", id_columns=["id"], deps={f"f{chance.randrange(i)}"} if i else ())
        for i in range(300)
    ]
    one, other = FeatureGraph(), FeatureGraph()
    for spec in specs:
        one.add(spec)
        one.feature_version(spec)
    for spec in reversed(specs):
        other.add(spec)
    assert [one.feature_version(s) for s in specs] == [other.feature_version(s) for s in specs]
