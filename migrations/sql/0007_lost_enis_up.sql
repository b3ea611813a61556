-- More kinds of disagreement; those of the revision before stay allowed. The table holds a handful of rows.
ALTER TABLE ledger.quarantine DROP CONSTRAINT quarantine_kind_check,
    ADD CONSTRAINT quarantine_kind_check CHECK (kind IN
        ('unknown-intent', 'unrecorded-bind', 'leak', 'leak-in-use', 'missing', 'elsewhere'));
