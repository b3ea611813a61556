DROP VIEW audit.dead_letters;
DROP VIEW audit.sweeps;
DROP VIEW audit.brakes;
DROP VIEW audit.waiting;
