DROP FUNCTION audit.timeline(inet);
DROP FUNCTION audit.ip_owner_at(inet, timestamptz);
DROP VIEW audit.tenures, audit.allocations, audit.reservations, audit.calls, audit.story, audit.vswitch_capacity,
    audit.reported_addresses;
REVOKE USAGE ON SCHEMA ledger FROM eni_ledger_auditor;
