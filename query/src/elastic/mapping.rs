//! Fields: `_mapping`, `_field_caps`.
