"""moto's server, whose state machines execute and whose functions, rules and templates are those of this project.

python -m local.emulation --functions http://127.0.0.1:9000
"""

from __future__ import annotations

import argparse
import os

from moto.cloudformation.parsing import get_model_map
from moto.core.config import default_user_config
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.stepfunctions import models as stepfunctions
from moto.stepfunctions.parser.models import stepfunctions_parser_backends
from werkzeug.serving import make_server

from local.emulation import bucket, machines, rules, stacks
from local.emulation.invocations import Invocations


def main() -> None:
    """Serve on loopback until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m local.emulation", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one, which is printed")
    parser.add_argument("--functions", required=True, help="URL of what answers Invoke of Lambda")
    options = parser.parse_args()
    default_user_config["stepfunctions"]["execute_state_machine"] = True
    # Where CloudFormation creates machines.
    stepfunctions.stepfunctions_backends = stepfunctions_parser_backends  # type: ignore[assignment]
    bucket.install()
    machines.install()
    rules.install(options.functions)
    stacks.install(set(get_model_map()))
    application = Invocations(DomainDispatcherApplication(create_backend_app), options.functions)
    server = make_server("127.0.0.1", options.port, application, threaded=True, request_handler=MotoRequestHandler)
    os.environ["MOTO_PORT"] = str(server.server_port)  # where state machines find the other services
    print(f"Running on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
