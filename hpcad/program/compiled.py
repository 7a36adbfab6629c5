"""``hpcad.compile``: a function that becomes a program when it is called."""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Callable
from typing import Any

from hpcad.autodiff.conversion import AMBIENT
from hpcad.autodiff.pytree import Structure, flatten
from hpcad.autodiff.state import CHANGES, STATE
from hpcad.autodiff.tensor import Tensor, value_of
from hpcad.errors import CaptureError
from hpcad.program.build import build
from hpcad.program.capture.capture import Abandoned, Capture
from hpcad.program.capture.captured import Captured, is_plain
from hpcad.program.capture.compare import unify
from hpcad.program.capture.containers import changed, pairs
from hpcad.program.capture.signature import foreign, is_array, is_differentiated, of_call
from hpcad.program.capture.surroundings import Surroundings
from hpcad.program.emission.executable import Executable
from hpcad.program.emission.steps import ShapeChanged
from hpcad.program.entries import Entry, Variant
from hpcad.program.instruction import kind_of
from hpcad.program.options import Options

_log = logging.getLogger("hpcad")
MOST_PROGRAMS = 64  # of one function
MOST_BUILDS = 16  # of one signature, whose programs were out of date again and again


class Compiled:
    """A compiled function; see :func:`compile`.

    Attributes
    ----------
    function : callable
    obstacles : list of str
        Why calls of some signature stay eager.
    seconds : float
        What captures took beyond the calls themselves, and building programs.
    """

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        self.function = function
        self.options = options
        self._entries: dict[Any, Entry] = {}
        self._last = Entry()
        self._program: Executable | None = None
        self._prepared: tuple[Entry, Executable] | None = None
        self.seconds = 0.0
        functools.update_wrapper(self, function)

    @property
    def _defined(self) -> str | None:
        """``file:line`` at which the function begins."""
        code = getattr(self.function, "__code__", None)
        return None if code is None else f"{code.co_filename}:{code.co_firstlineno}"

    def __get__(self, instance: Any, _owner: Any = None) -> Any:
        return self if instance is None else functools.partial(self, instance)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if STATE.capture is not None or STATE.depth or STATE.observer is not None:
            return self.function(*args, **kwargs)  # a part of what is captured or differentiated
        key, leaves, structure = of_call(args, kwargs)
        entry = self._entries.get((key, STATE.recording))
        if entry is None:
            entry = self._new_entry((key, STATE.recording), leaves)
        self._last = entry
        executable = self._taken(entry) or entry.executable()
        if executable is not None:
            return self._run(executable, entry, leaves, args, kwargs)
        if entry.obstacle is not None or any(map(is_differentiated, leaves)):
            return self.function(*args, **kwargs)
        if self.options.ahead:
            return self._capture_ahead(entry, leaves, structure, args, kwargs)
        return self._capture(entry, leaves, structure, args, kwargs)

    def prepare(self, *args: Any, **kwargs: Any) -> None:
        """Make the program of a call that comes next, where it has none; for captures ahead.

        Nothing is run, so that what is to be decided about a program can be before its first run.
        """
        key, leaves, structure = of_call(args, kwargs)
        entry = self._entries.get((key, STATE.recording))
        if entry is None:
            entry = self._new_entry((key, STATE.recording), leaves)
        self._last = entry
        if entry.executable() is not None or entry.obstacle is not None:
            return
        if any(map(is_differentiated, leaves)):
            return
        found = self._captured_ahead(entry, leaves, structure, args, kwargs)
        if isinstance(found, Variant) and entry.obstacle is None and found.executable is not None:
            self._prepared = (entry, found.executable)

    def discard(self) -> None:
        """Forget the programs, which something outside of the function has made out of date."""
        self._prepared = self._program = None
        for entry in self._entries.values():
            entry.forget()
            entry.watch = None

    def _taken(self, entry: Entry) -> Executable | None:
        """The program that was prepared for this call."""
        prepared, self._prepared = self._prepared, None
        return prepared[1] if prepared is not None and prepared[0] is entry else None

    # -- what a user asks for -----------------------------------------------------------------

    @property
    def program(self) -> Executable:
        """The program that was run, or made, last.

        Raises
        ------
        CaptureError
            There is none: the function was not called twice yet, or it stays eager.
        """
        if self._program is None:
            reason = self._last.obstacle
            raise CaptureError(
                f"{_name(self.function)} has no program"
                + (f", because {reason}" if reason else "; call it twice with the same signature")
            )
        return self._program

    @property
    def known(self) -> Executable | None:
        """The program that was run, or made, last; None where there is none."""
        return self._program

    @property
    def obstacles(self) -> list[str]:
        return [e.obstacle for e in self._entries.values() if e.obstacle is not None]

    # -- inside -------------------------------------------------------------------------------

    def _run(
        self, executable: Executable, entry: Entry, leaves: list[Any], args: Any, kwargs: Any
    ) -> Any:
        """Run a program; where it fails before it has had effects, the function itself.

        That raises the error at the user's line, or catches it; or the values have led to another
        shape than when the program was captured.
        """
        self._program = executable
        try:
            return executable.run(leaves)
        except Exception as error:
            if not executable.did_nothing(error):
                raise
            if isinstance(error, ShapeChanged):
                self._refuse(entry, str(error))
        return self.function(*args, **kwargs)

    def _new_entry(self, key: Any, leaves: list[Any]) -> Entry:
        if len(self._entries) == MOST_PROGRAMS:
            _log.warning(
                "%s was called with %d signatures; each is captured anew. Pass numbers that change "
                "as NumPy arrays or scalars, and keep shapes fixed",
                _name(self.function),
                MOST_PROGRAMS,
            )
        if len(self._entries) >= MOST_PROGRAMS:
            self._entries.pop(next(iter(self._entries)))
        entry = self._entries[key] = Entry(leaves)
        reason = foreign(leaves)
        if reason is not None:
            self._refuse(entry, reason)
        return entry

    def _capture(
        self, entry: Entry, leaves: list[Any], structure: Structure, args: Any, kwargs: Any
    ) -> Any:
        """Run the function eagerly and record it; the second time, make a program of it."""
        capture = Capture(before=entry.watch)
        try:
            outputs, tree = self._record(entry, capture, leaves, structure, args, kwargs)
        except (Exception, Abandoned) as error:
            if capture.irreversible:
                raise
            return self._give_up(entry, capture, error, args, kwargs)
        started = time.perf_counter()
        self._learn(entry, capture, tree)
        self.seconds += time.perf_counter() - started
        return tree.build(outputs)

    def _capture_ahead(
        self, entry: Entry, leaves: list[Any], structure: Structure, args: Any, kwargs: Any
    ) -> Any:
        """Record the function without its effects; then run the program that came of it."""
        found = self._captured_ahead(entry, leaves, structure, args, kwargs)
        if not isinstance(found, Variant):
            return self._give_up(entry, *found, args, kwargs)
        if entry.obstacle is None and found.executable is not None:
            return self._run(found.executable, entry, leaves, args, kwargs)
        return self.function(*args, **kwargs)

    def _captured_ahead(
        self, entry: Entry, leaves: list[Any], structure: Structure, args: Any, kwargs: Any
    ) -> Variant | tuple[Capture, BaseException]:
        """What came of a capture without effects; or the capture, and why it failed."""
        started = time.perf_counter()
        capture = Capture(ahead=True, before=entry.watch)
        try:
            _, tree = self._record(entry, capture, leaves, structure, args, kwargs)
            return self._learn(entry, capture, tree)
        except CaptureError:
            raise
        except (Exception, Abandoned) as error:  # noqa: BLE001  (it shows again)
            capture.release()
            return capture, error
        finally:
            self.seconds += time.perf_counter() - started

    def _record(
        self, entry: Entry, capture: Capture, leaves: list[Any], structure: Structure,
        args: Any, kwargs: Any,
    ) -> tuple[list[Any], Structure]:  # fmt: skip
        """Run the function under a capture; the leaves of what it returns, and their tree."""
        if entry.changes != CHANGES.count:
            entry.forget()
        surroundings = Surroundings(self.function, leaves)
        moved = entry.move(surroundings)
        if moved is not None and entry.moves > MOST_BUILDS:
            capture.refuse(f"{moved} in call after call; pass it as an argument", self._defined)
        with capture:
            given = [capture.input(x) if is_array(x) else x for x in leaves]
            copied = structure.build(given)
            both = list(pairs((args, kwargs), copied))
            result = self.function(*copied[0], **copied[1])
        outputs, tree = _taken_out(capture, result)
        container = changed(both, capture.meaning(given, leaves), write=not capture.ahead)
        if container is not None:
            kind = type(container).__name__
            reason = f"an argument was changed, a {kind}, by {_name(self.function)}"
            capture.refuse(reason, self._defined)
        del copied, given, both, result
        capture.check_end()
        moved = surroundings.changed()
        if moved is not None:
            reason = f"after {_name(self.function)} {moved}, and a program would not do that"
            capture.refuse(f"{reason}; pass it as an argument, and return it", self._defined)
        capture.release()
        entry.watch = capture.watch
        entry.changes = CHANGES.count  # the call may have made modules of its own
        return outputs, tree

    def _give_up(
        self, entry: Entry, capture: Capture, error: BaseException, args: Any, kwargs: Any
    ) -> Any:
        """Run the function eagerly: what is wrong with it shows again, and then it is no obstacle
        that somebody should read of."""
        capture.refuse(f"{type(error).__name__}: {error}")
        capture.release()
        capture.undo()
        result = self.function(*args, **kwargs)
        self._refuse(entry, capture.obstacle)
        return result

    def _learn(self, entry: Entry, capture: Capture, tree: Structure) -> Variant:
        ahead = self.options.ahead
        variant = entry.variant(capture.program)
        if capture.obstacle is None and variant.first is not None:
            capture.obstacle = unify(variant.first, capture.program)
        if capture.obstacle is not None:
            self._refuse(entry, capture.obstacle)
        elif variant.first is None and not ahead:
            variant.first = capture.program
        elif ahead and variant.first is not None and not capture.program.has_live():
            variant.first = None  # the program that there is does the same
        elif entry.builds == MOST_BUILDS:
            self._refuse(
                entry,
                f"{MOST_BUILDS} programs of it were out of date soon: attributes of modules, or "
                "which parameters are frozen, change again and again",
            )
        else:
            entry.builds += 1
            name = _identifier(self.function)
            first = capture.program.copy() if ahead and variant.first is None else None
            try:
                self._program = build(name, capture.program, tree, self.options)
            except Exception as error:  # noqa: BLE001  (the call has been made, eagerly)
                self._refuse(entry, f"no program could be made: {error!r}", error)
                return variant
            variant.executable, variant.first = self._program, first
        if variant.first is None:
            entry.watch = None  # nothing is held against another call
        return variant

    def _refuse(self, entry: Entry, obstacle: str | None, cause: Exception | None = None) -> None:
        if self.options.strict:
            message = f"{_name(self.function)} cannot be compiled: {obstacle}"
            raise CaptureError(message) from cause
        entry.obstacle = obstacle
        entry.variants.clear()
        if self.options.log:
            _log.warning("%s stays eager: %s", _name(self.function), obstacle)


def compile(
    function: Callable[..., Any] | None = None,
    *,
    strict: bool = False,
    fuse: bool = True,
    native: bool = True,
    memory: int | None = None,
) -> Any:
    """Capture what a function does to arrays, and replay it as a program.

    The first two calls of a signature (shapes and dtypes of the arrays among the arguments, the
    values of everything else, the nesting) run eagerly and are recorded: forward and backward
    passes, gradients of parameters, optimizer steps and collectives. If both did the same, the
    third call runs a program made of it.

    Parameters
    ----------
    function : callable
        Takes and returns trees of arrays; may use parameters, and call ``backward`` and
        ``Optimizer.step``.
    strict : bool
        Raise where the function cannot be compiled, instead of staying eager.
    fuse : bool
        Merge elementwise operations into kernels. Without, every operation is NumPy's own, and
        results equal eager ones to the bit wherever the expansion of composite operations does.
    native : bool
        Use kernels and BLAS calls in C where there is a compiler.
    memory : int, optional
        Bytes that the memory of the program should not exceed: values are then made again in the
        backward pass, the cheapest first, until they fit. (Cheap ones always are.)

    Returns
    -------
    Compiled
        Called like the function. Arrays that it returns belong to the caller.

    Raises
    ------
    CaptureError
        Under ``strict``: a value was read in Python (``float(x)``, ``if x > 0``), two calls
        differed, a tensor was kept somewhere, or the function raised under capture.

    Notes
    -----
    Fixed in a program are Python numbers, and what plain NumPy code outside of tensors computes
    (``x * data[0]`` with an array that is no argument); the second call finds out what changes
    from call to call. Arrays of the user that are no arguments are read anew each time, where they
    are the same objects, or windows on the same. What names in the code refer to, attributes of
    objects and elements of short lists are compared before each run, and captured anew where they
    have changed. What the function does besides happens in the first two calls only: it may print,
    but what changes an object, list or name that it refers to stays eager.

    A program reports no floating-point errors and warns of none. Inside of the function an array
    argument passes for a NumPy array (``isinstance``), but it is a tensor as well.

    Examples
    --------
    >>> @hpcad.compile
    ... def step(x, y):
    ...     loss = model.loss({"x": x, "y": y})
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    """
    options = Options(strict=strict, fuse=fuse, native=native, memory=memory)
    if function is None:
        return lambda f: Compiled(f, options)
    return Compiled(function, options)


def _taken_out(capture: Capture, result: Any) -> tuple[list[Any], Structure]:
    """The leaves of the result as plain things, and the program's outputs."""
    leaves, tree = flatten(result)
    outputs: list[Any] = []
    for leaf in leaves:
        inner = value_of(leaf)
        if _is_open(leaf):
            capture.refuse(
                "it returns a tensor that could still be differentiated; call backward() "
                "inside, or return tensor.detach()"
            )
            outputs.append(leaf)
            continue
        if isinstance(inner, Captured):
            kind = kind_of(inner.content) if is_plain(leaf) else "tensor"
            capture.program.outputs.append((inner.symbol, kind))
            outputs.append(Tensor(inner.content) if kind == "tensor" else inner.content)
        else:
            capture.program.outputs.append(leaf)
            outputs.append(leaf)
    return outputs, tree


def _is_open(leaf: Any) -> bool:
    """Whether a tape still holds how a tensor was computed from parameters."""
    if not isinstance(leaf, Tensor) or leaf.level != AMBIENT or leaf.follower is None:
        return False
    return leaf.slot in leaf.follower.avals


def _identifier(function: Any) -> str:
    name = re.sub(r"\W", "_", getattr(function, "__name__", "program"))
    return name if name.isidentifier() else "program"


def _name(function: Any) -> str:
    return getattr(function, "__qualname__", repr(function))
