"""Whether Kafka brokers answer: what every part that starts one waits for."""

import asyncio

METADATA_TIMEOUT_MS = 3000


def answers_metadata(bootstrap: str, brokers: int = 1) -> bool:
    """Whether `bootstrap` ("host:port,…", no TLS, no password) names at least so many brokers when
    it is asked for metadata."""
    from aiokafka.client import AIOKafkaClient
    from aiokafka.errors import KafkaError

    async def ask() -> bool:
        client = AIOKafkaClient(bootstrap_servers=bootstrap, request_timeout_ms=METADATA_TIMEOUT_MS)
        try:
            await client.bootstrap()
            return len(client.cluster.brokers()) >= brokers
        except KafkaError:
            return False
        finally:
            await client.close()

    return asyncio.run(ask())
