//! What every reply has in common: product header, `filter_path`, `pretty`, compression.
