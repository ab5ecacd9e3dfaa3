//! The handshake: `/`, `_nodes`, `_cluster`, `_license`, `_xpack`.

/// The id of the one node we are, as clients see it.
pub const NODE_ID: &str = "dayb00kNode1";
