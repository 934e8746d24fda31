# One image: `docker run IMAGE train` and `docker run IMAGE serve`.
#
#   docker build -t ogiri .
#
# A machine that reaches its package index through settings of its own passes them as the secrets pip_conf and pip_ca,
# which leave no trace in the image; without them the same file builds.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}

LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true \
      com.amazonaws.sagemaker.capabilities.multi-models=true

ENV DEBIAN_FRONTEND=noninteractive \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=0 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PATH=/opt/venv/bin:/opt/program:$PATH

# Debian's python3 is 3.11. bash, python3 and pip stay on PATH: SageMaker's source_code jobs start through bash.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates nginx-light python3 python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv

WORKDIR /opt/program
COPY requirements/training.txt /opt/requirements.txt
RUN --mount=type=secret,id=pip_conf,target=/etc/pip.conf \
    --mount=type=secret,id=pip_ca,target=/run/secrets/pip_ca \
    --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes -r /opt/requirements.txt

COPY container/ /opt/program/
# Compiled now: a read-only root file system could not keep what every start would compile again.
RUN python3 -m compileall -q /opt/program

# What a training job's report says that it was made with; last, so that a new commit rebuilds nothing else.
ARG OGIRI_IMAGE=""
ARG OGIRI_COMMIT=""
ENV OGIRI_IMAGE=${OGIRI_IMAGE} OGIRI_COMMIT=${OGIRI_COMMIT}

# No ENTRYPOINT: SageMaker's `train` and `serve` replace the command, and both are executables on PATH.
EXPOSE 8080
CMD ["serve"]
