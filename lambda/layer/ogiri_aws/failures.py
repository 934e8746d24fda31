"""What an error of AWS means for the pictures that are still to come."""

from __future__ import annotations

from botocore.exceptions import (
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as NetworkError

# With these no picture can succeed, so the first one ends it all.
_FATAL_CODES = {
    "AccessDenied",
    "AccessDeniedException",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "NoSuchBucket",
    "ResourceNotFoundException",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}
_FATAL_ERRORS = (NetworkError, NoCredentialsError, NoRegionError, PartialCredentialsError)
# With these the same call succeeds later, although boto3 has tried several times.
_BUSY_CODES = {
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestTimeout",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
}


def code(error: Exception) -> str:
    """The code of AWS's error, empty for one of another kind."""
    return str(error.response["Error"].get("Code", "")) if isinstance(error, ClientError) else ""


def reason(error: Exception) -> str:
    """What an error says to a reader."""
    if isinstance(error, ClientError):
        return f"{error.operation_name} failed: {code(error)} ({error.response['Error'].get('Message')})"
    return str(error)


def is_fatal(error: Exception) -> bool:
    """Whether it would be the same with every other picture."""
    return isinstance(error, _FATAL_ERRORS) or code(error) in _FATAL_CODES


def is_busy(error: Exception) -> bool:
    """Whether the same call may succeed later."""
    if not isinstance(error, ClientError):
        return False
    return code(error) in _BUSY_CODES or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500
