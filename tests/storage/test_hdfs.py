"""HDFS without its client: what is missing, and what to do."""

from __future__ import annotations

import os

import pytest

from tests.support import tlcli


@pytest.mark.skipif("HADOOP_HOME" in os.environ, reason="the Hadoop client may be there")
def test_a_missing_client_is_named() -> None:
    pytest.importorskip("pyarrow")
    run = tlcli("evaluate", "--image_dir", "hdfs://localhost:9/photos", "--graph", "hdfs://x/g.pb")
    assert run.code == 1
    assert "Error: hdfs://x/g.pb cannot be read: the Hadoop client is missing; install" in run.err
