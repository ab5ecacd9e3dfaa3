//! Source, transforms, journal: what happens to a batch between its socket and its Ack.
