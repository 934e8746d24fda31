"""Buckets of a template with their versions and their events; of CloudFormation's bucket moto reads two properties."""

from __future__ import annotations

from typing import Any

from moto.s3.models import FakeBucket, s3_backends


def install() -> None:
    """Let moto's CloudFormation read more of them."""
    create = FakeBucket.create_from_cloudformation_json

    def created(resource_name: str, cloudformation_json: Any, account_id: str, region_name: str, **more: Any) -> Any:
        bucket = create(resource_name, cloudformation_json, account_id, region_name, **more)
        properties = cloudformation_json["Properties"]
        backend = s3_backends[account_id]["aws"]
        if "VersioningConfiguration" in properties:
            backend.put_bucket_versioning(resource_name, properties["VersioningConfiguration"]["Status"])
        if "EventBridgeConfiguration" in properties.get("NotificationConfiguration", {}):
            backend.put_bucket_notification_configuration(resource_name, {"EventBridgeConfiguration": {}})
        return bucket

    FakeBucket.create_from_cloudformation_json = created  # type: ignore[method-assign]
