"""What commands that look at cluster and cloud share: the ports, opened as the settings say."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy.exc import DBAPIError, OperationalError

from consumers.cli.book import who
from consumers.cli.errors import CommandError
from consumers.runtime.errors import OperatorError
from consumers.runtime.settings import Settings

if TYPE_CHECKING:
    from consumers.takeover.source import Source


@contextmanager
def opened_source(settings: Settings) -> "Iterator[Source]":
    """Ledger, cluster and cloud for one command; failures become CommandErrors."""
    from consumers.cloud.aliyun import aliyun_cloud
    from consumers.cloud.settings import cloud_settings
    from consumers.kube import wire
    from consumers.kube.lightkube_adapter import LightkubeAdapter
    from consumers.kube.objects import Objects
    from consumers.takeover.source import Source
    from ledger.store.database import Database
    from ledger.store.guard import unsafe

    if not settings.cloud.region_id:
        raise CommandError("setting cloud.region_id is empty: set ENI_LEDGER_CLOUD__REGION_ID")
    try:
        client = wire.connect(settings.kube)
    except OperatorError as refused:
        raise CommandError(str(refused)) from refused
    database = Database(settings.postgres.dsn.get_secret_value(), pool_size=2)
    try:
        with database.transaction() as connection:
            why = unsafe(connection, clock_may_be_replaced=settings.local_stack)
        if why is not None:
            raise CommandError(why)
        kube = LightkubeAdapter(client, instance="eni-ledger-command")
        cloud = aliyun_cloud(cloud_settings(settings.cloud))
        yield Source(database, kube, Objects(client), cloud, settings, uuid4, time.sleep, who())
    except OperationalError as unavailable:
        raise CommandError(
            f"PostgreSQL can't be used: {unavailable.orig}. Set ENI_LEDGER_POSTGRES__DSN to the "
            "ledger's DSN, and see that the server runs"
        ) from unavailable
    except DBAPIError as refused_:
        raise CommandError(f"PostgreSQL refused: {refused_.orig}") from refused_
    finally:
        database.close()
        client.close()


@contextmanager
def explained() -> Iterator[None]:
    """A look or write that failed is a failure of the command, with its cause."""
    from consumers.cloud.port import CloudError
    from consumers.kube.port import KubeError
    from ledger.store.places import WrongCluster

    try:
        yield
    except (CloudError, KubeError, OperatorError, WrongCluster) as failed:
        raise CommandError(str(failed)) from failed
