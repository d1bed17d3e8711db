"""Airflow imports it in each of its processes; the processes of tasks are forks of a worker's.

What all tasks need is imported here once. Each of them would need seconds of a core for it.
"""

import os

if os.environ.get("COMPONENT_NAME", "").startswith(("worker", "dag-processor")):
    import aiobotocore.session
    import airflow.providers.amazon.aws.fs.s3
    import airflow.providers.openlineage.plugins.openlineage
    import boto3
    import s3fs

    import remote_tasks_provider.manus.operators
    import remote_tasks_provider.manus.sensors
    import remote_tasks_provider.qstash.sensors

    PRELOADED = (airflow.providers, aiobotocore.session, boto3, s3fs, remote_tasks_provider)
