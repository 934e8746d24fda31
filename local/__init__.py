"""The loop on one machine, with no AWS account: embedded S3, DynamoDB and Rekognition, the real `train` and `serve`."""
