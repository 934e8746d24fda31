"""What the Lambdas and the local demo share: a CSV becomes records, records a job, its model an endpoint.

Of `ogiri` it imports `record` and `sagemaker.training.metrics` alone, which the layer carries along; besides that
boto3, requests and Pillow.
"""
