//! Lists of indices: `_cat/indices`, `_resolve/index`, `_data_stream`.
