//! Lines of one stream of one container that belong to one event, as `multiline` says.

use std::time::Duration;

use event::Timestamp;

use super::cursor::Mark;
use super::frames::Line;
use crate::transform::multiline::{Multiline, Side};

/// A line with its place, or several that were joined, with the place of the last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedLine {
    /// The time is that of the first.
    pub line: Line,
    /// `None` when the engine gave no time.
    pub mark: Option<Mark>,
}

/// Joins; without a rule it hands on.
pub struct Joiner {
    rule: Option<Multiline>,
    open: Option<Open>,
    event_bytes_max: usize,
}

struct Open {
    placed: PlacedLine,
    lines: usize,
    /// Bytes up to the last line that is not blank. Behind it stand blank lines that are of the event only when a line
    /// follows that is.
    text_bytes: usize,
}

impl Joiner {
    /// Nothing joined yet.
    pub fn new(rule: Option<Multiline>, event_bytes_max: usize) -> Joiner {
        Joiner {
            rule,
            open: None,
            event_bytes_max,
        }
    }

    /// Takes the next line; what is whole by then goes to `whole`.
    pub fn push(&mut self, placed: PlacedLine, whole: &mut Vec<PlacedLine>) {
        let Some(rule) = &self.rule else {
            whole.push(placed);
            return;
        };
        let is_behind_blank = |open: &Open| open.text_bytes < open.placed.line.text.len();
        let is_bridge = rule.bridges_blank_lines && Multiline::is_blank(&placed.line.text);
        let joins = match self.open.as_ref().is_some_and(is_behind_blank) {
            true => rule.joins_over_blank(&placed.line.text),
            false => rule.joins(&placed.line.text),
        };
        let (lines_max, side) = (rule.lines_max, rule.side);
        let belongs = match side {
            Side::After => joins || is_bridge,
            // What stands open waits for exactly this line.
            Side::Before => true,
        };
        if belongs && self.fits(&placed, lines_max) {
            self.append(placed, is_bridge);
        } else {
            whole.extend(self.flush());
            let text_bytes = placed.line.text.len();
            self.open = Some(Open {
                placed,
                lines: 1,
                text_bytes,
            });
        }
        if side == Side::Before && !joins {
            whole.extend(self.flush());
        }
    }

    /// What stands open is whole.
    pub fn flush(&mut self) -> Option<PlacedLine> {
        self.open.take().map(|mut open| {
            open.placed.line.text.truncate(open.text_bytes);
            open.placed
        })
    }

    /// How long what stands open waits for more; `None` when nothing does.
    pub fn waits(&self) -> Option<Duration> {
        self.open.as_ref()?;
        self.rule.as_ref().map(|rule| rule.flush_after)
    }

    /// The time of what stands open.
    pub fn oldest(&self) -> Option<Timestamp> {
        self.open.as_ref().and_then(|open| open.placed.line.time)
    }

    fn fits(&self, next: &PlacedLine, lines_max: usize) -> bool {
        self.open.as_ref().is_some_and(|open| {
            let bytes = open.placed.line.text.len() + 1 + next.line.text.len();
            open.lines < lines_max && bytes <= self.event_bytes_max
        })
    }

    fn append(&mut self, next: PlacedLine, is_blank: bool) {
        if let Some(open) = &mut self.open {
            let line = &mut open.placed.line;
            line.text.push(b'\n');
            line.text.extend_from_slice(&next.line.text);
            line.raw_bytes += next.line.raw_bytes;
            line.is_cut |= next.line.is_cut;
            open.placed.mark = next.mark.or(open.placed.mark);
            open.lines += 1;
            if !is_blank {
                open.text_bytes = line.text.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::docker::cursor::Channel;
    use crate::transform::multiline::Settings;

    fn joined(rule: Option<&str>, bytes_max: usize, lines: &[&str]) -> (Vec<String>, Vec<String>) {
        let rule = rule.map(|rule| {
            let settings: Settings = serde_json::from_str(rule).unwrap();
            Multiline::compile(&settings).unwrap()
        });
        let mut joiner = Joiner::new(rule, bytes_max);
        let mut whole = Vec::new();
        for (at, text) in lines.iter().enumerate() {
            let time = Timestamp::from_nanos(at as i64);
            let line = Line {
                channel: Channel::Stdout,
                time: Some(time),
                text: text.as_bytes().to_vec(),
                is_cut: false,
                raw_bytes: text.len() + 1,
            };
            let mark = Some(Mark { time, lines: 1 });
            joiner.push(PlacedLine { line, mark }, &mut whole);
        }
        let texts = |lines: Vec<PlacedLine>| {
            let text = |placed: PlacedLine| String::from_utf8(placed.line.text).unwrap();
            lines.into_iter().map(text).collect()
        };
        (texts(whole), texts(joiner.flush().into_iter().collect()))
    }

    #[test]
    fn lines_are_joined_as_in_files() {
        type Texts = &'static [&'static str];
        let cases: [(Option<&str>, Texts, Texts, Texts); 5] = [
            (None, &["a", "b"], &["a", "b"], &[]),
            (
                Some(r#"{"start":"^[A-Z]"}"#),
                &["A", " 1", " 2", "B"],
                &["A\n 1\n 2"],
                &["B"],
            ),
            (
                Some(r#"{"pattern":"-$","match":"before"}"#),
                &["a-", "b-", "c", "d", "e-"],
                &["a-\nb-\nc", "d"],
                &["e-"],
            ),
            (
                Some(r#"{"pattern":"^ ","lines_max":2}"#),
                &["A", " 1", " 2", " 3"],
                &["A\n 1"],
                &[" 2\n 3"],
            ),
            (
                Some(r#"{"preset":"go"}"#),
                &["panic: x", "", "goroutine 1 [running]:", "", "", "next", ""],
                &["panic: x\n\ngoroutine 1 [running]:"],
                &["next"],
            ),
        ];
        for (rule, lines, whole, open) in cases {
            let (found, waiting) = joined(rule, 100, lines);
            assert_eq!(
                (&found[..], &waiting[..]),
                (
                    &whole
                        .iter()
                        .map(|text| (*text).to_owned())
                        .collect::<Vec<_>>()[..],
                    &open
                        .iter()
                        .map(|text| (*text).to_owned())
                        .collect::<Vec<_>>()[..],
                )
            );
        }
        let (found, waiting) = joined(Some(r#"{"pattern":"^ "}"#), 5, &["A", " 12", " 3"]);
        assert_eq!(
            (found, waiting),
            (vec!["A\n 12".to_owned()], vec![" 3".to_owned()])
        );
    }
}
