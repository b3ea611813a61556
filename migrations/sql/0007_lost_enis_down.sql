DELETE FROM ledger.quarantine WHERE kind IN ('unrecorded-bind', 'elsewhere');
ALTER TABLE ledger.quarantine DROP CONSTRAINT quarantine_kind_check,
    ADD CONSTRAINT quarantine_kind_check
        CHECK (kind IN ('unknown-intent', 'leak', 'leak-in-use', 'missing'));
