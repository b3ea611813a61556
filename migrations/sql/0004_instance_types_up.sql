-- What instance types carry, and how much of it is taken.

CREATE TABLE ledger.instance_type (
    id                  text PRIMARY KEY,
    known               boolean NOT NULL,
    trunk_supported     boolean NOT NULL,
    eni_quantity        integer NOT NULL,
    eni_total_quantity  integer NOT NULL,
    looked_at           timestamptz NOT NULL
);
COMMENT ON TABLE ledger.instance_type IS
    'Instance types as last looked at (DescribeInstanceTypes); known is false where the cloud has no such type.';
GRANT SELECT, INSERT, UPDATE ON ledger.instance_type TO eni_ledger_writer, eni_ledger_reconciler;

-- Counts the ENIs on one instance or trunk.
CREATE INDEX allocation_on_instance ON ledger.allocation (instance, trunk)
    WHERE phase <> 'released' AND instance IS NOT NULL;

-- Counts what we took of a vSwitch since the last look at it.
CREATE INDEX allocation_of_vswitch ON ledger.allocation (vswitch, created_at) WHERE phase <> 'released';

-- A Pod that admission missed is told of once, however often it is heard of.
CREATE UNIQUE INDEX entry_missed_once ON ledger.entry (cluster, (data ->> 'uid'))
    WHERE kind = 'missed-by-admission';
