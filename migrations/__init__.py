"""The database's revisions, in order. SQL is written by hand: triggers, grants and partial indexes."""
