DROP FUNCTION ledger.home();
DROP TABLE ledger.incarnation;
