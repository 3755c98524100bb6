-- The tree over all records. Leaves are numbered behind the appends, in order of arrival.
DROP TABLE tree;
CREATE TABLE tree (
    entry INTEGER PRIMARY KEY,
    leaf_index INTEGER NOT NULL,
    leaf_hash BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX tree_by_leaf ON tree (leaf_index);

-- Hashes of subtrees above the leaves, by their positions in the dense order.
CREATE TABLE tree_node (
    position INTEGER PRIMARY KEY,
    hash BLOB NOT NULL
) STRICT;

-- What was signed about the tree.
CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY,
    note TEXT NOT NULL,
    made_at_ms INTEGER NOT NULL
) STRICT;
