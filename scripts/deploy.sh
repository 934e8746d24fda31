#!/usr/bin/env bash
# Deploys template.yaml into the account and region that the AWS command line is set to. docs/deploy.md says more.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
usage: scripts/deploy.sh --image URI [--serving-image URI] [--project NAME] [--encoder FILE | --no-encoder]
                         [--language-model FOLDER] [--yes] [PARAMETER=VALUE …]

  --image            the image in ECR, as build_and_push.sh prints it
  --serving-image    a smaller one for endpoints, built with REQUIREMENTS=serving (the same, or the one before)
  --project          names start with it (ogiri)
  --encoder          weights as torchvision saves them, resnet50.safetensors or resnet50-11ad3fa6.pth; asked for when
                     not given
  --no-encoder       none: those of an earlier deployment stay; without any the encoder is trained from scratch
  --language-model   a folder with config.json, model.safetensors and spiece.model, for decoder=gpt2
  --yes              deploy without showing the changes first
  PARAMETER=VALUE    any parameter of template.yaml

The weights go below pretrained/ in the bucket, and the hyperparameters encoder, decoder, language_model and
encoder_weights are set to what they need, where TrainingHyperparameters does not name them.
TEXT
}

stop() {
    printf 'deploy: %s\n' "$*" >&2
    exit 1
}

project=ogiri image='' serving_image='' encoder=ask language_model='' confirm=--confirm-changeset
parameters=()
while [ $# -gt 0 ]; do
    case $1 in
        --help) usage && exit 0 ;;
        --image | --serving-image | --project | --encoder | --language-model)
            [ $# -ge 2 ] || { echo "deploy: $1 needs a value" >&2 && exit 2; }
            name=${1#--}
            printf -v "${name//-/_}" %s "$2"
            shift
            ;;
        --no-encoder) encoder='' ;;
        --yes) confirm=--no-confirm-changeset ;;
        ServingImageUri=?*) serving_image=${1#*=} ;;
        [A-Z]*=*) parameters+=("$1") ;;
        *) echo "deploy: $1 is not known: scripts/deploy.sh --help" >&2 && exit 2 ;;
    esac
    shift
done

PATH=$PWD/build/tools/bin:$PATH
for tool in aws sam make python3; do
    command -v "$tool" >/dev/null || stop "$tool is not on PATH: install it first (docs/deploy.md)"
done
[ -n "$image" ] || stop "no image is given: ./build_and_push.sh ogiri prints one for --image"

if [ "$encoder" = ask ]; then
    [ -t 0 ] || stop "no encoder weights are given: name a file with --encoder, or say --no-encoder"
    read -rp 'Encoder weights, resnet50.safetensors or .pth (empty = none): ' encoder
    read -rp 'Folder of a language model for decoder=gpt2 (empty = none): ' language_model
fi
case $encoder in
    '' | *.safetensors | *.pth) ;;
    *) stop "$encoder is neither .safetensors nor .pth: encoder weights are one of them" ;;
esac
[ -z "$encoder" ] || [ -f "$encoder" ] || stop "$encoder is no file: name the encoder weights"
if [ -n "$language_model" ]; then
    for file in config.json model.safetensors spiece.model; do
        [ -f "$language_model/$file" ] || stop "$language_model has no $file: a language model is a folder with it"
    done
fi

# torchvision's downloads have a piece of their checksum in the name, which the training does not look for.
network=$(basename "${encoder%.*}")
if [[ $network =~ ^(.+)-[0-9a-f]{8}$ ]]; then network=${BASH_REMATCH[1]}; fi

# What is deployed keeps its values unless they are named.
deployed() {
    aws cloudformation describe-stacks --stack-name "$project" \
        --query "Stacks[0].Parameters[?ParameterKey=='$1'].ParameterValue" --output text 2>/dev/null || true
}
hyperparameters=''
for parameter in ${parameters[@]+"${parameters[@]}"}; do # so, since bash 3.2 of macOS takes an empty list for unset
    case $parameter in TrainingHyperparameters=*) hyperparameters=${parameter#*=} ;; esac
done
[ -n "$hyperparameters" ] || hyperparameters=$(deployed TrainingHyperparameters)
others=()
if [ "$(deployed Pretrained)" = true ]; then others=(--others); fi
model=''
[ -z "$language_model" ] || model=$(basename "$language_model")
hyperparameters=$(python3 scripts/first_job.py --hyperparameters "${hyperparameters:-{\}}" --encoder "$network" \
    --language-model "$model" ${others[@]+"${others[@]}"})

repository() { # of an image's URI
    local name=${1#*/}
    printf %s "${name%%[:@]*}"
}
parameters=("Project=$project" "ImageUri=$image" "ImageRepository=$(repository "$image")"
    ${parameters[@]+"${parameters[@]}"} "TrainingHyperparameters=$hyperparameters")
if [ -n "$serving_image" ]; then
    parameters+=("ServingImageUri=$serving_image" "ServingImageRepository=$(repository "$serving_image")")
fi
if [ -n "$encoder$language_model" ]; then
    parameters+=(Pretrained=true)
fi
# sam reads a value up to the first quote or space in it, unless all of it is quoted.
overrides=()
for parameter in "${parameters[@]}"; do
    value=${parameter#*=}
    overrides+=("${parameter%%=*}=\"${value//\"/\\\"}\"")
done

sam build --build-in-source --build-dir build/sam
sam deploy --template-file build/sam/template.yaml --stack-name "$project" --capabilities CAPABILITY_IAM \
    --resolve-s3 --no-fail-on-empty-changeset "$confirm" --tags "project=$project" \
    --parameter-overrides "${overrides[@]}"

output() {
    aws cloudformation describe-stacks --stack-name "$project" \
        --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue" --output text
}
bucket=$(output BucketName)
if [ -n "$encoder" ]; then
    aws s3 cp "$encoder" "s3://$bucket/pretrained/$network.${encoder##*.}"
fi
if [ -n "$language_model" ]; then
    aws s3 sync "$language_model" "s3://$bucket/pretrained/$model"
fi
cat <<TEXT
deployed $project
  upload:  scripts/ogiri upload rows.csv --stack $project --wait
  API:     $(output ApiUrl), once the first model serves
  told:    aws sns subscribe --topic-arn $(output TopicArn) --protocol email --notification-endpoint YOU
TEXT
