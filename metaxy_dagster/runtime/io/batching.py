"""A plain function called batch by batch: ``"metaxy/batch_size"`` and ``"metaxy/on_error"``."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import dagster as dg

from metaxy_dagster.errors import FrameError, RunError
from metaxy_dagster.runtime import _compat
from metaxy_dagster.runtime._compat import Step
from metaxy_dagster.runtime.io.elsewhere import kept_by
from metaxy_dagster.runtime.io.inputs import Loaded
from metaxy_dagster.runtime.io.output import own_rows, write_output
from metaxy_dagster.runtime.loading.conversion import Source, empty_frame
from metaxy_dagster.runtime.located import located
from metaxy_dagster.runtime.work.batches import each_batch
from metaxy_dagster.runtime.work.current import StepWork, current_work, work_of
from metaxy_dagster.runtime.work.isolating import Isolation, OnError, is_of_samples
from metaxy_dagster.runtime.work.skipping import why_body_always_runs
from metaxy_dagster.stores import Increment, WriteResult

__all__ = [
    "ALL_AT_ONCE",
    "batch_size",
    "batching_op",
    "first_batch",
    "in_batches",
    "op_batch_size",
    "op_on_error",
    "why_not_in_batches",
    "with_batches",
]

_MARK, _ON_ERROR = "__metaxy_batch_size__", "__metaxy_on_error__"
#: A batch of all pending samples.
ALL_AT_ONCE = 2**62


def batching_op(op: dg.OpDefinition, size: int, on_error: OnError | None = None) -> dg.OpDefinition:
    """An op whose function is called once for each batch of pending samples.

    Its inputs that are features hold one batch; what it returns for one is written before the
    next begins, so a crash loses one batch at most. The caller chooses ops whose output is an
    asset with ``"metaxy/input": "increment"`` and goes through the library's IO manager. In an
    op of a graph asset, and outside of a run, the function is called as ever.

    Args:
        op: the op of an asset; it is not changed.
        size: samples per batch, at least 1.
        on_error: whether the samples of a batch that fails are looked for, and what then.

    Returns:
        A copy; or the same op where its function takes batches already, or cannot be called in
        them (:func:`why_not_in_batches`).

    Raises:
        ValueError: ``size`` is less than 1.

    Example:
        >>> @dg.op
        ... def compute(frame):
        ...     yield dg.Output(frame)
        >>> batching_op(compute, 1000) is compute
        True
    """
    if size < 1:
        message = f"batches need a size of at least 1, not {size}"
        raise ValueError(message)
    function = _compat.op_function(op)
    if function is None or op_batch_size(op) is not None or why_not_in_batches(op) is not None:
        return op
    kind = op.output_defs[0].dagster_type.typing_type
    return _compat.op_with_function(op, _batching(function, kind, size, on_error))


def why_not_in_batches(op: dg.OpDefinition) -> str | None:
    """Why the function of an op cannot be called in batches; ``None`` if it can.

    Example:
        >>> @dg.op
        ... def compute(frame):
        ...     yield dg.Output(frame)
        >>> why_not_in_batches(compute)
        'it is a generator'
    """
    made = _compat.result_object(op)
    if made is not None:
        return f"it is annotated to return a {made.__name__} of Dagster, not a frame"
    return why_body_always_runs(op)


def batch_size(context: dg.InputContext) -> int | None:
    """How many samples the function that an input is loaded for takes at once."""
    op = _compat.loading_op(context)
    return None if op is None else op_batch_size(op)


def op_batch_size(op: dg.OpDefinition) -> int | None:
    """How many samples the function of an op takes at once, if :func:`batching_op` made it."""
    size: int | None = getattr(_compat.op_function(op), _MARK, None)
    return size


def op_on_error(op: dg.OpDefinition) -> OnError | None:
    """What becomes of samples on which the function of an op fails, if they are looked for."""
    found: OnError | None = getattr(_compat.op_function(op), _ON_ERROR, None)
    return found


def first_batch(loaded: Loaded, made: Callable[[Source], Any], name: str, size: int) -> Any:
    """What a parameter holds until the function is called with each batch.

    Args:
        loaded: the input.
        made: brings rows into the type of the parameter.
        name: the parameter.
        size: samples per batch.
    """
    work, part = loaded.work, loaded.part
    if work is None or part is None or work.step.shared is not None:
        return made(loaded.rows)
    work.inputs[name] = lambda batch: made(part(batch))
    (increment,) = work.increments.values()
    batch = next(increment.batches(size), None)
    return made(part(increment if batch is None else batch))


def in_batches(step: Step | None) -> bool:
    """Whether the function of a step was called in batches, each of which is written."""
    work = None if step is None else work_of(step)
    return work is not None and bool(work.inputs)


def with_batches(step: Step | None, last: WriteResult) -> WriteResult:
    """What a step has changed: its batches, what it reported as empty, its output."""
    work = None if step is None else work_of(step)
    earlier = [] if work is None else [r for r in work.written if r.feature == last.feature]
    results = [*earlier, last]
    return WriteResult(
        last.feature,
        max(one.commit for one in results),
        new=sum(one.new for one in results),
        updated=sum(one.updated for one in results),
        unchanged=sum(one.unchanged for one in results),
        deleted=sum(one.deleted for one in results),
        empty=sum(one.empty for one in results),
        warnings=tuple(dict.fromkeys(told for one in results for told in one.warnings)),
    )


def _batching(
    function: Callable[..., Any], kind: object, size: int, on_error: OnError | None
) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def wrapper(*args: Any, **kwargs: Any) -> Any:
            work = current_work()
            if work is None or not work.inputs:
                return await function(*args, **kwargs)
            with _calls(work, size, on_error) as calls:
                for call in calls:
                    with call:
                        call.write(await function(*args, **call.arguments(kwargs)))
            return empty_frame(kind)
    else:

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            work = current_work()
            if work is None or not work.inputs:
                return function(*args, **kwargs)
            with _calls(work, size, on_error) as calls:
                for call in calls:
                    with call:
                        call.write(function(*args, **call.arguments(kwargs)))
            return empty_frame(kind)

    setattr(wrapper, _MARK, size)
    setattr(wrapper, _ON_ERROR, on_error)
    return wrapper


@dataclass
class _Call:
    """One call of the function: with a batch, or with a part of one that failed."""

    work: StepWork
    batch: Increment
    search: Isolation | None
    # Whether the arguments that Dagster loaded are the batch.
    is_given: bool = False
    _wrote: bool = False

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What the function is called with."""
        if self.is_given:
            return dict(given)
        return {**given, **{name: load(self.batch) for name, load in self.work.inputs.items()}}

    def write(self, result: Any) -> None:
        """Write what it returned."""
        self._wrote = True
        _write(self.work, self.batch, result)

    def __enter__(self) -> Self:
        """Call, and write."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, *_: object) -> bool:
        """An error that may be the fault of samples goes to the search for these."""
        if self.search is None or not isinstance(error, Exception) or not is_of_samples(error):
            return False
        # What cannot be stored says nothing of samples; a lazy frame is computed when it is.
        if self._wrote and not isinstance(error, FrameError):
            return False
        self.search.failed(self.batch, error)
        return True


@contextlib.contextmanager
def _calls(work: StepWork, size: int, on_error: OnError | None) -> Iterator[Iterator[_Call]]:
    """The calls that a step takes; what was found to be at fault is told at the end."""
    if on_error is None:
        yield (_Call(work, batch, None) for batch in _batches(work, size))
        return
    search, work.isolates = Isolation(work, on_error), True
    try:
        yield (
            _Call(work, part, search, is_given=size == ALL_AT_ONCE and part is batch)
            for batch in _batches(work, size)
            for part in search.parts(batch)
        )
    except Exception:
        search.note()
        raise
    search.end()


def _batches(work: StepWork, size: int) -> Iterator[Increment]:
    (increment,) = work.increments.values()
    if size == ALL_AT_ONCE:
        return increment.batches(size)
    return each_batch(dg.OpExecutionContext.get(), increment, size)


def _write(work: StepWork, batch: Increment, result: Any) -> None:
    if result is None:
        return
    ((asset, scope),) = work.outputs.items()
    kept = kept_by(dg.OpExecutionContext.get().get_step_execution_context(), asset.asset_key)
    with located(asset.asset_key):
        if isinstance(result, dg.Output | dg.MaterializeResult):
            raise RunError(
                "a function that is called in batches returned a result object of Dagster",
                feature=str(asset.feature),
                found=type(result).__name__,
                allowed="a frame, or None",
                remedy='return the frame itself, or remove "metaxy/batch_size" and '
                '"metaxy/on_error" from the asset',
            )
        if kept is not None:
            kept.store_batch(work, asset, batch, result)
            return
        written = write_output(
            work.store,
            asset,
            own_rows(result, asset, scope),
            scope=scope,
            increment=batch,
            run_id=work.step.run_id,
            limits=work.limits,
        )
    work.written.append(written)
