//! What to find: the question after the dialect is gone.
