"""SageMaker on this machine: real training jobs and real endpoints behind the APIs that boto3 speaks."""
