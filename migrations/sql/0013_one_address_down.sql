ALTER TABLE ledger.allocation DROP CONSTRAINT an_ipv4_is_one_address, DROP CONSTRAINT an_ipv6_is_one_address;
ALTER TABLE ledger.tenure DROP CONSTRAINT an_ipv4_is_one_address, DROP CONSTRAINT an_ipv6_is_one_address;

CREATE OR REPLACE FUNCTION audit.ip_owner_at(ip inet, at timestamptz DEFAULT ledger.now(), cluster text DEFAULT NULL)
RETURNS SETOF audit.tenures LANGUAGE plpgsql STABLE ROWS 1 SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
DECLARE meant text := audit.cluster_meant(ip_owner_at.cluster);
BEGIN
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
    WHERE (t.ipv4 = ip OR t.ipv6 = ip)
      AND (SELECT audit.cluster_meant(timeline.cluster)) IN ('*', t.cluster)
    ORDER BY t.since, t.vpc
$$;
