-- Additive: the code of the revision before neither reads nor writes these, and its work kinds stay allowed.
CREATE TABLE ledger.sweep (
    cluster      text PRIMARY KEY,
    finished_at  timestamptz NOT NULL,
    enis         integer NOT NULL,
    calls        integer NOT NULL
);
COMMENT ON TABLE ledger.sweep IS
    'When cloud, PodENIs and ledger were last compared whole. Nothing destructive is done on an older look (P11).';

CREATE TABLE ledger.quarantine (
    cluster      text NOT NULL,
    eni          text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('unknown-intent', 'leak', 'leak-in-use', 'missing')),
    detail       text NOT NULL,
    first_seen   timestamptz NOT NULL,
    last_seen    timestamptz NOT NULL,
    accepted_at  timestamptz,
    accepted_by  text,
    PRIMARY KEY (cluster, eni)
);
COMMENT ON TABLE ledger.quarantine IS
    'ENIs about which cloud and ledger disagree; a row goes when they agree again.';

ALTER TABLE ledger.work DROP CONSTRAINT work_kind_check,
    ADD CONSTRAINT work_kind_check CHECK (kind IN ('pod', 'podnetworking', 'sweep'));

CREATE VIEW audit.drift AS
SELECT cluster, eni, kind, detail, first_seen, last_seen, accepted_at, accepted_by FROM ledger.quarantine;
COMMENT ON VIEW audit.drift IS 'ENIs about which the cloud and this ledger disagree.';

GRANT SELECT ON ledger.sweep, ledger.quarantine TO eni_ledger_writer, eni_ledger_reconciler;
GRANT INSERT, UPDATE, DELETE ON ledger.sweep, ledger.quarantine TO eni_ledger_reconciler;
GRANT SELECT ON audit.drift TO eni_ledger_auditor, eni_ledger_writer, eni_ledger_reconciler;
