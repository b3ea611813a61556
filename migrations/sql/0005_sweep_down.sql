DROP VIEW audit.drift;
DELETE FROM ledger.work WHERE kind = 'sweep';
ALTER TABLE ledger.work DROP CONSTRAINT work_kind_check,
    ADD CONSTRAINT work_kind_check CHECK (kind IN ('pod', 'podnetworking'));
DROP TABLE ledger.quarantine;
DROP TABLE ledger.sweep;
