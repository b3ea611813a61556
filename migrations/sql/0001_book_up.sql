-- The book: entries, what holds now, what is due, and where each input stands.
-- Order of locks, everywhere: kafka_offset, observation, allocation, work, rate_bucket; within a table by primary key.

CREATE SCHEMA ledger;
CREATE SCHEMA audit;
CREATE EXTENSION IF NOT EXISTS btree_gist;

-- The one clock. clock_timestamp and not now(): now() is the transaction's start, and a period opened by a
-- transaction that waited for a lock would overlap the one just closed. The embedded stack, and only it, replaces
-- this function to let time pass; every process refuses a replaced one elsewhere.
CREATE FUNCTION ledger.now() RETURNS timestamptz
    LANGUAGE sql VOLATILE PARALLEL SAFE
    RETURN clock_timestamp();
COMMENT ON FUNCTION ledger.now() IS 'The ledger''s clock; call it after the locks are taken.';

CREATE TABLE ledger.cluster (
    cluster           text PRIMARY KEY CHECK (cluster <> ''),
    kube_system_uid   text NOT NULL,
    first_seen        timestamptz NOT NULL
);
COMMENT ON TABLE ledger.cluster IS
    'Which Kubernetes cluster a cluster id means: a kubeconfig of another cluster is refused by its kube-system uid.';

-- ---------------------------------------------------------------------------------------------- the entries
CREATE TABLE ledger.entry (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cluster        text NOT NULL,
    allocation_id  uuid,
    version        integer,
    kind           text NOT NULL CHECK (kind <> ''),
    recorded_at    timestamptz NOT NULL,
    cause          jsonb NOT NULL,
    data           jsonb NOT NULL,
    CHECK ((allocation_id IS NULL) = (version IS NULL)),
    CHECK (version > 0),
    UNIQUE (allocation_id, version)
);
CREATE INDEX entry_destructive ON ledger.entry (cluster, recorded_at)
    WHERE kind IN ('absence-confirmed', 'release-decided', 'resumed');
COMMENT ON TABLE ledger.entry IS 'What happened, append-only. Current state is a pure function of these rows.';
COMMENT ON COLUMN ledger.entry.cause IS 'What led to it: the Kafka message, the live look, the command, the call.';

CREATE FUNCTION ledger.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only: % is refused', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_OP
        USING ERRCODE = 'restrict_violation',
              HINT = 'Correct the record by appending an entry that says what is true now.';
END $$;
CREATE TRIGGER entry_is_append_only BEFORE UPDATE OR DELETE ON ledger.entry
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER entry_is_never_truncated BEFORE TRUNCATE ON ledger.entry
    FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();

-- Identity order is not commit order. One sequencer moves rows from here into the feed once they are visible, so
-- that positions are gap-free and never handed out behind a reader's back.
CREATE TABLE ledger.unfed (entry_id bigint PRIMARY KEY REFERENCES ledger.entry);
CREATE TABLE ledger.feed (
    position  bigint PRIMARY KEY CHECK (position > 0),
    entry_id  bigint NOT NULL UNIQUE REFERENCES ledger.entry
);
CREATE TRIGGER feed_is_append_only BEFORE UPDATE OR DELETE ON ledger.feed
    FOR EACH ROW EXECUTE FUNCTION ledger.refuse_change();
COMMENT ON TABLE ledger.feed IS 'Entries in the order every reader sees them; gap-free.';

CREATE FUNCTION ledger.enqueue_for_feed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO ledger.unfed (entry_id) SELECT id FROM appended;
    RETURN NULL;
END $$;
CREATE TRIGGER entry_enters_the_feed AFTER INSERT ON ledger.entry
    REFERENCING NEW TABLE AS appended FOR EACH STATEMENT EXECUTE FUNCTION ledger.enqueue_for_feed();

-- ---------------------------------------------------------------------------------------------- what holds now
CREATE TABLE ledger.allocation (
    id           uuid PRIMARY KEY,
    version      integer NOT NULL CHECK (version > 0),
    cluster      text NOT NULL,
    namespace    text NOT NULL,
    pod          text NOT NULL,
    interface    text NOT NULL,
    phase        text NOT NULL
                 CHECK (phase IN ('wanted', 'bound', 'leaving', 'reserved', 'releasing', 'released')),
    parked       text,
    pod_uid      text NOT NULL,
    node         text NOT NULL,
    vpc          text,
    ipv4         inet,
    ipv6         inet,
    eni          text,
    mac          text,
    instance     text,
    trunk        text,
    vlan         integer,
    vswitch      text,
    ttl_due      timestamptz,
    created_at   timestamptz NOT NULL,
    changed_at   timestamptz NOT NULL,
    state        jsonb NOT NULL,
    CHECK ((ipv4 IS NULL AND ipv6 IS NULL) OR vpc IS NOT NULL),
    CHECK (phase <> 'released' OR vlan IS NULL)
);
COMMENT ON TABLE ledger.allocation IS
    'One Pod interface''s address from request to release: the fold of its entries, its lock and its version in one row.';

-- P1: live claims. Partial unique indexes are nearly free; an exclusion constraint here would cost three to five times.
CREATE UNIQUE INDEX live_claim_ipv4 ON ledger.allocation (vpc, ipv4) WHERE phase <> 'released' AND ipv4 IS NOT NULL;
CREATE UNIQUE INDEX live_claim_ipv6 ON ledger.allocation (vpc, ipv6) WHERE phase <> 'released' AND ipv6 IS NOT NULL;
CREATE UNIQUE INDEX live_claim_eni ON ledger.allocation (eni) WHERE phase <> 'released' AND eni IS NOT NULL;
CREATE UNIQUE INDEX live_claim_vlan ON ledger.allocation (trunk, vlan)
    WHERE phase <> 'released' AND trunk IS NOT NULL AND vlan IS NOT NULL;
-- An allocation that is being released no longer serves the Pod: its successor may be requested while the old ENI goes.
CREATE UNIQUE INDEX live_claim_pod_interface ON ledger.allocation (cluster, namespace, pod, interface)
    WHERE phase NOT IN ('releasing', 'released');
CREATE INDEX allocation_of_pod ON ledger.allocation (cluster, namespace, pod, id) WHERE phase <> 'released';
CREATE INDEX allocation_of_pod_uid ON ledger.allocation (pod_uid);
CREATE INDEX allocation_with_ttl ON ledger.allocation (cluster, ttl_due) WHERE ttl_due IS NOT NULL;
CREATE INDEX allocation_of_node ON ledger.allocation (cluster, node) WHERE phase = 'wanted';

-- Who held what, when. One row a period with all its keys, rather than a row a key: a period has one holder.
CREATE TABLE ledger.tenure (
    allocation_id  uuid NOT NULL,
    cluster        text NOT NULL,
    namespace      text NOT NULL,
    pod            text NOT NULL,
    interface      text NOT NULL,
    pod_uid        text NOT NULL,
    node           text NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('preparing', 'bound', 'leaving', 'reserved', 'releasing')),
    vpc            text NOT NULL,
    ipv4           inet,
    ipv6           inet,
    eni            text NOT NULL,
    mac            text NOT NULL,
    vswitch        text NOT NULL,
    instance       text,
    trunk          text,
    vlan           integer,
    during         tstzrange NOT NULL CHECK (NOT isempty(during) AND lower_inc(during)),
    opened_by      integer NOT NULL,
    closed_by      integer,
    PRIMARY KEY (allocation_id, opened_by),
    CHECK ((closed_by IS NULL) = upper_inf(during)),
    CONSTRAINT closed_tenures_of_an_ipv4_never_overlap
        EXCLUDE USING gist (vpc WITH =, ipv4 WITH =, during WITH &&) WHERE (NOT upper_inf(during)),
    CONSTRAINT closed_tenures_of_an_eni_never_overlap
        EXCLUDE USING gist (eni WITH =, during WITH &&) WHERE (NOT upper_inf(during))
);
CREATE INDEX tenure_of_ipv4 ON ledger.tenure (ipv4, lower(during) DESC);
CREATE INDEX tenure_of_ipv6 ON ledger.tenure (ipv6, lower(during) DESC) WHERE ipv6 IS NOT NULL;
CREATE INDEX tenure_of_eni ON ledger.tenure (eni, lower(during) DESC);
CREATE INDEX tenure_of_mac ON ledger.tenure (mac, lower(during) DESC);
CREATE INDEX tenure_of_pod ON ledger.tenure (cluster, namespace, pod, lower(during) DESC);
COMMENT ON TABLE ledger.tenure IS 'Periods in which an ENI and its addresses served one holder in one way.';
COMMENT ON COLUMN ledger.tenure.opened_by IS 'Version of the allocation''s entry that opened the period.';

CREATE TABLE ledger.cloud_call (
    intent         uuid PRIMARY KEY,
    allocation_id  uuid NOT NULL,
    cluster        text NOT NULL,
    api            text NOT NULL,
    client_token   text,
    parameters     jsonb NOT NULL,
    intended_at    timestamptz NOT NULL,
    deadline       timestamptz NOT NULL,
    settled_at     timestamptz,
    outcome        text CHECK (outcome IN ('done', 'refused', 'undone')),
    code           text,
    request_id     text,
    CHECK ((settled_at IS NULL) = (outcome IS NULL))
);
CREATE INDEX cloud_call_open ON ledger.cloud_call (deadline) WHERE settled_at IS NULL;
CREATE INDEX cloud_call_of_allocation ON ledger.cloud_call (allocation_id);
COMMENT ON TABLE ledger.cloud_call IS 'Each intent and what became of it; projected from entries.';

-- ---------------------------------------------------------------------------------------------- the inputs
CREATE TABLE ledger.observation (
    cluster           text NOT NULL,
    entity            text NOT NULL,
    namespace         text NOT NULL,
    name              text NOT NULL,
    source            text NOT NULL,
    epoch             integer NOT NULL,
    resource_version  bigint NOT NULL,
    uid               text NOT NULL,
    alive             boolean NOT NULL,
    object            jsonb,
    cause             jsonb NOT NULL,
    PRIMARY KEY (cluster, entity, namespace, name)
);
COMMENT ON TABLE ledger.observation IS
    'The newest thing seen of each object, by (epoch, resourceVersion): the deduplication of the inputs.';

CREATE TABLE ledger.kafka_offset (
    topic          text NOT NULL,
    partition      integer NOT NULL,
    next           bigint NOT NULL CHECK (next >= 0),
    last_event_id  text,
    taken_at       timestamptz NOT NULL,
    PRIMARY KEY (topic, partition)
);
COMMENT ON TABLE ledger.kafka_offset IS
    'Where to read on, moved in the transaction that took the messages in. last_event_id tells a log that was made anew.';

CREATE TABLE ledger.watermark (
    topic             text NOT NULL,
    partition         integer NOT NULL,
    cluster           text NOT NULL,
    epoch             integer NOT NULL,
    resource_version  bigint NOT NULL,
    produced_at       timestamptz,
    taken_at          timestamptz NOT NULL,
    PRIMARY KEY (topic, partition, cluster)
);
COMMENT ON TABLE ledger.watermark IS 'Everything of this topic up to this resourceVersion has been taken in.';

CREATE TABLE ledger.dead_letter (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic         text NOT NULL,
    partition     integer NOT NULL,
    "offset"      bigint NOT NULL,
    key           bytea,
    value         bytea,
    headers       jsonb NOT NULL,
    error_class   text NOT NULL,
    message       text NOT NULL,
    recorded_at   timestamptz NOT NULL,
    published_at  timestamptz,
    redriven_at   timestamptz,
    fingerprint   bytea NOT NULL,
    UNIQUE (topic, partition, "offset", fingerprint)
);
CREATE INDEX dead_letter_unpublished ON ledger.dead_letter (id) WHERE published_at IS NULL;
COMMENT ON TABLE ledger.dead_letter IS 'Messages that could not be taken in: the original bytes and the reason.';
COMMENT ON COLUMN ledger.dead_letter.headers IS 'Pairs of header name and base64 value.';
COMMENT ON COLUMN ledger.dead_letter.fingerprint IS
    'SHA-256 of key, headers and value: an offset alone is no identity once a log was made anew.';

-- ---------------------------------------------------------------------------------------------- what is due
CREATE TABLE ledger.work (
    cluster        text NOT NULL,
    kind           text NOT NULL CHECK (kind IN ('pod', 'podnetworking')),
    namespace      text NOT NULL,
    name           text NOT NULL,
    due_at         timestamptz NOT NULL,
    signals        bigint NOT NULL DEFAULT 1,
    attempt        integer NOT NULL DEFAULT 0,
    claim_token    uuid,
    claimed_until  timestamptz,
    waiting_for    text,
    PRIMARY KEY (cluster, kind, namespace, name),
    CHECK ((claim_token IS NULL) = (claimed_until IS NULL))
);
CREATE INDEX work_due ON ledger.work (due_at);
COMMENT ON TABLE ledger.work IS
    'What is due, per Pod rather than per allocation: a PodENI carries all interfaces of its Pod, and two workers on two of them would race for it.';
COMMENT ON COLUMN ledger.work.signals IS 'Counts what came in; a worker that finishes sees whether more came meanwhile.';

CREATE TABLE ledger.rate_bucket (
    account        text NOT NULL,
    region         text NOT NULL,
    api            text NOT NULL,
    tokens         double precision NOT NULL,
    filled_at      timestamptz NOT NULL,
    backoff_until  timestamptz,
    PRIMARY KEY (account, region, api)
);

CREATE TABLE ledger.vswitch (
    id          text PRIMARY KEY,
    vpc         text NOT NULL,
    zone        text NOT NULL,
    cidr        text NOT NULL,
    ipv6_cidr   text NOT NULL,
    free_ips    integer NOT NULL,
    looked_at   timestamptz NOT NULL
);
COMMENT ON TABLE ledger.vswitch IS
    'vSwitches as last looked at. free_ips is an estimate: others use the vSwitch too; it orders, it never refuses.';

CREATE TABLE ledger.brake (
    cluster     text NOT NULL,
    scope       text NOT NULL CHECK (scope IN ('all', 'destructive')),
    pulled_at   timestamptz NOT NULL,
    pulled_by   text NOT NULL,
    reason      text NOT NULL,
    PRIMARY KEY (cluster, scope)
);
COMMENT ON TABLE ledger.brake IS 'Pulled by `eni-ledger pause` or by the breaker; while a row is here that scope stands still.';
