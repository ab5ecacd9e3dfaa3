//! Single documents: `_doc`, `_source`, `_mget`.
