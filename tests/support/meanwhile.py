"""What may happen between a question and its answer, as rules of the state machine.

An event is a method that takes what it draws from and a feature. To let something else happen,
add a method and name it in ``EVENTS``.
"""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule
from machine import Held, Machine, Taken, seen, writer
from random_graphs import DERIVED, ROOTS, other_shapes, small

from metaxy_dagster.features import FeatureKey
from oracle import Oracle, Row


@dataclass
class Backup:
    """A copy of the file, and what was in it."""

    path: Any
    oracle: Oracle
    history: list[object]
    # What was asked and not answered when it was made, and of what.
    pasts: list[tuple[Held, Oracle]]


class Meanwhile(Machine):
    """The machine with everything that comes in between."""

    EVENTS = (
        "delete",
        "erase",
        "erase",
        "drop",
        "invalidate",
        "write_another",
        "write_another",
        "forget",
        "change_code_of",
        "redefine",
        "fail",
        "retry",
        "put_back",
    )

    def __init__(self) -> None:
        super().__init__()
        self.backups: list[Backup] = []

    # Questions that are open for long

    @rule(number=st.integers(0, len(DERIVED) - 1), who=writer)
    def hold(self, number: int, who: int) -> None:
        self.store = self.writers[who]
        self.keep_since()
        self.held.append(self.hold_one(self.derived[number]))

    @precondition(lambda self: self.held)
    @rule(data=st.data(), orphans=st.booleans(), again=st.booleans())
    def answer_late(self, data: st.DataObject, orphans: bool, again: bool) -> None:
        """What was computed from an older state is stamped with that older provenance.

        The writer may still have an older graph, and two may answer one increment.
        """
        number = data.draw(st.integers(0, len(self.held) - 1))
        held = self.held[number]
        if not again:
            del self.held[number]
        self.answer(data, held, orphans=orphans)

    # Runs in which something happens

    @rule(data=st.data(), who=writer, looked=st.booleans())
    def during_a_run(self, data: st.DataObject, who: int, looked: bool) -> None:
        self.store = self.writers[who]
        key = data.draw(st.sampled_from(self.derived))
        self.runs(data, key, looked=looked)

    @rule(data=st.data(), looked=st.booleans())
    def during_a_run_of_several_upstreams(self, data: st.DataObject, looked: bool) -> None:
        self.runs(data, data.draw(st.sampled_from(["joined", "coarse"])), looked=looked)

    def runs(self, data: st.DataObject, key: str, *, looked: bool) -> None:
        self.keep_since()
        held = self.hold_one(key)
        self.held.append(held)
        if looked:
            held.taken.asked()
        for _ in range(data.draw(st.integers(1, 2))):
            self.happens(data, key)
        self.held.remove(held)
        # Else it was killed.
        if data.draw(st.integers(0, 4)):
            self.answer(data, held, orphans=data.draw(st.booleans()))

    @rule(data=st.data(), size=st.integers(1, 2))
    def in_batches(self, data: st.DataObject, size: int) -> None:
        """Answered one by one, in any order, not all of them, and others come in between."""
        self.store = self.writers[0]
        key = data.draw(st.sampled_from(self.derived))
        self.keep_since()
        whole = self.hold_one(key)
        assert isinstance(whole.taken, Taken)
        self.held.append(whole)
        increment = whole.taken.increment
        batches = data.draw(st.permutations(list(increment.batches(size))))
        whole.taken.looked = True
        for batch in batches[:3]:
            if data.draw(st.booleans()):
                self.happens(data, key)
            taken = Taken(whole.taken.store, batch)
            self.answer(
                data,
                Held(
                    key,
                    taken,
                    whole.expected,
                    whole.version,
                    whole.then,
                    None,
                    whole.moment,
                    whole.past,
                    whole.failed,
                    whole.chosen,
                ),
            )
        self.held.remove(whole)

    def happens(self, data: st.DataObject, key: str) -> None:
        """Something, to the feature or to one of its upstreams."""
        upstreams = [str(d.upstream.key) for d in self.graph.plan(FeatureKey(key)).deps]
        about = data.draw(st.sampled_from([key, *upstreams]))
        store, self.store = self.store, data.draw(st.sampled_from(self.writers))
        getattr(self, data.draw(st.sampled_from(self.EVENTS)))(data, about)
        self.store = store

    # Events, also for themselves

    @rule(data=st.data(), who=writer)
    def anything(self, data: st.DataObject, who: int) -> None:
        self.store = self.writers[who]
        self.happens(data, data.draw(st.sampled_from(self.derived)))

    def delete(self, data: st.DataObject, key: str) -> None:
        self.delete_some(data, key, soft=True)

    def erase(self, data: st.DataObject, key: str) -> None:
        self.delete_some(data, key, soft=False)

    def delete_some(self, data: st.DataObject, key: str, *, soft: bool) -> None:
        ids = self.graph[FeatureKey(key)].id_columns
        column, limit = data.draw(st.sampled_from(ids)), data.draw(st.integers(-1, 3))
        if column == "g":
            return
        self.touched.add(key)
        doomed = [i for i, r in self.oracle.stored(key).items() if r.values[column] > limit]
        result = self.do("delete", key, filters=f"{column} > {limit}", soft=soft)
        assert result.deleted == len(doomed)
        self.oracle.delete(key, doomed)
        names = self.oracle.sample_columns(key) if key in self.derived else []
        ended = set()
        if column in names:
            ended = {s for s in self.oracle.empty(key) if s[names.index(column)] > limit}
        for sample in ended:
            del self.oracle.empty(key)[sample]
        if not soft and (doomed or ended):
            self.past_is_gone(key, doomed)

    def invalidate(self, data: st.DataObject, key: str) -> None:
        """Some samples are to be computed again; known by what the store now says of them."""
        names = self.oracle.sample_columns(key) if key in self.derived else list(ROOTS[key])
        stored = {ids: tuple(row.values[n] for n in names) for ids, row in self.known(key).items()}
        marked = self.oracle.empty(key) if key in self.derived else {}
        some = [
            s for s in sorted({*stored.values(), *marked}, key=repr) if data.draw(st.booleans())
        ]
        samples = [dict(zip(names, one, strict=True)) for one in some]
        valid = {i for i, s in stored.items() if s in some and self.known(key)[i].feature_version}
        self.touched.add(key)
        assert self.do("invalidate", key, samples).updated == len(valid)
        now = self.read(key)
        for ids in valid:
            assert now[ids].values == self.known(key)[ids].values
            assert now[ids].provenance != self.known(key)[ids].provenance
            self.oracle.stored(key)[ids] = now[ids]
        for sample in some:
            marked.pop(sample, None)

    def known(self, key: str) -> dict[Any, Row]:
        return self.oracle.stored(key)

    def drop(self, data: st.DataObject, key: str) -> None:
        self.do("drop", key)
        self.oracle.drop(key)
        self.touched.add(key)
        self.past_is_gone(key)
        if key in ROOTS and data.draw(st.booleans()):
            self.write_root(data, data.draw(writer), key, replace=data.draw(st.booleans()))

    def past_is_gone(self, key: str, doomed: list[Any] | None = None) -> None:
        """What is erased is gone from older states, too; without a list, all of a feature.

        Who looks later sees what is left: a sample without its optional part, a smaller group.
        """
        self.let_go()
        self.end_session()
        for held in self.held:
            held.statuses = None
            held.past.delete(key, list(held.past.stored(key)) if doomed is None else doomed)
            held.see()

    def let_go(self) -> None:
        """Nothing of the past is looked at any more."""
        self.frames.clear()

    def write_another(self, data: st.DataObject, key: str) -> None:
        if key in ROOTS:
            self.write_root(data, data.draw(writer), key, replace=data.draw(st.booleans()))
        else:
            self.answer(data, self.hold_one(key), orphans=data.draw(st.booleans()))

    def forget(self, data: st.DataObject, key: str) -> None:
        self.compact(
            data.draw(writer), kept=data.draw(st.booleans()), rewrite=data.draw(st.booleans())
        )

    def change_code_of(self, data: st.DataObject, key: str) -> None:
        name = data.draw(st.sampled_from([str(f.key) for f in self.graph[FeatureKey(key)].fields]))
        slot = f"{key}:{name}"
        self.versions[slot] = 1 + (self.versions.get(slot, 1) % 3)
        self.build()

    def redefine(self, data: st.DataObject, key: str) -> None:
        """Upstreams come, go, change places, become optional; fields come and go."""
        self.shape = data.draw(other_shapes(self.shape))
        self.build()

    def fail(self, data: st.DataObject, key: str) -> None:
        """Samples of an increment that is open could not be computed."""
        open_here = [
            h for h in self.held if isinstance(h.taken, Taken) and not self.is_lost(h.moment)
        ]
        if not open_here:
            return
        held = data.draw(st.sampled_from(open_here))
        pending, _ = held.taken.asked()
        failed = [s for s in sorted(pending, key=repr) if data.draw(st.booleans())]
        samples = [dict(zip(held.taken.names, sample, strict=True)) for sample in failed]
        held.taken.store.record_failures(held.key, samples, "torn", increment=held.taken.increment)
        held.failed |= set(failed)

    def retry(self, data: st.DataObject, key: str) -> None:
        if key in self.derived:
            limit = data.draw(small)
            (name, *_) = self.oracle.sample_columns(key)
            self.do("retry", key, filters=f"{name} > {limit}" if name != "g" else None)

    # Copies of the file

    def begin(self) -> None:
        super().begin()
        self.copy_file()

    @rule()
    def back_up(self) -> None:
        self.copy_file()

    def copy_file(self) -> None:
        _ = self.moment
        path = self.path.with_name(f"{len(self.backups)}.copy")
        shutil.copy(self.path, path)
        pasts = [(held, held.past.copy()) for held in self.held]
        self.backups.append(Backup(path, self.oracle.copy(), list(self.history), pasts))

    def put_back(self, data: st.DataObject, key: str) -> None:
        """The file is as it was before, or in another future; the code is not."""
        if not self.backups:
            return
        _ = self.moment
        backup = data.draw(st.sampled_from(self.backups))
        shutil.copy(backup.path, self.path)
        self.oracle.restore(backup.oracle)
        self.history = list(backup.history)
        self.touched |= {*ROOTS, *self.derived}
        self.frames = [one for one in self.frames if not self.is_lost(one[3])]
        if self.session is not None and self.is_lost(self.session[2]):
            self.end_session()
        for held in self.held:
            # What was done since the question is no longer known by the oracle's own clock.
            held.statuses = None
            # What was asked after the copy, and is not lost, was asked of what is in it.
            known = (past for one, past in backup.pasts if one is held)
            held.past.restore(next(known, backup.oracle))
            if not self.is_lost(held.moment):
                held.see()

    # Frames that are collected later, and compaction

    @rule(data=st.data(), who=writer)
    def keep_frame(self, data: st.DataObject, who: int) -> None:
        self.keep_since()
        key = data.draw(st.sampled_from([*ROOTS, *self.derived]))
        frame = self.writers[who].read(key)
        self.frames.append((key, frame, dict(self.oracle.stored(key)), self.moment))

    @precondition(lambda self: self.frames)
    @rule()
    def collect_late(self) -> None:
        for key, frame, state, _ in self.frames:
            assert seen(self.rows_of(key, frame)) == seen(state), key
        self.frames.clear()

    @rule(who=writer, kept=st.booleans(), rewrite=st.booleans())
    def compact(self, who: int, kept: bool, rewrite: bool) -> None:
        """No answer changes by it, also to what was asked before as far as that is kept."""
        self.store = self.writers[who]
        if not kept:
            for held in self.held:
                if not self.is_lost(held.moment):
                    held.taken.asked()
            self.let_go()
            self.end_session()
            self.since = None
        options = {"before": self.since, "rewrite": rewrite}
        self.do("compact", older_than=dt.timedelta(), **options)
        for key, frame, state, _ in self.frames:
            assert seen(self.rows_of(key, frame)) == seen(state), key
