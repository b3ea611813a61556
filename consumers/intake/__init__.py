"""Kafka → ledger: takes messages in, exactly once in effect, and decides what they mean."""
