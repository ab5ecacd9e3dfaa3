//! `_search`, `_msearch`, `_count`.
