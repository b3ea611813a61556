-- Words only: a story may also end because the cluster was given back to another controller.
COMMENT ON COLUMN audit.allocations.released_why IS
    'Why it was released: elastic, ttl, requested or never-allocated; returned: the cluster was given back to the incumbent with ENI and PodENI as they were, and what became of them is not known here.';
