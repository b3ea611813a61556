-- Additive: the code of the revision before neither reads nor writes this.
CREATE TABLE ledger.incarnation (
    number    integer PRIMARY KEY CHECK (number > 0),
    home      text NOT NULL CHECK (home <> ''),
    began_at  timestamptz NOT NULL
);
COMMENT ON TABLE ledger.incarnation IS
    'Where this ledger has run. A new home means that its newest entries may be missing (P11).';
COMMENT ON COLUMN ledger.incarnation.home IS 'As ledger.home() said: server, database, timeline.';

-- Says whether the rows read here can have continued without a break since somebody last looked: a dump restored
-- elsewhere has another server or database, a recovery to a moment and a promoted standby have another timeline.
CREATE FUNCTION ledger.home() RETURNS text LANGUAGE sql VOLATILE PARALLEL SAFE RETURN (
    SELECT 'server ' || system_identifier
        || ', database ' || (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
        || ', timeline ' || CASE WHEN pg_is_in_recovery() THEN 'of a standby'
                                 ELSE left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END
    FROM pg_control_system()
);
COMMENT ON FUNCTION ledger.home() IS 'Server, database and timeline; any role may ask for them.';

GRANT SELECT ON ledger.incarnation TO eni_ledger_writer, eni_ledger_reconciler;
-- UPDATE: to lock the newest row while the next one is decided on.
GRANT INSERT, UPDATE ON ledger.incarnation TO eni_ledger_reconciler;
