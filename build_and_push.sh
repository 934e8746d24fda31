#!/usr/bin/env bash
# Build the image and push it to Amazon ECR in the account and region that the AWS command line is set to.
#
#   ./build_and_push.sh IMAGE_NAME [TAG [OPTION_OF_BUILD …]]
#   ./build_and_push.sh ogiri-serving latest --build-arg REQUIREMENTS=serving
#
# DOCKER=podman takes podman instead of docker.
set -euo pipefail

if [ $# -lt 1 ]; then
  echo "usage: $0 IMAGE_NAME [TAG [OPTION_OF_BUILD …]]" >&2
  exit 2
fi
image=$1
tag=${2:-latest}
shift $(($# < 2 ? $# : 2))

docker=${DOCKER:-docker}
for tool in "$docker" aws; do
  command -v "$tool" >/dev/null || { echo "$0: $tool is not on PATH: install it first" >&2; exit 1; }
done
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
if [ -z "$region" ]; then
  echo "$0: no region is set: run 'aws configure' or set AWS_REGION" >&2
  exit 1
fi
export AWS_DEFAULT_REGION=$region

# First of all, so that what is not allowed fails before a build of minutes.
if ! repository=$(aws ecr describe-repositories --repository-names "$image" \
  --query 'repositories[0].repositoryUri' --output text 2>/dev/null); then
  echo "creating the repository $image in $region"
  repository=$(aws ecr create-repository --repository-name "$image" \
    --image-scanning-configuration scanOnPush=true --query repository.repositoryUri --output text)
fi
aws ecr get-login-password | "$docker" login --username AWS --password-stdin "${repository%%/*}"

# SageMaker's endpoints refuse a manifest of the type OCI ("Unsupported manifest media type"), which docker with
# attestations or with containerd's store, and podman, make unless told otherwise.
export DOCKER_BUILDKIT=1 BUILDX_NO_DEFAULT_ATTESTATIONS=1 BUILDAH_FORMAT=docker
options=(--platform linux/amd64)
case $("$docker" --version) in
  podman*) ;;
  *) if "$docker" buildx version >/dev/null 2>&1; then options+=(--output type=docker); fi ;;
esac

cd "$(dirname "$0")"
uri=$repository:$tag
echo "building $uri"
commit=$(git describe --always --dirty=+ --exclude='*' 2>/dev/null || true)
"$docker" build "${options[@]}" --build-arg OGIRI_IMAGE="$uri" --build-arg OGIRI_COMMIT="$commit" "$@" -t "$uri" .
"$docker" push "$uri"
echo "pushed $uri"
