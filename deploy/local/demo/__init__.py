"""`make demo`: the product document's own example, played on a local stack and narrated."""
