"""Lambda's Invoke: an event → an instance that is free, a new one, or a wait for one."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

from local.emulation.invocations import INVOCATION_TYPE
from local.functions.configuration import Configuration
from local.functions.instance import Instance, failed
from local.functions.runtime import Runtime

INSTANCES = 2  # of a function at a time; more calls wait, where Lambda would start more
ATTEMPTS = 3  # of an event that nobody waits for, as Lambda's
PAUSE_SECONDS = 1.0  # between two of them; Lambda waits a minute

_log = logging.getLogger(__name__)


class FunctionsClosedError(RuntimeError):
    """A call that comes too late."""


class Functions:
    """All functions, and their instances.

    Attributes:
        environment: of every function: where AWS is; to be set before the first call.
        find: name or ARN → what the function is, None for an unknown one; likewise.

    Args:
        runtime: what runs them.
        logs: folder, one file a function.
    """

    def __init__(self, runtime: Runtime, logs: Path) -> None:
        self.environment: Mapping[str, str] = {}
        self.find: Callable[[str], Configuration | None] = lambda _name: None
        self._runtime = runtime
        self._logs = logs
        self._idle: list[Instance] = []
        self._busy: list[Instance] = []
        self._changed = threading.Condition()
        self._closed = False
        self._unattended = ThreadPoolExecutor(4, thread_name_prefix="functions")

    def invoke(self, configuration: Configuration, event: bytes) -> bytes:
        """The answer to one event; see `Instance.invoke`."""
        instance = self._taken(configuration)
        try:
            return instance.invoke(event)
        finally:
            with self._changed:
                self._busy.remove(instance)
                if instance.alive:
                    self._idle.append(instance)
                self._changed.notify_all()

    def invoke_unattended(self, configuration: Configuration, event: bytes) -> None:
        """Have an event dealt with soon, again if that fails; Lambda's dead letters are a line in the log here.

        Raises:
            FunctionsClosedError: all of them have ended.
        """
        try:
            self._unattended.submit(self._attempts, configuration, event)
        except RuntimeError as error:
            raise FunctionsClosedError("the functions have ended") from error

    def close(self) -> None:
        """End all instances, once; whatever is called later is refused."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            instances = [*self._idle, *self._busy]
            self._changed.notify_all()
        for instance in instances:
            instance.close()
        self._unattended.shutdown(cancel_futures=True)

    def _attempts(self, configuration: Configuration, event: bytes) -> None:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self.invoke(configuration, event)
            except FunctionsClosedError:
                return
            if self._closed or not failed(answer):
                return
            _log.warning("%s, try %d of %d: %s", configuration.name, attempt, ATTEMPTS, answer.decode())
            time.sleep(PAUSE_SECONDS)

    def _taken(self, configuration: Configuration) -> Instance:
        """An instance that nobody else has; one of an earlier configuration is ended.

        Raises:
            FunctionsClosedError: all of them have ended.
        """
        most = min(INSTANCES, configuration.reserved or INSTANCES)
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._of(configuration.name, self._busy)) < most)
            if self._closed:
                raise FunctionsClosedError("the functions have ended")
            for instance in self._of(configuration.name, self._idle):
                if not instance.alive or instance.configuration != configuration:
                    self._idle.remove(instance)
                    instance.close()
            warm = next(iter(self._of(configuration.name, self._idle)), None)
            if warm is not None:
                self._idle.remove(warm)
            log = self._logs / f"{configuration.name}.log"
            instance = warm or Instance(configuration, self._runtime, self.environment, log)
            self._busy.append(instance)
            return instance

    @staticmethod
    def _of(name: str, instances: list[Instance]) -> list[Instance]:
        return [instance for instance in instances if instance.configuration.name == name]


class FunctionsServer(ThreadingHTTPServer):
    """Invoke over HTTP, on loopback."""

    daemon_threads = True

    def __init__(self, functions: Functions) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.functions = functions

    @property
    def url(self) -> str:
        """Without a slash at its end."""
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: FunctionsServer

    def do_POST(self) -> None:
        """`/2015-03-31/functions/NAME/invocations`."""
        event = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}"
        try:
            self._answer(event)
        except FunctionsClosedError as error:
            self._send(500, json.dumps({"Message": str(error)}).encode(), {"x-amzn-ErrorType": "ServiceException"})

    def _answer(self, event: bytes) -> None:
        name = unquote(self.path.split("/")[3])
        configuration = self.server.functions.find(name)
        if configuration is None:
            message = {"Type": "User", "Message": f"Function not found: {name}"}
            self._send(404, json.dumps(message).encode(), {"x-amzn-ErrorType": "ResourceNotFoundException"})
        elif self.headers.get(INVOCATION_TYPE) == "Event":
            self.server.functions.invoke_unattended(configuration, event)
            self._send(202, b"", {})
        else:
            answer = self.server.functions.invoke(configuration, event)
            self._send(200, answer, {"X-Amz-Function-Error": "Unhandled"} if failed(answer) else {})

    def _send(self, status: int, data: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Functions have logs of their own."""


@contextlib.contextmanager
def functions_server(runtime: Runtime, logs: Path) -> Iterator[FunctionsServer]:
    """Serve until the block ends; then all instances end too."""
    functions = Functions(runtime, logs)
    with FunctionsServer(functions) as server:
        thread = threading.Thread(target=server.serve_forever, name="functions")
        thread.start()
        try:
            yield server
        finally:
            functions.close()
            server.shutdown()
            thread.join()
