"""What the Lambdas and the local demo share: a CSV becomes pictures in S3 and records in DynamoDB.

Of `ogiri` it imports `record` alone, which the layer carries along; besides that boto3, requests and Pillow.
"""
