-- The roles stay: they belong to the whole server, and other databases may use them.
REVOKE ALL ON ALL TABLES IN SCHEMA ledger FROM eni_ledger_writer, eni_ledger_reconciler;
REVOKE ALL ON SCHEMA ledger FROM eni_ledger_writer, eni_ledger_reconciler;
REVOKE ALL ON SCHEMA audit FROM eni_ledger_auditor, eni_ledger_writer, eni_ledger_reconciler;
