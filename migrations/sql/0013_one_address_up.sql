-- P1: an inet may carry a mask, and an IPv4 address may be written as an IPv6 one. 192.168.0.3/24 or ::ffff:192.168.0.3
-- would be another claim than 192.168.0.3 to the unique indexes. Our code writes neither; now nobody can.
-- Each table is read once under its lock: about a second for some million rows.
ALTER TABLE ledger.allocation
    ADD CONSTRAINT an_ipv4_is_one_address CHECK (family(ipv4) = 4 AND masklen(ipv4) = 32),
    ADD CONSTRAINT an_ipv6_is_one_address CHECK (family(ipv6) = 6 AND masklen(ipv6) = 128);
ALTER TABLE ledger.tenure
    ADD CONSTRAINT an_ipv4_is_one_address CHECK (family(ipv4) = 4 AND masklen(ipv4) = 32),
    ADD CONSTRAINT an_ipv6_is_one_address CHECK (family(ipv6) = 6 AND masklen(ipv6) = 128);

-- Asked about an address as interfaces show it, with a mask, the answer was nobody. The mask is left aside now.
CREATE OR REPLACE FUNCTION audit.ip_owner_at(ip inet, at timestamptz DEFAULT ledger.now(), cluster text DEFAULT NULL)
RETURNS SETOF audit.tenures LANGUAGE plpgsql STABLE ROWS 1 SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE meant text := audit.cluster_meant(ip_owner_at.cluster);
BEGIN
    ip := host(ip)::inet;
    IF family(ip) = 4 THEN
        RETURN QUERY
        WITH RECURSIVE network (vpc) AS (
            SELECT (SELECT k.vpc FROM ledger.tenure k WHERE k.ipv4 = ip ORDER BY k.vpc LIMIT 1)
            UNION ALL
            SELECT (SELECT k.vpc FROM ledger.tenure k WHERE k.ipv4 = ip AND k.vpc > n.vpc ORDER BY k.vpc LIMIT 1)
            FROM network n WHERE n.vpc IS NOT NULL
        )
        SELECT t.* FROM network n
        CROSS JOIN LATERAL (
            SELECT k.allocation_id, k.opened_by, k.during FROM ledger.tenure k
            WHERE k.ipv4 = ip AND k.vpc = n.vpc AND lower(k.during) <= ip_owner_at.at
            ORDER BY lower(k.during) DESC LIMIT 1) newest
        JOIN audit.tenures t ON t.allocation_id = newest.allocation_id AND t.opened_by_version = newest.opened_by
        WHERE newest.during @> ip_owner_at.at AND (meant = '*' OR t.cluster = meant)
        ORDER BY t.vpc;
    ELSE
        RETURN QUERY
        WITH RECURSIVE network (vpc) AS (
            SELECT (SELECT k.vpc FROM ledger.tenure k WHERE k.ipv6 = ip ORDER BY k.vpc LIMIT 1)
            UNION ALL
            SELECT (SELECT k.vpc FROM ledger.tenure k WHERE k.ipv6 = ip AND k.vpc > n.vpc ORDER BY k.vpc LIMIT 1)
            FROM network n WHERE n.vpc IS NOT NULL
        )
        SELECT t.* FROM network n
        CROSS JOIN LATERAL (
            SELECT k.allocation_id, k.opened_by, k.during FROM ledger.tenure k
            WHERE k.ipv6 = ip AND k.vpc = n.vpc AND lower(k.during) <= ip_owner_at.at
            ORDER BY lower(k.during) DESC LIMIT 1) newest
        JOIN audit.tenures t ON t.allocation_id = newest.allocation_id AND t.opened_by_version = newest.opened_by
        WHERE newest.during @> ip_owner_at.at AND (meant = '*' OR t.cluster = meant)
        ORDER BY t.vpc;
    END IF;
END $$;

CREATE OR REPLACE FUNCTION audit.timeline(ip inet, cluster text DEFAULT NULL)
RETURNS SETOF audit.tenures LANGUAGE sql STABLE ROWS 20 AS $$
    SELECT t.* FROM audit.tenures t
    WHERE (t.ipv4 = host(ip)::inet OR t.ipv6 = host(ip)::inet)
      AND (SELECT audit.cluster_meant(timeline.cluster)) IN ('*', t.cluster)
    ORDER BY t.since, t.vpc
$$;
