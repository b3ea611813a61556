COMMENT ON COLUMN audit.allocations.released_why IS 'Why it was released: elastic, ttl, requested or never-allocated.';
