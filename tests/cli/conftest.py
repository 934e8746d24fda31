from __future__ import annotations

import pytest
from account import Account, new_account

from local.aws import embedded_aws


@pytest.fixture(scope="session")
def cloud_of_commands():
    with embedded_aws(bucket=None, table=None) as aws:
        yield aws


@pytest.fixture
def account(cloud_of_commands) -> Account:
    return new_account(cloud_of_commands)
