"""Copies of this process that work beside it on other cores: they get requests, and hand arrays back in shared memory.

A worker is forked, so it starts with everything this process has. Threads would need no copy, but Python lets only one
of them run at a time, and waking another after each op takes longer than many an op does.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import pickle
import select
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np

from minigrad.ops import Array
from minigrad.speed.threads import single_threads

Place = tuple[str, tuple[int, ...], int]  # dtype, shape, and where in the shared memory an array begins
Serve = Callable[[Any], tuple[Any, Sequence[Array]]]
ALIGNMENT = 64  # bytes: a line of the cache
HEADER = 8  # bytes of a message: the length of the rest
PATIENCE = 10  # seconds that a worker may be stopped while it is waited for


class _Here:
    is_worker = False


def possible() -> bool:
    """Whether this process can have workers: on Linux, and it is none itself."""
    return hasattr(os, "memfd_create") and hasattr(os, "fork") and not _Here.is_worker


class WorkerError(RuntimeError):
    """A worker is gone, or what went wrong in it cannot be told in its own words."""


class SharedMemory:
    """Bytes that this process and its workers see alike. It grows as needed, has no name, and goes with its users."""

    def __init__(self) -> None:
        self._file = os.memfd_create("minigrad")
        self._map: Any = b""

    def write(self, arrays: Sequence[Array]) -> list[Place]:
        """Copy arrays in, over what was there; returns where they are, for all who share this memory."""
        places, end = [], 0
        for array in arrays:
            places.append((array.dtype.str, array.shape, end))
            end += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        if end > os.fstat(self._file).st_size:
            os.ftruncate(self._file, end)
        for array, view in zip(arrays, self.views(places), strict=True):
            view[...] = array
        return places

    def views(self, places: Sequence[Place]) -> list[Array]:
        """The arrays at these places, not copied: the next ``write`` changes them."""
        size = os.fstat(self._file).st_size
        if len(self._map) < size:
            self._map = mmap.mmap(self._file, size)
        return [
            np.ndarray(shape, dtype, self._map, start) if 0 not in shape else np.empty(shape, dtype)
            for dtype, shape, start in places
        ]

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._file)


class Worker:
    """A forked copy of this process that answers requests with what ``serve(request)`` returns there, one by one.

    ``send`` gives a request its number, and ``hear`` waits for the answer to a number: anything that can be pickled,
    and arrays. As long as there is a worker, a matrix product takes one thread: the other cores are taken.
    """

    def __init__(self, serve: Serve, name: str) -> None:
        self.name = name
        self._number = 0  # of the latest request
        self._heard = 0  # of the latest answer
        self._owner = os.getpid()
        self._memory = SharedMemory()  # for the arrays of the latest answer
        requests, to_worker = os.pipe()
        from_worker, answers = os.pipe()
        _flush()  # or what waits there would be printed twice
        os.set_blocking(to_worker, False)  # a worker that is stopped reads nothing
        self._to, self._from = os.fdopen(to_worker, "wb", 0), os.fdopen(from_worker, "rb", 0)
        single_threads.begin()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # there are other threads: BLAS's, which know forks
                self.pid = os.fork()
        except OSError as error:
            single_threads.end()
            for pipe in (self._to, self._from, os.fdopen(requests, "rb"), os.fdopen(answers, "wb")):
                pipe.close()
            raise WorkerError(f"{name} cannot be started: {error.strerror}") from error
        if self.pid == 0:
            self._work(serve, requests, answers)
        os.close(requests)
        os.close(answers)

    def send(self, request: Any) -> int:
        """Ask for something; returns the number of the request."""
        self._check_open()
        number = self._number + 1
        message = pickle.dumps((number, request), protocol=5)  # before anything is sent: not all can be pickled
        with self._talking():
            left = memoryview(_framed(message))
            while left:
                self._wait(self._to)
                left = left[self._to.write(left) or 0 :]
            self._number = number
        return number

    def hear(self, number: int) -> tuple[Any, list[Array]]:
        """The answer to a request, or the exception it met; answers that nobody waited for are dropped.

        The arrays are those of the shared memory, which the next answer overwrites.
        """
        self._check_open()
        if number <= self._heard:
            raise WorkerError(f"the answer of {self.name} is lost, for others were waited for: one thread at a time")
        while self._heard < number:
            content, places, error = self._next()
        if error is not None:
            problem, told = error
            raise problem from WorkerError(f"in {self.name}:\n{told}")
        return content, self._memory.views(places)

    def catch_up(self) -> None:
        """Wait for all answers that nobody came for and drop them: they would fill the pipe in the end."""
        while self._heard < self._number:
            self._next()

    def _next(self) -> Any:
        with self._talking():
            self._heard, *answer = pickle.loads(self._read(int.from_bytes(self._read(HEADER), "little")))
        return answer

    def _read(self, length: int) -> bytes:
        found = bytearray()
        while len(found) < length:
            self._wait(self._from)
            part = self._from.read(length - len(found))
            if not part:
                raise EOFError
            found += part
        return bytes(found)

    def _wait(self, pipe: IO[bytes]) -> None:
        """Until the pipe is ready. Raises WorkerError where the worker is stopped, and nobody lets it go on."""
        ready = select.poll()
        ready.register(pipe, select.POLLIN if pipe is self._from else select.POLLOUT)
        stopped = 0
        while not ready.poll(1000):  # milliseconds
            stopped = stopped + 1 if _is_stopped(self.pid) else 0
            if stopped == PATIENCE:
                raise WorkerError(
                    f"{self.name} (process {self.pid}) was stopped, and did not go on within {PATIENCE} s: it is ended"
                )

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        """A message that was cut off, by Ctrl-C or by the worker's end, leaves a worker that cannot be talked to."""
        try:
            yield
        except (EOFError, OSError) as error:
            raise WorkerError(f"{self.name} {self._end()}") from error
        except BaseException:
            self.close()
            raise

    def _check_open(self) -> None:
        if self.closed:
            raise WorkerError(f"{self.name} was ended before it could answer: run the forward pass again")

    @property
    def closed(self) -> bool:
        """Whether it has ended, or belongs to the process that this one was forked from."""
        return self._to.closed or os.getpid() != self._owner

    def close(self) -> None:
        """End the worker, whatever it is doing."""
        if not self._to.closed:
            if not self.closed:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            self._end()

    def _end(self) -> str:
        """Wait for the end that is coming, and say which it was."""
        for pipe in (self._to, self._from):
            with contextlib.suppress(OSError):
                pipe.close()
        single_threads.end()
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:  # somebody else has waited for it
            return "has ended"
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"

    def _work(self, serve: Serve, requests: int, answers: int) -> NoReturn:
        """What the worker does, until this process closes the pipe or ends."""
        status = 1
        try:
            _Here.is_worker = True
            self._to.close()  # else it would never see the end of its own requests,
            self._from.close()  # nor that nobody reads its answers any more
            for number in (signal.SIGINT, signal.SIGTERM):  # which reach all processes of a terminal, or of a job:
                signal.signal(number, signal.SIG_IGN)  # the first process decides
            with os.fdopen(requests, "rb") as inbox, os.fdopen(answers, "wb") as outbox:
                while True:
                    number, request = pickle.loads(_message(inbox))
                    try:
                        content, arrays = serve(request)
                        answer = pickle.dumps((number, content, self._memory.write(arrays), None), protocol=5)
                    except Exception as problem:
                        told = _sendable(problem), traceback.format_exc()
                        answer = pickle.dumps((number, None, (), told), protocol=5)
                    _flush()  # nobody does it when the worker is ended
                    outbox.write(_framed(answer))
                    outbox.flush()
        except EOFError:
            status = 0
        finally:
            os._exit(status)  # none of what this process does at its end is the worker's


def _framed(message: bytes) -> bytes:
    return len(message).to_bytes(HEADER, "little") + message


def _message(pipe: IO[bytes]) -> bytes:
    """The next message of a pipe, in a worker. Raises EOFError where there is none any more."""
    header = pipe.read(HEADER)
    message = pipe.read(int.from_bytes(header, "little"))
    if not message:
        raise EOFError
    return message


def _is_stopped(pid: int) -> bool:
    """Whether a process is stopped by a signal (Ctrl-Z, kill -STOP), as Linux says it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    except (OSError, IndexError):
        return False


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


def _sendable(problem: Exception) -> Exception:
    """The exception, if it can be pickled and unpickled; else one that says the same."""
    try:
        pickle.loads(pickle.dumps(problem))
    except Exception:
        return WorkerError(f"{type(problem).__name__}: {problem}")
    return problem
