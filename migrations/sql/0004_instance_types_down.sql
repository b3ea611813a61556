DROP INDEX ledger.entry_missed_once;
DROP INDEX ledger.allocation_of_vswitch, ledger.allocation_on_instance;
DROP TABLE ledger.instance_type;
