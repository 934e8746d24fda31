#!/usr/bin/env bash
# Deletes what template.yaml and its jobs have made in the account and region that the AWS command line is set to.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'TEXT'
usage: scripts/destroy.sh [--project NAME] [--data] [--yes]

  --project   as it was deployed (ogiri)
  --data      the bucket and both tables too: pictures, records, models, answers; nothing brings them back
  --yes       without asking
TEXT
}

project=ogiri data='' yes=''
while [ $# -gt 0 ]; do
    case $1 in
        --help) usage && exit 0 ;;
        --project)
            [ $# -ge 2 ] || { echo "destroy: --project needs a value" >&2 && exit 2; }
            project=$2
            shift
            ;;
        --data) data=1 ;;
        --yes) yes=1 ;;
        *) echo "destroy: $1 is not known: scripts/destroy.sh --help" >&2 && exit 2 ;;
    esac
    shift
done
command -v aws >/dev/null || { echo "destroy: aws is not on PATH: install it first" >&2 && exit 1; }

output() {
    aws cloudformation describe-stacks --stack-name "$project" \
        --query "Stacks[0].Outputs[?OutputKey=='$1'].OutputValue" --output text
}
bucket=$(output BucketName)
tables=$(output TablesKept)
rule=$(output JobRuleName)
echo "stack $project, its running jobs, endpoints and models${data:+, bucket $bucket and tables $tables with all that they hold}"
if [ -z "$yes" ]; then
    read -rp "Type $project to delete them: " answer
    [ "$answer" = "$project" ] || { echo "destroy: nothing was deleted" >&2 && exit 1; }
fi

# Only what carries the project's tag: another project's name may begin with this one's.
ours() {
    local value
    value=$(aws sagemaker list-tags --resource-arn "$1" --query "Tags[?Key=='project'].Value" --output text)
    [ "$value" = "$project" ]
}

# No job that ends now is deployed again.
aws events disable-rule --name "$rule"
aws sagemaker list-training-jobs --name-contains "$project" --status-equals InProgress \
    --query 'TrainingJobSummaries[].[TrainingJobName,TrainingJobArn]' --output text |
    while read -r name arn; do
        if ours "$arn"; then aws sagemaker stop-training-job --training-job-name "$name"; fi
    done

# Endpoints go before the stack: in a VPC SageMaker takes its network interfaces away with the role of the stack.
for kind in serverless realtime async; do
    endpoint=$project-$kind
    arn=$(aws sagemaker list-endpoints --name-contains "$endpoint" \
        --query "Endpoints[?EndpointName=='$endpoint'].EndpointArn" --output text)
    if [ -n "$arn" ] && ours "$arn"; then
        aws sagemaker delete-endpoint --endpoint-name "$endpoint"
        aws sagemaker wait endpoint-deleted --endpoint-name "$endpoint"
    fi
done
aws sagemaker list-endpoint-configs --name-contains "$project" \
    --query 'EndpointConfigs[].[EndpointConfigName,EndpointConfigArn]' --output text |
    while read -r name arn; do
        if ours "$arn"; then aws sagemaker delete-endpoint-config --endpoint-config-name "$name"; fi
    done
aws sagemaker list-models --name-contains "$project" --query 'Models[].[ModelName,ModelArn]' --output text |
    while read -r name arn; do
        if ours "$arn"; then aws sagemaker delete-model --model-name "$name"; fi
    done

# The registry's group cannot go with the stack while it holds versions.
group=$(aws sagemaker list-model-package-groups --name-contains "$project" \
    --query "ModelPackageGroupSummaryList[?ModelPackageGroupName=='$project'].ModelPackageGroupArn" --output text)
if [ -n "$group" ] && ours "$group"; then
    aws sagemaker list-model-packages --model-package-group-name "$project" \
        --query 'ModelPackageSummaryList[].[ModelPackageArn]' --output text |
        while read -r arn; do aws sagemaker delete-model-package --model-package-name "$arn"; done
fi

aws cloudformation delete-stack --stack-name "$project"
aws cloudformation wait stack-delete-complete --stack-name "$project"

if [ -z "$data" ]; then
    echo "deleted; kept: bucket $bucket, tables $tables (docs/operations.md says how a new stack takes them over)"
    exit 0
fi
for table in $tables; do
    aws dynamodb delete-table --table-name "$table" >/dev/null
done
# Versions and marks of deletion too, a thousand at a time.
for list in Versions DeleteMarkers; do
    while :; do
        batch=$(aws s3api list-object-versions --bucket "$bucket" --max-items 1000 \
            --query "{Objects: ${list}[].{Key: Key, VersionId: VersionId}, Quiet: \`true\`}" --output json)
        case $batch in *'"Key"'*) ;; *) break ;; esac
        aws s3api delete-objects --bucket "$bucket" --delete "$batch" >/dev/null
    done
done
aws s3api delete-bucket --bucket "$bucket"
echo "deleted, with bucket $bucket and tables $tables"
