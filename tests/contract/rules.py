"""Every rule of hosting, in a line of plain words, with the checks that fail where it is broken.

A check is `FOLDER/MODULE::TEST` below `tests/`: `pytest tests/contract/test_serve.py::test_two_servers_run_at_once`.
What only a built image shows (its size, known vulnerabilities of what is installed in it) is not here. A task with
bodies of its own, `translate` for example, adds its lines to INVOCATIONS.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

PLATFORM: Mapping[str, tuple[str, ...]] = {
    "`serve` is a command on PATH, and runs with the first python3 there": (
        "contract/test_conformance::test_serve_is_a_command_that_leaves_the_model_folder_as_it_was",
    ),
    "It runs as root, and as any other user": (
        "contract/test_serve::test_writes_nowhere_but_to_its_temporary_folder",
        "contract/test_serve::test_runs_as_another_user_than_root",
    ),
    "The model folder is read-only": (
        "contract/test_conformance::test_serve_is_a_command_that_leaves_the_model_folder_as_it_was",
        "contract/test_serve::test_writes_nowhere_but_to_its_temporary_folder",
    ),
    "The port is 8080, or SAGEMAKER_BIND_TO_PORT": (
        "contract/test_conformance::test_listens_at_8080_and_nowhere_else",
        "contract/test_conformance::test_answers_at_the_port_it_is_told",
        "contract/test_serve::test_a_port_in_use_ends_it_at_once",
        "contract/test_serve::test_a_bad_setting_ends_it_at_once",
    ),
    "No inner port is used, so none outside SAGEMAKER_SAFE_PORT_RANGE": (
        "contract/test_conformance::test_listens_at_8080_and_nowhere_else",
        "contract/test_batch::test_one_worker_is_no_warning",
        "contract/test_batch::test_a_bad_setting_ends_it_at_once",
    ),
    "The image's labels say that it takes a port and many models": (
        "contract/test_multi_model::test_the_image_says_that_it_can",
    ),
    "A socket is accepted within 250 ms": (
        "contract/test_conformance::test_a_socket_is_accepted_within_250_milliseconds_whatever_the_server_is_doing",
    ),
    "`/ping` is answered within 2 s, also under full load and while the model hangs": (
        "contract/test_serve::test_ping_is_quick_and_more_requests_are_refused_when_all_threads_are_busy",
        "contract/test_serve::test_ping_is_quick_while_bodies_of_many_lines_and_streams_take_all_places",
        "contract/test_serve::test_ping_is_503_within_two_seconds_when_the_worker_hangs",
    ),
    "`/ping` is 200 within 8 minutes of the start": (
        "contract/test_serve::test_is_ready_within_a_second",
        "contract/test_caption::test_is_ready_within_two_seconds",
    ),
    "`/ping` is 503 at once while the model loads, and never 200 before it can answer": (
        "contract/test_serve::test_ping_is_503_until_the_model_has_warmed_up",
        "contract/test_serve::test_a_request_while_the_model_is_loading_is_503",
        "contract/test_serve::test_a_worker_that_dies_is_replaced_and_ping_says_so",
        "sagemaker/hosting/test_app::test_is_not_ready_before_the_warm_up_and_stays_so_if_it_fails",
    ),
    "A worker that dies or hangs is noticed and replaced": (
        "contract/test_serve::test_a_worker_that_dies_is_replaced_and_ping_says_so",
        "contract/test_serve::test_a_worker_that_hangs_for_long_is_replaced",
    ),
    "SIGTERM: new requests are refused, running ones are finished, then exit 0": (
        "contract/test_serve::test_a_running_request_is_finished_before_the_end",
        "contract/test_stream::test_a_stream_is_finished_after_sigterm",
        "contract/test_conformance::test_sigterm_under_load_gives_whole_answers_or_none",
        "contract/test_multi_model::test_sigterm_while_a_model_is_being_loaded_lets_it_finish",
    ),
    "SIGTERM: what runs has 25 s, and nothing holds up the end until SIGKILL after 30 s": (
        "contract/test_conformance::test_what_takes_longer_than_25_seconds_is_cut_off_before_sigkill_comes",
        "contract/test_conformance::test_a_connection_that_is_kept_open_does_not_hold_up_the_end",
        "contract/test_serve::test_sigterm_while_the_model_is_loading_ends_it",
        "contract/test_serve::test_sigterm_right_after_the_start_ends_it",
    ),
    "Bodies of 4 MB (serverless), 6 MB (older texts) and 25 MB (real time, streaming) are taken": (
        "contract/test_conformance::test_a_body_as_large_as_each_kind_of_endpoint_sends_is_taken",
        "contract/test_invocations::test_a_body_of_25_megabytes_is_taken",
    ),
    "Batch bodies of up to 100 MB and larger ones of asynchronous inference are taken where they are set": (
        "contract/test_json_lines::test_a_body_of_100_megabytes_does_not_need_many_times_its_size",
        "contract/test_batch::test_a_body_of_an_asynchronous_request_may_be_larger_than_that_of_a_batch",
    ),
    "A request of an endpoint is answered, if only with 504, within 60 s, a stream within 8 minutes": (
        "contract/test_conformance::test_the_deadline_of_an_endpoint_is_below_what_its_caller_waits",
        "contract/test_serve::test_a_request_that_takes_too_long_is_504",
        "contract/test_json_lines::test_lines_that_come_after_the_deadline_are_errors",
        "contract/test_stream::test_the_deadline_of_a_stream_is_kept",
    ),
    "A record of a batch may take up to an hour": (
        "contract/test_batch::test_a_record_of_a_batch_may_take_longer_than_a_caller_of_an_endpoint_waits",
    ),
    "A stream is chunked HTTP/1.1": ("contract/test_stream::test_each_piece_is_an_event_and_the_answer_comes_last",),
    "Serving loads no torch and needs no GPU": (
        "contract/test_caption::test_no_process_has_loaded_torch",
        "contract/test_serve::test_nothing_loads_torch_and_the_supervisor_loads_next_to_nothing",
    ),
    "SAGEMAKER_BATCH is `true` or `True`": (
        "contract/test_batch::test_a_record_of_a_batch_may_take_longer_than_a_caller_of_an_endpoint_waits",
        "contract/test_batch::test_a_batch_is_answered_line_by_line",
    ),
    "Serverless: it writes only below /tmp, and not to /dev/shm": (
        "contract/test_serve::test_writes_nowhere_but_to_its_temporary_folder",
    ),
    "The body of an error has 2,048 characters at most, whatever was sent": (
        "contract/test_conformance::test_no_error_is_longer_than_what_sagemaker_passes_on",
        "contract/test_invocations::test_a_long_message_is_cut_to_what_sagemaker_passes_on",
        "sagemaker/hosting/test_app::test_the_body_of_an_error_fits_into_what_sagemaker_passes_on",
    ),
    "A traceback is in the log, and never in an answer": (
        "contract/test_conformance::test_no_answer_has_a_traceback",
        "contract/test_invocations::test_an_error_of_the_model_is_500_without_its_cause_which_is_in_the_log",
        "contract/test_json_lines::test_a_bug_in_one_line_is_an_error_in_its_place_and_its_cause_in_the_log",
        "contract/test_status::test_an_error_has_its_status_its_form_and_its_line_in_the_log",
    ),
    "Content-Type may have parameters": (
        "contract/test_invocations::test_the_content_type_may_have_parameters",
        "contract/test_conformance::test_parameters_of_a_pictures_content_type_are_ignored",
        "contract/test_json_lines::test_every_line_is_answered_by_one_whatever_the_format_is_called",
    ),
    "415 unsupported, 406 unacceptable, 400 malformed, 413 too large, 503 overloaded": (
        "contract/test_status::test_an_error_has_its_status_its_form_and_its_line_in_the_log",
        "contract/test_conformance::test_callers_beyond_the_limit_are_answered_or_told_to_come_back",
    ),
    "X-Amzn-SageMaker-Custom-Attributes comes back, up to 1,024 visible ASCII characters, and only if it was sent": (
        "contract/test_conformance::test_all_of_1024_visible_characters_come_back",
        "contract/test_conformance::test_a_header_as_long_as_the_server_takes_comes_back_too",
        "contract/test_conformance::test_there_is_no_such_header_where_the_caller_sent_none",
        "contract/test_invocations::test_custom_attributes_come_back_unchanged",
    ),
    "Unknown headers are ignored": (
        "contract/test_conformance::test_a_header_that_it_does_not_know_changes_nothing",
        "contract/test_conformance::test_a_caller_that_asks_first_may_send_its_body",
    ),
    "Streaming has no path of its own: a request that asks for it is streamed": (
        "contract/test_stream::test_each_piece_is_an_event_and_the_answer_comes_last",
        "contract/test_stream::test_who_asks_for_events_need_not_ask_for_a_stream",
    ),
    "`GET /execution-parameters` says what a batch job may send": (
        "contract/test_batch::test_execution_parameters_are_what_the_server_takes",
        "contract/test_openapi::test_execution_parameters_are_as_it_says",
    ),
    "MULTI_RECORD: one line out for each line in, in order, a bad record is an error line": (
        "contract/test_batch::test_a_batch_is_answered_line_by_line",
        "contract/test_json_lines::test_a_bad_line_is_an_error_in_its_place",
        "contract/test_json_lines::test_the_requests_of_a_body_are_answered_side_by_side_and_in_their_order",
    ),
    "Pipelines: the JSON of another container is a request": (
        "contract/test_batch::test_the_json_of_another_container_is_a_request",
    ),
    "The log is one JSON object a line, from the start to the end": (
        "contract/test_invocations::test_the_log_has_no_body_and_no_successful_ping",
        "contract/test_serve::test_a_worker_that_dies_is_replaced_and_ping_says_so",
        "contract/test_conformance::test_the_log_has_nothing_below_its_level",
        "sagemaker/hosting/test_logs::test_a_record_is_one_line_of_json",
    ),
    "A successful `/ping` is not logged": (
        "contract/test_invocations::test_the_log_has_no_body_and_no_successful_ping",
    ),
    "SAGEMAKER_MODEL_SERVER_WORKERS and MODEL_SERVER_WORKERS are known": (
        "contract/test_batch::test_a_number_of_workers_is_one_warning_and_one_process",
        "contract/test_batch::test_one_worker_is_no_warning",
    ),
    "SAGEMAKER_MODEL_SERVER_TIMEOUT and MODEL_SERVER_TIMEOUT are heeded": (
        "contract/test_serve::test_a_request_that_takes_too_long_is_504",
        "sagemaker/hosting/test_settings::test_the_name_with_a_prefix_wins",
    ),
    "SAGEMAKER_MAX_PAYLOAD_IN_MB and SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT are heeded": (
        "contract/test_invocations::test_a_smaller_limit_is_kept",
    ),
    "SAGEMAKER_CONTAINER_LOG_LEVEL is heeded": (
        "contract/test_conformance::test_the_log_has_nothing_below_its_level",
        "sagemaker/hosting/test_settings::test_a_log_level_is_a_name_or_a_number",
    ),
}
"""The container contract of SageMaker."""

MULTI_MODEL: Mapping[str, tuple[str, ...]] = {
    "The routes are there when SAGEMAKER_MULTI_MODEL=true, and only then": (
        "contract/test_multi_model::test_a_model_is_loaded_listed_asked_and_unloaded",
        "contract/test_multi_model::test_there_are_no_such_routes_unless_asked_for",
    ),
    "`/ping` is 200 with no model loaded": (
        "contract/test_multi_model::test_ping_is_200_with_no_model_and_nothing_is_loaded",
    ),
    "Loading a model twice is 409": (
        "contract/test_multi_model::test_a_model_that_is_loaded_already_is_409",
        "contract/test_multi_model::test_a_model_that_is_being_loaded_disturbs_no_other",
    ),
    "Loading is 507 when memory is short": (
        "contract/test_multi_model::test_a_model_that_does_not_fit_is_507_until_another_is_unloaded",
        "sagemaker/hosting/test_models::test_memory_that_cannot_be_had_is_507",
    ),
    "GET and DELETE of a model that is not loaded are 404": (
        "contract/test_multi_model::test_a_model_is_loaded_listed_asked_and_unloaded",
    ),
    "Memory is free when DELETE returns": (
        "contract/test_multi_model::test_memory_is_given_back_when_a_model_is_unloaded",
        "contract/test_multi_model::test_memory_does_not_grow_with_the_models_that_come_and_go",
        "contract/test_multi_model::test_unloading_waits_for_running_requests_and_refuses_new_ones_at_once",
    ),
    "`POST /models/NAME/invoke` is what /invocations is elsewhere": (
        "contract/test_multi_model::test_an_invocation_is_what_it_is_at_invocations",
    ),
    "A name is opaque": ("contract/test_multi_model::test_a_name_may_have_any_characters",),
    "Invocations are not disturbed by the loading of another model": (
        "contract/test_multi_model::test_a_model_that_is_being_loaded_disturbs_no_other",
        "contract/test_multi_model::test_models_that_wait_to_be_loaded_take_no_thread_from_others",
    ),
}
"""Multi-model endpoints."""

COMPLAINTS: Mapping[str, tuple[str, ...]] = {
    "`/ping` healthy before the model is loaded": (
        "contract/test_serve::test_ping_is_503_until_the_model_has_warmed_up",
    ),
    "Out of memory because every worker holds its own copy": (
        "contract/test_batch::test_a_number_of_workers_is_one_warning_and_one_process",
        "contract/test_serve::test_a_running_request_is_finished_before_the_end",
    ),
    "413 from a 5 MB default of the front server": (
        "contract/test_conformance::test_a_body_as_large_as_each_kind_of_endpoint_sends_is_taken",
    ),
    "Slow requests are killed by gunicorn": (
        "contract/test_conformance::test_a_slow_request_is_not_taken_for_a_worker_that_hangs",
    ),
    "The front server gives up before the application does": (
        "contract/test_serve::test_a_request_that_takes_too_long_is_504",
        "sagemaker/hosting/test_front::test_nginx_takes_the_configuration",
    ),
    "Causes are hidden: why a model cannot be served is nowhere": (
        "contract/test_serve::test_a_damaged_artifact_ends_the_server_and_the_log_names_the_file",
        "contract/test_serve::test_an_unknown_task_ends_the_server_and_the_log_names_it",
        "contract/test_caption::test_a_broken_graph_ends_the_server_and_the_log_names_it",
    ),
    "SIGTERM is not forwarded": (
        "contract/test_serve::test_a_running_request_is_finished_before_the_end",
        "contract/test_serve::test_the_children_end_even_if_serve_is_killed",
    ),
    "A Content-Type with `; charset=utf-8` is refused": (
        "contract/test_invocations::test_the_content_type_may_have_parameters",
        "contract/test_conformance::test_parameters_of_a_pictures_content_type_are_ignored",
    ),
    "Custom attributes are lost": (
        "contract/test_invocations::test_custom_attributes_come_back_unchanged",
        "contract/test_conformance::test_all_of_1024_visible_characters_come_back",
    ),
    "There are no JSON lines": (
        "contract/test_json_lines::test_every_line_is_answered_by_one_whatever_the_format_is_called",
    ),
    "Bad input is answered with 500": (
        "contract/test_status::test_an_error_has_its_status_its_form_and_its_line_in_the_log",
        "contract/test_caption::test_a_bad_body_is_400",
        "contract/test_openapi::test_requests_that_it_forbids_are_refused_as_it_says",
    ),
    "Pings fill the log": ("contract/test_invocations::test_the_log_has_no_body_and_no_successful_ping",),
    "A pickle in a body is opened": ("contract/test_conformance::test_no_pickle_in_a_body_is_ever_opened",),
    "The platform cannot be had locally: the README's requests are answered": (
        "contract/test_readme::test_the_requests_are_answered",
    ),
}
"""What users of such containers complain about most; each line is what does not happen here."""

INVOCATIONS: Mapping[str, tuple[str, ...]] = {
    "The model is $SAGEMAKER_BASE_DIR/model; two servers run on one machine": (
        "contract/test_serve::test_two_servers_run_at_once",
        "contract/test_serve::test_an_empty_model_folder_ends_the_server",
    ),
    "A picture comes as image/jpeg, png, webp, gif, bmp or application/x-image": (
        "contract/test_caption::test_answers_a_picture",
    ),
    "A picture comes in the field `image` of multipart/form-data": (
        "contract/test_form::test_a_form_is_answered_like_the_same_request_in_json",
        "contract/test_form::test_a_field_that_is_wrong_is_named",
    ),
    "JSON has image, labels, detected_text and parameters": (
        "contract/test_openapi::test_requests_that_it_allows_are_answered_as_it_says",
        "captioning/serving/test_predictor::test_labels_and_text_change_the_line",
    ),
    "One bad member of `instances` makes the request 400, with its index": (
        "contract/test_conformance::test_one_bad_member_of_instances_is_named_and_nothing_is_answered",
        "contract/test_json_lines::test_one_bad_member_of_instances_gives_up_the_others",
    ),
    "JSON lines: one line out for each line in, in order": (
        "contract/test_json_lines::test_the_requests_of_a_body_are_answered_side_by_side_and_in_their_order",
        "contract/test_caption::test_json_lines_are_answered_as_each_alone",
    ),
    "JSON lines: a bad or blank line is an error in its place, status 200": (
        "contract/test_json_lines::test_a_bad_line_is_an_error_in_its_place",
    ),
    "JSON lines: a final newline is no line": (
        "contract/test_json_lines::test_the_end_of_the_last_line_begins_no_other",
        "contract/test_json_lines::test_only_a_line_feed_ends_a_line",
    ),
    "A parameter that is unknown, of a wrong type or out of range is 400 and named": (
        "contract/test_request_parameters::test_a_parameter_that_is_unknown_or_of_a_wrong_type_or_out_of_range_is_named",
        "contract/test_request_parameters::test_what_is_no_number_is_no_temperature",
    ),
    "Every parameter has the range that the design says": (
        "contract/test_request_parameters::test_the_ends_of_a_range_are_taken",
    ),
    "num_candidates is 1 by default, and exactly so many come back": (
        "contract/test_request_parameters::test_one_comes_back_where_nothing_is_asked_for",
        "contract/test_request_parameters::test_exactly_as_many_come_back_as_are_asked_for",
        "contract/test_request_parameters::test_beams_give_exactly_as_many",
    ),
    "temperature 0 is greedy": ("contract/test_request_parameters::test_temperature_0_is_greedy_whatever_the_seed",),
    "num_beams above 1 is deterministic, without temperature, top_k and top_p, and at least num_candidates": (
        "contract/test_request_parameters::test_beams_are_deterministic_whatever_the_seed",
        "contract/test_request_parameters::test_beams_take_nothing_that_only_sampling_has",
        "contract/test_request_parameters::test_there_must_be_a_beam_for_each_candidate",
    ),
    "min_length is 1 by default: a caption is never empty": (
        "contract/test_request_parameters::test_a_caption_is_never_empty",
    ),
    "min_length and max_length are in characters and kept": (
        "contract/test_request_parameters::test_lengths_are_in_characters_and_kept",
    ),
    "banned_words do not come": (
        "contract/test_request_parameters::test_banned_words_do_not_come",
        "contract/test_caption::test_parameters_come_in_custom_attributes",
    ),
    "A seed gives the same line whatever else is in the batch; without one lines differ": (
        "contract/test_request_parameters::test_a_seed_gives_the_same_line_whatever_else_is_in_the_batch",
        "contract/test_request_parameters::test_without_a_seed_lines_differ",
    ),
    "A score is rounded to 4 decimals, and is the mean log-probability a token": (
        "contract/test_request_parameters::test_a_score_has_four_decimals_at_most",
        "captioning/serving/test_captioner::test_captions_are_as_many_as_asked_best_first_with_the_models_own_score",
    ),
    "Captions come best first": ("contract/test_request_parameters::test_exactly_as_many_come_back_as_are_asked_for",),
    "For a raw picture parameters come percent-encoded in the custom attributes, lists separated by a bar": (
        "contract/test_request_parameters::test_an_attribute_gives_what_json_gives",
        "contract/test_caption::test_parameters_come_in_custom_attributes",
    ),
    "Unknown names there are ignored, a known one with a bad value is 400": (
        "contract/test_request_parameters::test_a_known_attribute_with_a_bad_value_is_named",
        "contract/test_invocations::test_a_bad_value_in_custom_attributes_is_400",
    ),
    "That header is returned unchanged, whoever answers": (
        "contract/test_invocations::test_custom_attributes_come_back_unchanged",
        "contract/test_invocations::test_unknown_paths_and_methods_are_errors_in_json",
    ),
    "Without Accept or with */* JSON lines are answered with JSON lines, the rest with JSON": (
        "contract/test_json_lines::test_json_lines_come_back_unless_something_else_is_asked_for",
        "contract/test_json_lines::test_every_line_is_answered_by_one_whatever_the_format_is_called",
        "contract/test_invocations::test_answers_a_request",
    ),
    "A caller that hangs up frees its place and ends the work": (
        "contract/test_serve::test_a_request_is_given_up_when_its_caller_hangs_up",
        "contract/test_stream::test_a_caller_that_goes_away_frees_its_place_and_ends_the_work",
    ),
    "Accept is weighed by its q-values": (
        "contract/test_conformance::test_accept_is_weighed",
        "contract/test_invocations::test_answers_with_the_type_that_the_caller_likes_best",
    ),
    "application/json has captions and model, or predictions": (
        "contract/test_caption::test_answers_a_picture",
        "contract/test_caption::test_answers_json_alone_in_plain_text_and_in_instances",
    ),
    "text/plain is the best line": (
        "contract/test_request_parameters::test_as_text_the_best_one_comes_alone",
        "contract/test_caption::test_answers_json_alone_in_plain_text_and_in_instances",
    ),
    "text/event-stream is what a stream is sent as, a piece at a time": (
        "contract/test_stream::test_accept_decides_what_a_stream_is_sent_as",
        "contract/test_stream::test_pieces_come_while_the_rest_is_still_being_written",
        "contract/test_conformance::test_every_piece_of_a_stream_comes_when_it_is_written",
        "contract/test_caption::test_the_pieces_of_a_stream_are_its_best_line",
    ),
    "An error has code, message and request_id, whoever answers": (
        "contract/test_status::test_an_error_has_its_status_its_form_and_its_line_in_the_log",
        "contract/test_invocations::test_what_is_not_http_is_an_error_in_json",
        "contract/test_invocations::test_the_id_of_the_caller_is_in_the_answer_and_in_the_log",
    ),
    "400, also for an undecodable picture and JSON that is no object": (
        "contract/test_caption::test_a_bad_body_is_400",
    ),
    "404 and 405": ("contract/test_invocations::test_unknown_paths_and_methods_are_errors_in_json",),
    "406": ("contract/test_invocations::test_an_accept_that_cannot_be_met_is_406",),
    "413: a body over 25 MB, changed only by SAGEMAKER_MAX_PAYLOAD_IN_MB": (
        "contract/test_invocations::test_a_body_over_25_megabytes_is_413",
        "contract/test_invocations::test_a_smaller_limit_is_kept",
        "contract/test_form::test_a_form_keeps_to_the_limit_of_a_body",
    ),
    "413: a picture over 50 megapixels": (
        "contract/test_status::test_an_error_has_its_status_its_form_and_its_line_in_the_log",
        "contract/test_status::test_a_picture_of_50_megapixels_is_not_too_large",
    ),
    "415, for the Content-Type only": (
        "contract/test_invocations::test_another_content_type_is_415_and_names_those_that_are_taken",
    ),
    "429 and 503 say when to come back": (
        "contract/test_invocations::test_a_model_that_is_busy_says_when_to_come_back",
        "contract/test_serve::test_a_request_while_the_model_is_loading_is_503",
        "contract/test_conformance::test_callers_beyond_the_limit_are_answered_or_told_to_come_back",
    ),
    "500 and 507": (
        "contract/test_status::test_an_error_of_a_model_has_its_line_in_the_log",
        "contract/test_multi_model::test_a_model_that_does_not_fit_is_507_until_another_is_unloaded",
    ),
}
"""What a request is, and what its answer is."""

RULES: Mapping[str, tuple[str, ...]] = {**PLATFORM, **MULTI_MODEL, **COMPLAINTS, **INVOCATIONS}


def file_of(check: str) -> Path:
    """Where a check is."""
    return TESTS / f"{check.partition('::')[0]}.py"


def node_of(check: str) -> str:
    """What pytest calls it, seen from the repository's root."""
    return f"{file_of(check).relative_to(TESTS.parent)}::{check.partition('::')[2]}"


def checks() -> Iterator[str]:
    """The checks of all rules, some of them several times."""
    for named in RULES.values():
        yield from named
