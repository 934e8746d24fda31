"""The table of loaded models, and its routes where only threads and stand-in models can show them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from ogiri.sagemaker.hosting import models as module
from ogiri.sagemaker.hosting import multi_model
from ogiri.sagemaker.hosting.app import create_app
from ogiri.sagemaker.hosting.memory import MEGABYTE, ModelMemory
from ogiri.sagemaker.hosting.models import Models
from ogiri.sagemaker.hosting.multi_model import MAX_CHANGES
from ogiri.sagemaker.hosting.settings import Settings
from ogiri.task import RequestError
from tests.contract.echo import Echo
from tests.contract.server import wait_until, write_echo


class Kept(Echo):
    """Remembers whether it was closed."""

    def __init__(self, megabytes: int = 0, warm_up: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.closed = False
        self._bytes, self._warm_up = megabytes * MEGABYTE, warm_up

    def warm_up(self) -> None:
        self._warm_up()

    def memory_bytes(self) -> int:
        return self._bytes

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def url(tmp_path: Path) -> str:
    return str(write_echo(tmp_path) / "model")


def table(*predictors: Kept, limit_megabytes: int = 1000) -> Models:
    """A table whose models are `predictors`, in the order in which they are loaded."""
    waiting = iter(predictors)
    return Models(ModelMemory(limit_megabytes * MEGABYTE), lambda _: next(waiting))


def refusal(action: Callable[[], object]) -> RequestError:
    with pytest.raises(RequestError) as caught:
        action()
    return caught.value


def listed(models: Models) -> list[str]:
    return [model.name for model in models.page("", 1000)]


# --- memory


def test_a_model_whose_files_are_too_large_is_not_read(url: str):
    predictor = Kept()
    models = table(predictor, limit_megabytes=20)
    error = refusal(lambda: models.load("m", url))
    assert (error.status, error.code) == (507, "insufficient_memory")
    assert str(error).startswith("model 'm' needs 25 MB of memory and 20 MB are free")
    assert listed(models) == []
    assert table(predictor, limit_megabytes=25).load("m", url).predictor is predictor


def test_a_model_that_turns_out_too_large_is_closed_again(url: str):
    large, small = Kept(megabytes=60), Kept(megabytes=10)
    models = table(large, small, limit_megabytes=50)
    error = refusal(lambda: models.load("m", url))
    assert (error.status, str(error).partition(":")[0]) == (
        507,
        "model 'm' needs 60 MB of memory and 50 MB are free",
    )
    assert (large.closed, listed(models)) == (True, [])
    models.load("m", url)
    assert (small.closed, listed(models)) == (False, ["m"])


def test_loaded_models_count_until_they_are_unloaded(url: str):
    models = table(Kept(megabytes=30), Kept(megabytes=30), Kept(megabytes=30), limit_megabytes=54)
    models.load("one", url)
    assert refusal(lambda: models.load("other", url)).status == 507
    models.unload("one", 1)
    models.load("other", url)
    assert listed(models) == ["other"]


def test_memory_that_cannot_be_had_is_507(url: str):
    def load(_: object) -> Kept:
        raise MemoryError

    models = Models(ModelMemory(1000 * MEGABYTE), load)
    assert refusal(lambda: models.load("m", url)).status == 507


# --- loading


def test_a_model_that_fails_to_warm_up_is_closed_and_its_name_is_free(url: str):
    def fail() -> None:
        raise RuntimeError("broken graph")

    broken = Kept(warm_up=fail)
    models = table(broken, Kept())
    with pytest.raises(RuntimeError, match="broken graph"):
        models.load("m", url)
    assert broken.closed
    assert models.load("m", url).name == "m"


def test_a_load_that_waits_too_long_for_its_turn_is_503(monkeypatch: pytest.MonkeyPatch, url: str):
    monkeypatch.setattr(module, "TURN_SECONDS", 0.05)
    entered, leave = threading.Event(), threading.Event()

    def wait() -> None:
        entered.set()
        assert leave.wait(10)

    models = table(Kept(warm_up=wait), Kept())
    loading = background(lambda: models.load("slow", url))
    assert entered.wait(10)
    assert refusal(lambda: models.load("other", url)).status == 503
    leave.set()
    loading.result(10)
    assert models.load("other", url).name == "other"
    assert listed(models) == ["other", "slow"]


def test_more_changes_at_a_time_than_there_are_threads_for_are_refused(url: str):
    leave = threading.Event()
    models = table(*(Kept(warm_up=lambda: leave.wait(10)) for _ in range(MAX_CHANGES + 1)))
    app = create_app(Settings(), models)

    def load(name: str) -> int:
        return app.test_client().post("/models", json={"model_name": name, "url": url}).status_code

    with ThreadPoolExecutor(MAX_CHANGES) as pool:
        running = [pool.submit(load, str(number)) for number in range(MAX_CHANGES)]
        try:
            wait_until(lambda: all(is_loading(models, str(number)) for number in range(MAX_CHANGES)), "all are loading")
            assert background(lambda: load("more")).result(5) == 503
            assert app.test_client().get("/ping").status_code == 200
        finally:
            leave.set()
        assert [future.result() for future in running] == [200] * MAX_CHANGES
    assert load("more") == 200  # there is room again


def is_loading(models: Models, name: str) -> bool:
    return refusal(lambda: models.lease(name)).code == "loading"


# --- unloading


def test_a_model_is_not_closed_before_its_last_request_has_ended(url: str):
    predictor = Kept()
    models = table(predictor)
    models.load("m", url)
    leases = [models.lease("m"), models.lease("m")]
    unloading = background(lambda: models.unload("m", 10))
    wait_until(lambda: listed(models) == [], "it is being unloaded")
    for lease in leases:
        assert not predictor.closed
        assert not unloading.done()
        assert refusal(lambda: models.lease("m")).code == "model_not_found"
        lease.release()
    assert unloading.result(10).name == "m"
    assert predictor.closed


def test_a_name_is_taken_until_its_memory_is_free(url: str):
    statuses = []

    class Closing(Kept):
        def close(self) -> None:
            statuses.append(refusal(lambda: models.load("m", url)).status)

    models = table(Closing(), Kept())
    models.load("m", url)
    models.unload("m", 1)
    assert statuses == [409]
    assert models.load("m", url).name == "m"


def test_a_request_that_does_not_end_is_not_waited_for_without_end(url: str):
    predictor = Kept()
    models = table(predictor, Kept())
    models.load("m", url)
    lease = models.lease("m")
    error = refusal(lambda: models.unload("m", 0.05))
    assert (error.status, error.code) == (504, "deadline_exceeded")
    assert predictor.closed
    models.load("m", url)
    lease.release()  # of the one before
    assert models.unload("m", 1).running == 0


def test_a_request_that_fails_lets_its_model_go(url: str):
    models = table(Kept())
    models.load("m", url)
    client = create_app(Settings(), models).test_client()
    for body in ({"text": None}, {"text": "a", "message": "no"}, {"text": "a"}):
        client.post("/models/m/invoke", json=body)
    client.post("/models/m/invoke", data=b"{", content_type="application/json")
    assert models.unload("m", 0).name == "m"


def background(action: Callable[[], object]) -> Future[object]:
    future: Future[object] = Future()

    def run() -> None:
        try:
            future.set_result(action())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


# --- the list

PAGE_SIZE = 5


@pytest.fixture
def short_pages(monkeypatch: pytest.MonkeyPatch):
    """Each load collects garbage, which takes its time in a process with all the other tests' modules."""
    monkeypatch.setattr(multi_model, "PAGE_SIZE", PAGE_SIZE)


@pytest.mark.usefixtures("short_pages")
def test_a_long_list_comes_in_pages_that_skip_nothing(url: str):
    names = [f"{number:03d}" for number in range(PAGE_SIZE + 3)]
    models = table(*(Kept() for _ in names))
    for name in reversed(names):
        models.load(name, url)
    client = create_app(Settings(), models).test_client()
    first = client.get("/models").json
    assert [model["modelName"] for model in first["models"]] == names[:PAGE_SIZE]
    models.unload(names[0], 1)
    second = client.get("/models", query_string={"next_page_token": first["nextPageToken"]}).json
    assert [model["modelName"] for model in second["models"]] == names[PAGE_SIZE:]
    assert "nextPageToken" not in second


@pytest.mark.usefixtures("short_pages")
def test_a_list_of_one_full_page_has_no_token(url: str):
    models = table(*(Kept() for _ in range(PAGE_SIZE)))
    for number in range(PAGE_SIZE):
        models.load(str(number), url)
    page = create_app(Settings(), models).test_client().get("/models").json
    assert (len(page["models"]), "nextPageToken" in page) == (PAGE_SIZE, False)
