//! Request bodies: read with a limit, decompressed with a limit.
