DROP TABLE ledger.outbox;
DROP VIEW audit.seals;
DROP TRIGGER feed_is_never_truncated ON ledger.feed;
DROP TABLE ledger.seal;
