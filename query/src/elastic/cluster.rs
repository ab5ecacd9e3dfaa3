//! The handshake: `/`, `_nodes`, `_cluster`, `_license`, `_xpack`.
