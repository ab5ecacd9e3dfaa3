//! One file we know by its inode: what it is to us, and when it is looked at again.
//!
//! It plays one role at a time: a newcomer nobody knows yet (see [`super::newcomer`]), the carrier of a life it is read
//! for (see [`super::carrier`]), a copy that stands by in case the carrier goes, or one whose bytes were all read elsewhere.

use std::path::PathBuf;
use std::time::Duration;

use event::Timestamp;

use super::content::{Content, FileKey, Stat};
use super::newcomer::Newcomer;
use super::tailer::{POLL_EVERY, SCAN_EVERY};

/// A file is quiet when it did not grow for this long. Until then it is also watched for a replacement that left
/// size and time of change alone.
pub const QUIET_AFTER: Duration = Duration::from_secs(10);
/// The half last line of a file that is still written to is taken as it stands after this long.
pub const LIVE_HALF_LINE_WAITS: Duration = Duration::from_secs(60);
/// A deleted file is let go when it did not grow for this long: its writer may not have noticed yet.
const DELETED_IS_KEPT: Duration = Duration::from_secs(5);
/// A file that was renamed out of the patterns is let go when it did not grow for this long.
pub const RENAMED_IS_KEPT: Duration = Duration::from_secs(60);

/// One file we know by its inode.
pub(super) struct TailedFile {
    pub(super) key: FileKey,
    pub(super) path: PathBuf,
    pub(super) content: Option<Content>,
    pub(super) role: Role,
    /// Whether the last scan found a path to it.
    pub(super) is_listed: bool,
    /// When it was first found under a name outside of the patterns, while it was not open.
    pub(super) renamed_at: Option<Timestamp>,
    pub(super) seen: Option<Stat>,
    pub(super) changed_at: Timestamp,
    pub(super) next_check: Timestamp,
    /// Whether everything complete was read when it was last looked at.
    pub(super) is_drained: bool,
    /// Whether half a line waits behind what was read.
    pub(super) has_half_line: bool,
    /// Whether it waits for older files of the backlog.
    pub(super) is_in_backlog: bool,
    /// Whether the open content is known to begin as its life does; for compressed ones, which are not checked at
    /// every turn. While a file is closed, another one may take its inode.
    pub(super) is_head_checked: bool,
}

pub(super) enum Role {
    Newcomer(Newcomer),
    Follows(u64),
    CopyOf(u64),
    Unneeded,
}

/// What a turn did.
pub(super) enum After {
    /// Bytes looked at; 0 lets the caller rest.
    Keep(u64),
    /// The file is not to be followed any more.
    Lose,
}

impl TailedFile {
    pub(super) fn followed(&self) -> Option<u64> {
        match self.role {
            Role::Follows(life) => Some(life),
            _ => None,
        }
    }

    /// Whether it is open and not compressed.
    pub(super) fn is_plain(&self) -> bool {
        self.content
            .as_ref()
            .is_some_and(|content| !content.is_gzip())
    }

    pub(super) fn is_quiet(&self, now: Timestamp) -> bool {
        self.is_drained && is_over(now, self.changed_at, QUIET_AFTER)
    }

    /// Whether a file that is not open has nothing to read.
    pub(super) fn may_stay_closed(&self, now: Timestamp) -> bool {
        // File systems count time in steps of some milliseconds: what is written a second later shows.
        let is_settled = self.is_drained && is_over(now, self.changed_at, SCAN_EVERY);
        let is_to_flush = self.has_half_line && is_over(now, self.changed_at, LIVE_HALF_LINE_WAITS);
        is_settled && !is_to_flush && self.is_path_unchanged()
    }

    pub(super) fn is_path_unchanged(&self) -> bool {
        let (Some(seen), Ok(stat)) = (&self.seen, Stat::of_path(&self.path)) else {
            return false;
        };
        stat.key == self.key && stat.is_unchanged_since(seen)
    }

    /// There is nothing to read now: when to look again, or whether to let it go.
    pub(super) fn settle(&mut self, stat: &Stat, is_all_read: bool, now: Timestamp) -> After {
        let patience = match stat.is_unlinked {
            true => DELETED_IS_KEPT,
            false => RENAMED_IS_KEPT,
        };
        let is_gone = stat.is_unlinked || !self.is_listed;
        if is_gone && is_all_read && is_over(now, self.changed_at, patience) {
            return After::Lose;
        }
        let wait = match is_over(now, self.changed_at, QUIET_AFTER) {
            true => SCAN_EVERY,
            false => POLL_EVERY,
        };
        self.next_check = now.plus(wait);
        After::Keep(0)
    }
}

/// Whether `wait` has passed between the two.
pub(super) fn is_over(now: Timestamp, since: Timestamp, wait: Duration) -> bool {
    now >= since.plus(wait)
}
