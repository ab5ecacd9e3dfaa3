//! Joins lines that belong to one event.
