-- Additive: the code of the revision before neither reads nor writes these.

-- ---------------------------------------------------------------------------------------------- the seal
CREATE TABLE ledger.seal (
    upto           bigint PRIMARY KEY,
    since          bigint NOT NULL UNIQUE,
    sealed_at      timestamptz NOT NULL,
    entry_ids      bigint[] NOT NULL,
    row_hashes     bytea NOT NULL,
    column_checks  bytea NOT NULL,
    previous       bytea CHECK (length(previous) = 32),
    hash           bytea NOT NULL CHECK (length(hash) = 32),
    CHECK (since > 0 AND upto >= since),
    CHECK ((previous IS NULL) = (since = 1)),
    CHECK (cardinality(entry_ids) = upto - since + 1),
    CHECK (length(row_hashes) = 32 * (upto - since + 1)),
    CHECK (length(column_checks) = 28 * (upto - since + 1))
);
-- Hashes don't compress: not tried, they are only moved out of line.
ALTER TABLE ledger.seal ALTER COLUMN row_hashes SET STORAGE EXTERNAL,
    ALTER COLUMN column_checks SET STORAGE EXTERNAL;
CREATE TRIGGER seal_is_append_only BEFORE UPDATE OR DELETE ON ledger.seal
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER seal_is_never_truncated BEFORE TRUNCATE ON ledger.seal
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
COMMENT ON TABLE ledger.seal IS
    'Ranges of the feed with a hash of every row, each chained to the one before (P7). Byte for byte: ledger/store/README.md.';
COMMENT ON COLUMN ledger.seal.since IS 'First feed position of the range; the last one is upto.';
COMMENT ON COLUMN ledger.seal.entry_ids IS 'The entries of the range, in feed order.';
COMMENT ON COLUMN ledger.seal.row_hashes IS 'SHA-256 of each entry''s canonical bytes, 32 bytes each, in feed order.';
COMMENT ON COLUMN ledger.seal.column_checks IS
    'For saying what differs, not that it does: CRC-32 of cluster, allocation_id, version, kind, recorded_at, cause and data, 28 bytes an entry.';
COMMENT ON COLUMN ledger.seal.previous IS 'The hash of the seal before; null in the first.';
COMMENT ON COLUMN ledger.seal.hash IS 'SHA-256 over everything else in this row.';

-- Like entry: the owner's own slips are stopped.
CREATE TRIGGER feed_is_never_truncated BEFORE TRUNCATE ON ledger.feed
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

CREATE VIEW audit.seals AS
SELECT since AS first_position, upto AS last_position, sealed_at, entry_ids[cardinality(entry_ids)] AS last_entry,
       encode(previous, 'hex') AS previous, encode(hash, 'hex') AS hash
FROM ledger.seal;
COMMENT ON VIEW audit.seals IS
    'The sealed ranges of the feed. The newest hash stands for every entry up to its last_position: keep it somewhere else.';
COMMENT ON COLUMN audit.seals.first_position IS 'The first feed position of the range.';
COMMENT ON COLUMN audit.seals.last_position IS 'The last feed position of the range.';
COMMENT ON COLUMN audit.seals.sealed_at IS 'When it was sealed, by the ledger''s clock.';
COMMENT ON COLUMN audit.seals.last_entry IS 'The entry at its last position.';
COMMENT ON COLUMN audit.seals.previous IS 'The hash of the seal before, in hexadecimal; NULL in the first.';
COMMENT ON COLUMN audit.seals.hash IS 'SHA-256 over the seal before and every entry of the range, in hexadecimal.';

-- ---------------------------------------------------------------------------------------------- the outbox
CREATE TABLE ledger.outbox (
    topic        text PRIMARY KEY,
    position     bigint NOT NULL DEFAULT 0 CHECK (position >= 0),
    next_offset  bigint NOT NULL DEFAULT 0 CHECK (next_offset >= 0),
    token        uuid,
    held_until   timestamptz,
    CHECK ((token IS NULL) = (held_until IS NULL))
);
COMMENT ON TABLE ledger.outbox IS
    'How far the feed was published to a topic: moved after the broker acknowledged, so that a crash repeats and never skips.';
COMMENT ON COLUMN ledger.outbox.next_offset IS
    'Where the topic''s log ended after the last publication: a log that ends earlier has lost something.';
COMMENT ON COLUMN ledger.outbox.token IS 'Who publishes, until held_until: saves repetitions, order does not rest on it.';

GRANT SELECT ON ledger.seal, ledger.outbox TO eni_ledger_writer, eni_ledger_reconciler;
GRANT INSERT ON ledger.seal TO eni_ledger_reconciler;
GRANT INSERT, UPDATE ON ledger.outbox TO eni_ledger_writer;
GRANT SELECT ON audit.seals TO eni_ledger_auditor, eni_ledger_writer, eni_ledger_reconciler;
