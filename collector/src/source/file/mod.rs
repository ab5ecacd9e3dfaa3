//! Log files: followed through rotation, with checkpoints.
