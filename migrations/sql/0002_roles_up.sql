-- Group roles without login; the deployment grants them to the users of each process.
-- A role that exists is left alone: roles belong to the whole server, not to this database.
DO $$
DECLARE wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['eni_ledger_writer', 'eni_ledger_reconciler', 'eni_ledger_auditor'] LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another database of this server was migrated at the same moment
            END;
        END IF;
    END LOOP;
END $$;

REVOKE ALL ON SCHEMA ledger FROM PUBLIC;
GRANT USAGE ON SCHEMA ledger TO eni_ledger_writer, eni_ledger_reconciler;
GRANT SELECT ON ALL TABLES IN SCHEMA ledger TO eni_ledger_writer, eni_ledger_reconciler;
GRANT INSERT ON ledger.entry, ledger.feed, ledger.cluster TO eni_ledger_writer, eni_ledger_reconciler;
GRANT DELETE ON ledger.unfed TO eni_ledger_writer, eni_ledger_reconciler;
GRANT INSERT, UPDATE ON ledger.allocation, ledger.tenure, ledger.cloud_call, ledger.rate_bucket,
    ledger.vswitch
    TO eni_ledger_writer, eni_ledger_reconciler;
GRANT DELETE ON ledger.tenure TO eni_ledger_writer, eni_ledger_reconciler;
GRANT INSERT, UPDATE, DELETE ON ledger.work, ledger.brake TO eni_ledger_writer, eni_ledger_reconciler;
GRANT INSERT, UPDATE ON ledger.observation TO eni_ledger_writer, eni_ledger_reconciler;
GRANT INSERT, UPDATE ON ledger.kafka_offset, ledger.watermark, ledger.dead_letter TO eni_ledger_writer;

GRANT SELECT ON public.revision TO eni_ledger_writer, eni_ledger_reconciler;  -- the guard at start reads it

REVOKE ALL ON SCHEMA audit FROM PUBLIC;
GRANT USAGE ON SCHEMA audit TO eni_ledger_auditor, eni_ledger_writer, eni_ledger_reconciler;
