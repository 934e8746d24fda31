#!/usr/bin/env bash
# Build the image and push it to Amazon ECR in the account and region that the AWS command line is set to.
#
#   ./build_and_push.sh IMAGE_NAME [TAG]
set -euo pipefail

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
  echo "usage: $0 IMAGE_NAME [TAG]" >&2
  exit 2
fi
image=$1
tag=${2:-latest}

for tool in docker aws; do
  command -v "$tool" >/dev/null || { echo "$0: $tool is not on PATH: install it first" >&2; exit 1; }
done

account=$(aws sts get-caller-identity --query Account --output text)
region=${AWS_REGION:-${AWS_DEFAULT_REGION:-$(aws configure get region || true)}}
if [ -z "$region" ]; then
  echo "$0: no region is set: run 'aws configure' or set AWS_REGION" >&2
  exit 1
fi
suffix=amazonaws.com
case $region in cn-*) suffix=amazonaws.com.cn ;; esac
registry="$account.dkr.ecr.$region.$suffix"

cd "$(dirname "$0")"
echo "building $image"
commit=$(git describe --always --dirty=+ --exclude='*' 2>/dev/null || true)
DOCKER_BUILDKIT=1 docker build -t "$image" \
  --build-arg OGIRI_IMAGE="$registry/$image:$tag" --build-arg OGIRI_COMMIT="$commit" .

if ! aws ecr describe-repositories --region "$region" --repository-names "$image" >/dev/null 2>&1; then
  echo "creating the repository $image in $region"
  aws ecr create-repository --region "$region" --repository-name "$image" \
    --image-scanning-configuration scanOnPush=true >/dev/null
fi
aws ecr get-login-password --region "$region" | docker login --username AWS --password-stdin "$registry"
docker tag "$image" "$registry/$image:$tag"
docker push "$registry/$image:$tag"
echo "pushed $registry/$image:$tag"
