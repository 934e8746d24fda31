"""Ways to break the server, each a small change of its source, with the checks that are to turn red.

`scripts/mutate_server.py` makes each change in a copy of the repository and runs its checks there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

HOSTING = "container/ogiri/sagemaker/hosting"
SERVING = "container/ogiri/captioning/serving"


class MutationError(Exception):
    """A change that does not apply to the source as it is; the message names it, the file and the text."""


@dataclass(frozen=True)
class Mutation:
    """A change of one file.

    Attributes:
        name: what it does to the server.
        file: seen from the repository's root.
        old: text that is there exactly once.
        new: what it becomes.
        checks: as `rules.RULES` names them.
    """

    name: str
    file: str
    old: str
    new: str
    checks: tuple[str, ...]

    def apply(self, root: Path) -> None:
        """Change the file below `root`.

        Raises:
            MutationError: there is no such file, or `old` is not in it exactly once.
        """
        path = root / self.file
        source = path.read_text(encoding="utf-8") if path.exists() else ""
        if (count := source.count(self.old)) != 1:
            raise MutationError(
                f"mutation {self.name!r} does not apply: {self.file} has {self.old!r} {count} times, not once; "
                f"write it for the present source in {Path(__file__).name}"
            )
        path.write_text(source.replace(self.old, self.new), encoding="utf-8")


MUTATIONS = (
    # --- life
    Mutation(
        "ping is always 200",
        f"{HOSTING}/app.py",
        "def ping() -> Response:\n        if isinstance(host, ModelHost):",
        "def ping() -> Response:\n        if False:",
        (
            "contract/test_serve::test_ping_is_503_until_the_model_has_warmed_up",
            "contract/test_serve::test_a_worker_that_dies_is_replaced_and_ping_says_so",
            "sagemaker/hosting/test_app::test_is_not_ready_before_the_warm_up_and_stays_so_if_it_fails",
        ),
    ),
    Mutation(
        "the model is ready before its warm-up",
        f"{HOSTING}/model.py",
        "        predictor.warm_up()\n        self._predictor = predictor\n",
        "        self._predictor = predictor\n        predictor.warm_up()\n",
        (
            "contract/test_serve::test_ping_is_503_until_the_model_has_warmed_up",
            "sagemaker/hosting/test_app::test_is_not_ready_before_the_warm_up_and_stays_so_if_it_fails",
        ),
    ),
    Mutation(
        "running requests are cut off at SIGTERM",
        f"{HOSTING}/supervisor.py",
        "self._nginx.send(signal.SIGQUIT)",
        "self._nginx.send(signal.SIGTERM)",
        (
            "contract/test_serve::test_a_running_request_is_finished_before_the_end",
            "contract/test_stream::test_a_stream_is_finished_after_sigterm",
            "contract/test_conformance::test_sigterm_under_load_gives_whole_answers_or_none",
        ),
    ),
    Mutation(
        "running requests are waited for without end",
        f"{HOSTING}/supervisor.py",
        "GRACE_SECONDS = 25 ",
        "GRACE_SECONDS = 600 ",
        ("contract/test_conformance::test_what_takes_longer_than_25_seconds_is_cut_off_before_sigkill_comes",),
    ),
    Mutation(
        "no thread is kept for ping",
        f"{HOSTING}/application_server.py",
        "SPARE_THREADS = 8",
        "SPARE_THREADS = 0",
        (
            "contract/test_serve::test_ping_is_quick_and_more_requests_are_refused_when_all_threads_are_busy",
            "contract/test_serve::test_ping_is_quick_while_bodies_of_many_lines_and_streams_take_all_places",
        ),
    ),
    Mutation(
        "slow requests are killed by gunicorn",
        f"{HOSTING}/application_server.py",
        '"gthread",\n            "workers": 1,\n            "threads": self._settings.max_concurrent_requests +',
        '"sync",\n            "workers": 1,\n            "threads": 1 or',
        ("contract/test_conformance::test_a_slow_request_is_not_taken_for_a_worker_that_hangs",),
    ),
    Mutation(
        "nginx gives up before the application",
        "container/nginx.conf",
        "proxy_read_timeout {{read_timeout_seconds}}s;",
        "proxy_read_timeout 3s;",
        (
            "contract/test_conformance::test_a_slow_request_is_not_taken_for_a_worker_that_hangs",
            "sagemaker/hosting/test_front::test_nginx_takes_the_configuration",
        ),
    ),
    Mutation(
        "a copy of the model for each of two workers",
        f"{HOSTING}/application_server.py",
        '"workers": 1,',
        '"workers": 2,',
        (
            "contract/test_batch::test_a_number_of_workers_is_one_warning_and_one_process",
            "contract/test_serve::test_a_running_request_is_finished_before_the_end",
        ),
    ),
    Mutation(
        "another default port",
        f"{HOSTING}/settings.py",
        "port: int = 8080",
        "port: int = 8081",
        ("contract/test_conformance::test_listens_at_8080_and_nowhere_else",),
    ),
    # --- limits
    Mutation(
        "the deadline is ignored",
        f"{HOSTING}/invocation.py",
        "Deadline.after(settings.timeout_seconds)",
        "Deadline.after(1e6)",
        (
            "contract/test_serve::test_a_request_that_takes_too_long_is_504",
            "contract/test_json_lines::test_lines_that_come_after_the_deadline_are_errors",
            "contract/test_stream::test_the_deadline_of_a_stream_is_kept",
        ),
    ),
    Mutation(
        "no limit for a body",
        f"{HOSTING}/app.py",
        'app.config["MAX_CONTENT_LENGTH"] = settings.max_payload_bytes',
        'app.config["MAX_CONTENT_LENGTH"] = None',
        (
            "contract/test_invocations::test_a_body_over_25_megabytes_is_413",
            "contract/test_invocations::test_a_smaller_limit_is_kept",
            "contract/test_form::test_a_form_keeps_to_the_limit_of_a_body",
        ),
    ),
    Mutation(
        "nginx takes 5 MB",
        "container/nginx.conf",
        "client_max_body_size {{max_body_mb}}m;",
        "client_max_body_size 5m;",
        (
            "contract/test_conformance::test_a_body_as_large_as_each_kind_of_endpoint_sends_is_taken",
            "contract/test_invocations::test_a_body_of_25_megabytes_is_taken",
        ),
    ),
    Mutation(
        "the work goes on when its caller has hung up",
        f"{HOSTING}/invocation.py",
        "return lambda: connection is not None and _is_closed(connection.fileno())",
        "return lambda: False",
        ("contract/test_serve::test_a_request_is_given_up_when_its_caller_hangs_up",),
    ),
    Mutation(
        "Retry-After is missing in what the application refuses",
        f"{HOSTING}/errors.py",
        "if status in (429, 503):",
        "if status in ():",
        (
            "contract/test_invocations::test_a_model_that_is_busy_says_when_to_come_back",
            "contract/test_serve::test_a_request_while_the_model_is_loading_is_503",
        ),
    ),
    Mutation(
        "Retry-After is missing in what nginx refuses",
        "container/nginx.conf",
        "        503 1;\n",
        "",
        ("contract/test_conformance::test_callers_beyond_the_limit_are_answered_or_told_to_come_back",),
    ),
    # --- headers
    Mutation(
        "custom attributes are dropped by the application",
        f"{HOSTING}/app.py",
        "        response.headers[correlation.CUSTOM_ATTRIBUTES] = attributes\n",
        "        pass\n",
        (
            "contract/test_invocations::test_custom_attributes_come_back_unchanged",
            "contract/test_conformance::test_all_of_1024_visible_characters_come_back",
        ),
    ),
    Mutation(
        "custom attributes are dropped by nginx",
        "container/nginx.conf",
        "            add_header X-Amzn-SageMaker-Custom-Attributes $http_x_amzn_sagemaker_custom_attributes always;\n",
        "",
        (
            "contract/test_conformance::test_all_of_1024_visible_characters_come_back",
            "contract/test_invocations::test_unknown_paths_and_methods_are_errors_in_json",
        ),
    ),
    Mutation(
        "custom attributes are not decoded",
        f"{HOSTING}/correlation.py",
        "unquote_to_bytes(value.strip().encode",
        "(lambda text: text)(value.strip().encode",
        (
            "contract/test_request_parameters::test_an_attribute_gives_what_json_gives",
            "contract/test_invocations::test_custom_attributes_come_back_unchanged",
        ),
    ),
    Mutation(
        "every Content-Type is taken",
        f"{HOSTING}/negotiation.py",
        "    if found not in consumed:\n",
        "    if not found:\n",
        ("contract/test_invocations::test_another_content_type_is_415_and_names_those_that_are_taken",),
    ),
    Mutation(
        "a Content-Type with parameters is refused",
        f"{HOSTING}/negotiation.py",
        "found = _canonical(request.mimetype)",
        "found = request.content_type or ''",
        (
            "contract/test_invocations::test_the_content_type_may_have_parameters",
            "contract/test_conformance::test_parameters_of_a_pictures_content_type_are_ignored",
        ),
    ),
    Mutation(
        "Accept is not weighed",
        f"{HOSTING}/negotiation.py",
        "MIMEAccept((_canonical(value), quality) for value, quality in wishes)",
        "MIMEAccept((_canonical(value), 1) for value, quality in wishes)",
        ("contract/test_conformance::test_accept_is_weighed",),
    ),
    # --- answers
    Mutation(
        "lines come back in another order",
        f"{HOSTING}/exchange.py",
        "        while under_way:\n            yield _ended(under_way.popleft(), cancelled)",
        "        while under_way:\n            yield _ended(under_way.pop(), cancelled)",
        (
            "contract/test_json_lines::test_the_requests_of_a_body_are_answered_side_by_side_and_in_their_order",
            "contract/test_caption::test_json_lines_are_answered_as_each_alone",
        ),
    ),
    Mutation(
        "a bad line fails the whole request",
        f"{HOSTING}/exchange.py",
        "    except Exception as error:\n        return error\n    if payload.stream:",
        "    except ZeroDivisionError as error:\n        return error\n    if payload.stream:",
        (
            "contract/test_json_lines::test_a_bad_line_is_an_error_in_its_place",
            "contract/test_batch::test_a_batch_is_answered_line_by_line",
        ),
    ),
    Mutation(
        "a stream is sent when it is whole",
        f"{HOSTING}/stream.py",
        "Response(_chunks(first, under_way, media_type, trace), mimetype=media_type)",
        'Response(b"".join(_chunks(first, under_way, media_type, trace)), mimetype=media_type)',
        (
            "contract/test_conformance::test_every_piece_of_a_stream_comes_when_it_is_written",
            "contract/test_stream::test_pieces_come_while_the_rest_is_still_being_written",
        ),
    ),
    Mutation(
        "an error tells its traceback",
        f"{HOSTING}/errors.py",
        'return RequestError("internal error: the container\'s log has the cause", "internal_error", 500)',
        'return RequestError("".join(__import__("traceback").format_exception(error)), "internal_error", 500)',
        (
            "contract/test_conformance::test_no_answer_has_a_traceback",
            "contract/test_json_lines::test_a_bug_in_one_line_is_an_error_in_its_place_and_its_cause_in_the_log",
        ),
    ),
    Mutation(
        "the body of an error is not cut",
        f"{HOSTING}/errors.py",
        "if len(body) <= MAX_BODY_BYTES:",
        "if len(body) <= 1_000_000:",
        (
            "contract/test_conformance::test_no_error_is_longer_than_what_sagemaker_passes_on",
            "contract/test_invocations::test_a_long_message_is_cut_to_what_sagemaker_passes_on",
        ),
    ),
    Mutation(
        "pings are logged",
        f"{HOSTING}/app.py",
        '    if request.path != "/ping":\n',
        "    if True:\n",
        ("contract/test_invocations::test_the_log_has_no_body_and_no_successful_ping",),
    ),
    # --- many models
    Mutation(
        "a model is loaded twice",
        f"{HOSTING}/models.py",
        "            if name in self._models:\n                raise _conflict(self._models[name])\n",
        "",
        ("contract/test_multi_model::test_a_model_that_is_loaded_already_is_409",),
    ),
    Mutation(
        "memory is not given back",
        f"{HOSTING}/models.py",
        "        del predictor\n        return_freed_memory()\n",
        '        self.__dict__.setdefault("kept", []).append(predictor)\n',
        ("contract/test_multi_model::test_memory_is_given_back_when_a_model_is_unloaded",),
    ),
    Mutation(
        "a model is unloaded under a running request",
        f"{HOSTING}/models.py",
        "self._changed.wait_for(lambda: model.running == 0, seconds)",
        "True",
        ("contract/test_multi_model::test_unloading_waits_for_running_requests_and_refuses_new_ones_at_once",),
    ),
    # --- lines
    Mutation(
        "a line depends on what else is in the batch",
        f"{SERVING}/search.py",
        "[np.random.default_rng((seed, candidate)) for candidate in range(count)]",
        '[globals().setdefault("_shared", np.random.default_rng(seed))] * count',
        ("contract/test_request_parameters::test_a_seed_gives_the_same_line_whatever_else_is_in_the_batch",),
    ),
    Mutation(
        "equal candidates come back once",
        f"{SERVING}/predictor.py",
        "for caption in captions]\n        return Answer(",
        "for caption in {each.text: each for each in captions}.values()]\n        return Answer(",
        ("contract/test_request_parameters::test_exactly_as_many_come_back_as_are_asked_for",),
    ),
    Mutation(
        "scores are not rounded",
        f"{SERVING}/line.py",
        "round(score, 4)",
        "score",
        ("contract/test_request_parameters::test_a_score_has_four_decimals_at_most",),
    ),
    Mutation(
        "a caption may be empty",
        f"{SERVING}/parameters.py",
        'parameter(1, "characters of a line at least", minimum=1, maximum=1000)',
        'parameter(0, "characters of a line at least", minimum=0, maximum=1000)',
        (
            "contract/test_request_parameters::test_a_caption_is_never_empty",
            "contract/test_request_parameters::test_a_parameter_that_is_unknown_or_of_a_wrong_type_or_out_of_range_is_named",
        ),
    ),
    Mutation(
        "a bad instance has no index",
        f"{SERVING}/predictor.py",
        'raise RequestError(f"instances[{index}]: {error}", error.code)',
        "raise RequestError(str(error), error.code)",
        ("contract/test_conformance::test_one_bad_member_of_instances_is_named_and_nothing_is_answered",),
    ),
)


def named(names: list[str]) -> tuple[Mutation, ...]:
    """The mutations whose names have one of these texts in them; all of them where there is none.

    Raises:
        MutationError: a text is in no name.
    """
    for text in names:
        if not any(text in mutation.name for mutation in MUTATIONS):
            known = "\n  ".join(mutation.name for mutation in MUTATIONS)
            raise MutationError(f"no mutation has {text!r} in its name; there are\n  {known}")
    return tuple(each for each in MUTATIONS if not names or any(text in each.name for text in names))
