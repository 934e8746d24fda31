"""One container image for SageMaker that learns to answer a picture with a line, and serves what it learned."""

import os

# ONNX Runtime's wheel for Linux sends telemetry to its maker unless this is set before it is imported, and writes a
# file for that into the temporary folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
