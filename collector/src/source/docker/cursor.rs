//! How far one container's log has been read, as it stands in checkpoints, and what to pass over when it is read again.
//!
//! The engine numbers nothing; all it gives is a time in nanoseconds with each message. Each of the two streams is
//! written by one goroutine of the engine, so within a stream the order in the log is the order of the times, and
//! several messages may have the same one. Between the streams there is no such order: a line of stderr may stand
//! behind a line of stdout that is a little younger. Therefore a place is kept for each stream for itself.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use event::Timestamp;
use xxhash_rust::xxh3::xxh3_64_with_seed;

const VERSION: u8 = 1;

/// Between taking the time of a line and writing the line, the engine may be held up by the other stream's writer.
pub const RACE: Duration = Duration::from_secs(2);

/// The engine repeats some lines at most; a few bytes each.
const RECENT_LINES: usize = 1024;

/// Where a line came from. A container with a terminal has one stream only, which counts as `Stdout`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Channel {
    /// As the engine's own files name it.
    pub fn name(self) -> &'static str {
        match self {
            Channel::Stdout => "stdout",
            Channel::Stderr => "stderr",
        }
    }
}

/// The last line of one stream that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Its time.
    pub time: Timestamp,
    /// How many lines of just this time were taken, it among them. At least 1.
    pub lines: u32,
}

/// How far a container's log was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    /// Nothing that was not taken is older, races apart: the time of the line taken last, or of an unfinished one
    /// that began before it.
    pub since: Timestamp,
    /// By [`Channel`].
    pub marks: [Option<Mark>; 2],
}

impl Cursor {
    /// From when on the engine is to be asked.
    pub fn ask_since(&self) -> Timestamp {
        self.since.minus(RACE)
    }

    /// Version, `since`, then for each stream its number of lines (0: none was taken) and their time; big endian.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(33);
        out.put_u8(VERSION);
        out.put_i64(self.since.nanos());
        for mark in self.marks {
            out.put_u32(mark.map_or(0, |mark| mark.lines));
            out.put_i64(mark.map_or(0, |mark| mark.time.nanos()));
        }
        out.freeze()
    }

    /// Reads [`Cursor::encode`]; `None` when it is none.
    pub fn decode(mut bytes: &[u8]) -> Option<Cursor> {
        if bytes.try_get_u8().ok()? != VERSION {
            return None;
        }
        let mut cursor = Cursor {
            since: Timestamp::from_nanos(bytes.try_get_i64().ok()?),
            marks: [None; 2],
        };
        for mark in &mut cursor.marks {
            let lines = bytes.try_get_u32().ok()?;
            let time = Timestamp::from_nanos(bytes.try_get_i64().ok()?);
            *mark = (lines > 0).then_some(Mark { time, lines });
        }
        bytes.is_empty().then_some(cursor)
    }
}

/// Passes over what was taken before, in one stream of a log: what is read again after the log was opened again, and
/// what the engine says twice.
#[derive(Debug)]
pub struct Resume {
    taken: Option<Mark>,
    /// Lines of the time of `taken` seen again so far.
    seen: u32,
    is_behind: bool,
    last: Option<Mark>,
    /// Hashes of the lines before, the newest last.
    recent: VecDeque<u64>,
}

impl Resume {
    /// Goes on behind `taken`.
    pub fn behind(taken: Option<Mark>) -> Resume {
        Resume {
            is_behind: taken.is_some(),
            ..Resume::at(taken)
        }
    }

    /// Goes on from `taken`, where nothing is read again.
    pub fn at(taken: Option<Mark>) -> Resume {
        Resume {
            taken,
            seen: 0,
            is_behind: false,
            last: taken,
            recent: VecDeque::new(),
        }
    }

    /// Whether the place was not found yet.
    pub fn is_behind(&self) -> bool {
        self.is_behind
    }

    /// The mark of a line, or `None` when it was taken before.
    pub fn line(&mut self, time: Timestamp, text: &[u8]) -> Option<Mark> {
        let hash = xxh3_64_with_seed(text, time.nanos().cast_unsigned());
        if self.repeats(time, hash) {
            return None;
        }
        if self.recent.len() == RECENT_LINES {
            self.recent.pop_front();
        }
        self.recent.push_back(hash);
        self.line_of_file(time)
    }

    /// As [`Resume::line`], for the engine's files, in which nothing stands twice: there pieces of one long line, of one
    /// time and perhaps one text, may come as lines.
    pub fn line_of_file(&mut self, time: Timestamp) -> Option<Mark> {
        if self.is_behind && self.was_taken(time) {
            return None;
        }
        let lines = match self.last {
            Some(last) if last.time == time => last.lines.saturating_add(1),
            _ => 1,
        };
        self.last = Some(Mark { time, lines });
        self.last
    }

    /// Whether a line of this time was taken before, when its end has not been seen yet: [`Resume::line_of_file`] is told
    /// of it with its end.
    pub fn is_taken(&self, time: Timestamp) -> bool {
        self.is_behind && self.taken.is_some_and(|taken| time <= taken.time)
    }

    /// Engines up to 20.10, at least, say the last lines of a file again after they rotated it. Two lines of one
    /// nanosecond and one text are no two lines: the engine takes longer than that for one.
    fn repeats(&self, time: Timestamp, hash: u64) -> bool {
        let goes_on = self.is_behind || self.last.is_none_or(|last| time > last.time);
        !goes_on && self.recent.contains(&hash)
    }

    fn was_taken(&mut self, time: Timestamp) -> bool {
        let Some(taken) = self.taken else {
            return false;
        };
        if time < taken.time {
            return true;
        }
        if time > taken.time {
            self.is_behind = false;
            return false;
        }
        self.seen += 1;
        // From here on everything is new, even when the engine's clock was put back.
        self.is_behind = self.seen < taken.lines;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(nanos: i64) -> Timestamp {
        Timestamp::from_nanos(nanos)
    }

    #[test]
    fn lines_of_one_time_are_counted() {
        let lines = [(5, b"a"), (7, b"a"), (7, b"b"), (7, b"c"), (9, b"c")];
        let read = |mut resume: Resume| -> Vec<Mark> {
            let lines = lines.iter();
            lines
                .filter_map(|(time, text)| resume.line(at(*time), *text))
                .collect()
        };
        let marks = read(Resume::behind(None));
        assert_eq!(marks.len(), 5);
        for (taken, mark) in marks.iter().enumerate() {
            let rest = read(Resume::behind(Some(*mark)));
            assert_eq!(rest, marks[taken + 1..], "{mark:?}");
        }
    }

    #[test]
    fn a_clock_put_back_loses_nothing_behind_the_place() {
        let mut resume = Resume::behind(Some(Mark {
            time: at(100),
            lines: 1,
        }));
        let taken: Vec<bool> = [90, 100, 50, 60, 100]
            .iter()
            .map(|time| resume.line(at(*time), b"").is_some())
            .collect();
        assert_eq!(taken, [false, false, true, true, true]);
    }

    #[test]
    fn what_the_engine_says_twice_is_taken_once() {
        let mut resume = Resume::behind(None);
        let said = [
            (1, "a"),
            (2, "b"),
            (3, "c"),
            (2, "b"),
            (3, "c"),
            (3, "c"),
            (4, "d"),
            (4, "d"),
            (3, "new"),
        ];
        let taken: Vec<&str> = said
            .iter()
            .filter(|(time, text)| resume.line(at(*time), text.as_bytes()).is_some())
            .map(|(_, text)| *text)
            .collect();
        assert_eq!(taken, ["a", "b", "c", "d", "new"]);
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let cursor = Cursor {
            since: at(1_795_428_000_000_000_001),
            marks: [
                Some(Mark {
                    time: at(3),
                    lines: 2,
                }),
                None,
            ],
        };
        let bytes = cursor.encode();
        assert_eq!(Cursor::decode(&bytes), Some(cursor));
        assert_eq!(Cursor::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Cursor::decode(b""), None);
        assert_eq!(Cursor::decode(&[&bytes[..], b"x"].concat()), None);
    }

    proptest! {
        /// However often a log is opened again, and from however early, each line is taken once.
        #[test]
        fn every_line_is_taken_once(
            steps in proptest::collection::vec(0i64..3, 1..40),
            stops in proptest::collection::vec(1usize..10, 0..6),
        ) {
            let mut time = 0;
            let lines: Vec<(Timestamp, String)> = steps
                .iter()
                .enumerate()
                .map(|(number, step)| {
                    time += step;
                    (at(time), number.to_string())
                })
                .collect();
            let (mut taken, mut mark) = (0, None);
            for stop in stops.into_iter().chain([usize::MAX]) {
                let mut resume = Resume::behind(mark);
                let since = mark.map_or(at(0), |mark: Mark| mark.time.minus(Duration::from_nanos(1)));
                let again = lines.iter().filter(|(time, _)| *time >= since);
                let marks = again.filter_map(|(time, text)| resume.line(*time, text.as_bytes()));
                let marks: Vec<Mark> = marks.take(stop).collect();
                taken += marks.len();
                mark = marks.last().copied().or(mark);
            }
            prop_assert_eq!(taken, lines.len());
        }
    }
}
