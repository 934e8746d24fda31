# One image: `docker run IMAGE train` and `docker run IMAGE serve`.
#
#   docker build -t ogiri .
#   docker build --build-arg REQUIREMENTS=serving -t ogiri-serving .   # `serve` on a CPU alone: a tenth of the size
#
# A machine that reaches its package index through settings of its own passes them as the secrets pip_conf and pip_ca,
# which leave no trace in the image; without them the same file builds.
ARG BASE_IMAGE=debian:bookworm-slim
FROM ${BASE_IMAGE}

LABEL com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true \
      com.amazonaws.sagemaker.capabilities.multi-models=true \
      org.opencontainers.image.title=ogiri \
      org.opencontainers.image.description="Answers a picture with a funny Japanese line: train and serve on SageMaker" \
      org.opencontainers.image.licenses=Apache-2.0

ENV DEBIAN_FRONTEND=noninteractive \
    PYTHONUNBUFFERED=1 \
    ORT_DISABLE_TELEMETRY=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PATH=/opt/venv/bin:/opt/program:$PATH

# Debian's python3 is 3.11. bash, python3 and pip stay on PATH: SageMaker's source_code jobs start through bash.
# No versions: Debian keeps one of each package in a release, and an older one with a hole cannot be had for long.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates nginx-light python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv

WORKDIR /opt/program
# The name of a file in requirements/: training (all that the image can do) or serving (no torch, so no `train` and no GPU).
ARG REQUIREMENTS=training
COPY requirements/${REQUIREMENTS}.txt /opt/requirements.txt
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
# podman would take ENV from an earlier build with other values; RUN it knows apart.
RUN : "${OGIRI_IMAGE}" "${OGIRI_COMMIT}"
ENV OGIRI_IMAGE=${OGIRI_IMAGE} OGIRI_COMMIT=${OGIRI_COMMIT}
LABEL org.opencontainers.image.revision=${OGIRI_COMMIT}

# No ENTRYPOINT: SageMaker's `train` and `serve` replace the command, and both are executables on PATH.
EXPOSE 8080
CMD ["serve"]
