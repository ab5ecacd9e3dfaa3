//! Joins lines that belong to one event: stack traces, dumps, continued statements.
//!
//! Presets know how traces look in the log of a language; a rule of the user's own is a pattern.
//! It only answers whether a line belongs together with its neighbour; the file source, which must know where the
//! event ends in the file, does the joining.

use std::time::Duration;

use regex::bytes::Regex;
use serde::{Deserialize, Serialize};

/// Longer events are cut between two lines; Filebeat's figure.
const LINES_MAX: usize = 500;
/// An event nothing is added to for this long is complete; Filebeat's figure.
const FLUSH_AFTER_SECONDS: u64 = 5;

/// `multiline: { start: '^\d{4}-' }`, `multiline: { preset: java }`, or Filebeat's `pattern`, `negate` and `match`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// A line that fits begins an event; all others continue it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// The lines of a stack trace continue the line before them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// A line that fits belongs to its neighbour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Whether it is the lines that do not fit `pattern` that belong to their neighbour.
    #[serde(default)]
    pub negate: bool,
    /// Which neighbour.
    #[serde(default, rename = "match")]
    pub side: Side,
    /// The most lines of one event; further ones begin a new event.
    #[serde(default = "lines_max")]
    pub lines_max: usize,
    /// An event nothing is added to for this many seconds is complete.
    #[serde(default = "flush_after_seconds")]
    pub flush_after_seconds: u64,
}

/// Whose stack traces are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Java, Kotlin, Scala: `at ...`, `Caused by: ...`, the exception's own line.
    Java,
    /// Python: `Traceback (most recent call last):` to the exception's line, chained ones too.
    Python,
    /// Go: goroutines and their frames behind `panic:` or a log line.
    Go,
    /// Node: `at ...`, the quoted source line, `[cause]`.
    Node,
    /// Ruby: `from ...` and Rails' unindented frames.
    Ruby,
}

impl Preset {
    /// What the lines look like that continue an event. A line alone decides, so a word of the application's own at
    /// the margin, as in a message of several lines, begins an event.
    fn pattern(self) -> &'static str {
        match self {
            // Indented lines of messages belong to them; an indented level (`%5p`) and a time begin an event.
            Preset::Java => {
                r"^\t|^\s+(?:at |[^\sA-Z\d]|[A-Z](?:[^A-Z]|$))|^\s*(?:Caused by|Suppressed|Wrapped by): |^(?:[\w$]+\.)+[\w$]*(?:Exception|Error|Throwable|Failure)\b|^### |^; "
            }
            // Behind the exception's line stand what PostgreSQL's driver and SQLAlchemy add to it.
            Preset::Python => {
                r"^Traceback \(most recent call last\):|^\s+\S|^(?:During handling of the above exception|The above exception was the direct cause)|^(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Warning|Exit|Interrupt|Iteration|Group|Timeout|NotFound|DoesNotExist|Failed|Failure)(?:: |$)|^(?:[A-Za-z_]\w*\.)+[A-Z]\w*: |^(?:DETAIL|HINT|CONTEXT|LINE \d+): |^\[(?:SQL|parameters): |^\(Background on this error at: "
            }
            Preset::Go => {
                r"^goroutine \d+ |^\s+\S|^\[signal |^\[originating from |^created by |^exit status \d+$|^panic\(.*\)$|^runtime stack:$|^PC=0x|^\.\.\.|^[\w./*()\[\]{}·~@-]+\.[\w.()*\[\]·-]+\(.*\)$|^(?:rax|rbx|rcx|rdx|rdi|rsi|rbp|rsp|r\d+|rip|rflags|cs|fs|gs)\s+0x"
            }
            Preset::Node => {
                r"^\s+at |^\s+\S|^\s*\^+\s*$|^\s*[}\]],?\s*$|^Node\.js v\d|^\(Use `node --trace"
            }
            // Rails writes the tags of a request in front of each line.
            Preset::Ruby => {
                r"^\s+(?:from |\d+: from )|^\s+\S|^(?:\[[\w-]+\] )*[\w./~@-]+\.\w+:\d+:in [`'][^']*'$|^(?:\[[\w-]+\] )+\s*$|^(?:\[[\w-]+\] )*[A-Z]\w*(?:::[A-Z]\w*)+ \(.*\):$"
            }
        }
    }

    /// What else continues an event when a blank line stands between: Node writes the error below the line it was
    /// thrown in.
    fn pattern_behind_blank(self) -> Option<&'static str> {
        match self {
            Preset::Node => Some(r"^(?:Uncaught )?[A-Za-z]*Error(?: \[\w+\])?(?::|$)"),
            Preset::Java | Preset::Python | Preset::Go | Preset::Ruby => None,
        }
    }
}

/// Which neighbour a line belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// It stands after the line it belongs to.
    #[default]
    After,
    /// It stands before the line it belongs to.
    Before,
}

/// The rule, ready to use.
#[derive(Debug, Clone)]
pub struct Multiline {
    pattern: Regex,
    negate: bool,
    /// Whether blank lines between lines that join are part of the event: in stack traces, where they are frequent.
    /// Those at the end never are.
    pub bridges_blank_lines: bool,
    behind_blank: Option<Regex>,
    /// Which neighbour a joining line belongs to.
    pub side: Side,
    /// The most lines of one event.
    pub lines_max: usize,
    /// How long an event waits for more lines.
    pub flush_after: Duration,
}

impl Multiline {
    /// Compiles the pattern.
    ///
    /// # Errors
    /// What is wrong with the settings, as a sentence.
    pub fn compile(settings: &Settings) -> Result<Multiline, String> {
        let (pattern, negate, side) = match (&settings.start, &settings.pattern, settings.preset) {
            (Some(start), None, None) => (start.as_str(), true, Side::After),
            (None, Some(pattern), None) => (pattern.as_str(), settings.negate, settings.side),
            (None, None, Some(preset)) => (preset.pattern(), false, Side::After),
            _ => {
                return Err(
                    "multiline needs either start, pattern or preset, for instance start: '^\\d{4}-' or preset: java"
                        .to_owned(),
                );
            }
        };
        if settings.lines_max == 0 {
            return Err("multiline.lines_max is 0; write at least 1".to_owned());
        }
        let compiled = Regex::new(pattern)
            .map_err(|error| format!("multiline pattern {pattern:?}: {error}"))?;
        let behind_blank = settings.preset.and_then(Preset::pattern_behind_blank);
        Ok(Multiline {
            pattern: compiled,
            negate,
            bridges_blank_lines: settings.preset.is_some(),
            behind_blank: behind_blank
                .map(Regex::new)
                .transpose()
                .map_err(|error| format!("multiline preset: {error}"))?,
            side,
            lines_max: settings.lines_max,
            flush_after: Duration::from_secs(settings.flush_after_seconds),
        })
    }

    /// Whether the line belongs to its neighbour: the one before it for [`Side::After`], else the one behind it.
    pub fn joins(&self, line: &[u8]) -> bool {
        self.pattern.is_match(line) != self.negate
    }

    /// The same for a line with a blank line in front of it, where [`Multiline::bridges_blank_lines`].
    pub fn joins_over_blank(&self, line: &[u8]) -> bool {
        let is_behind_blank = |pattern: &Regex| pattern.is_match(line);
        self.joins(line) || self.behind_blank.as_ref().is_some_and(is_behind_blank)
    }

    /// Whether nothing stands in the line.
    pub fn is_blank(line: &[u8]) -> bool {
        line.trim_ascii().is_empty()
    }
}

fn lines_max() -> usize {
    LINES_MAX
}

fn flush_after_seconds() -> u64 {
    FLUSH_AFTER_SECONDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn start_is_short_for_what_does_not_fit_belongs_to_the_line_before() {
        let settings: Settings = serde_json::from_str(r#"{"start":"^\\d"}"#).unwrap();
        let multiline = Multiline::compile(&settings).unwrap();
        assert_eq!(multiline.side, Side::After);
        assert!(!multiline.joins(b"2026 begins"));
        assert!(multiline.joins(b"  at x \xff"));
    }

    /// The events the lines of a log are joined to, by their first lines, blank lines as sources see them.
    fn begins(preset: &str, log: &str) -> Vec<String> {
        let settings: Settings =
            serde_json::from_str(&format!("{{\"preset\":\"{preset}\"}}")).unwrap();
        let multiline = Multiline::compile(&settings).unwrap();
        assert!(multiline.bridges_blank_lines);
        let (mut begins, mut is_behind_blank) = (Vec::new(), false);
        for line in log.lines() {
            let joins = match is_behind_blank {
                true => multiline.joins_over_blank(line.as_bytes()),
                false => multiline.joins(line.as_bytes()),
            };
            let is_blank = Multiline::is_blank(line.as_bytes());
            if !joins && !is_blank {
                begins.push(line.to_owned());
            }
            is_behind_blank = is_blank;
        }
        begins
    }

    #[test]
    fn stack_traces_are_one_event_each() {
        let cases = [
            (
                "java",
                "2026-11-23 10:00:00.123 ERROR 1 --- [main] c.e.Shop : cannot pay\n\
                 java.lang.IllegalStateException: no money\n\
                 \tat com.example.Shop.pay(Shop.java:42)\n\
                 \tat java.base/java.lang.Thread.run(Thread.java:840)\n\
                 Caused by: java.net.ConnectException: refused\n\
                 \t... 12 common frames omitted\n\
                 \tSuppressed: java.io.IOException: closed\n\
                 2026-11-23 10:00:01.000 INFO next",
                vec![
                    "2026-11-23 10:00:00.123 ERROR 1 --- [main] c.e.Shop : cannot pay",
                    "2026-11-23 10:00:01.000 INFO next",
                ],
            ),
            (
                "python",
                "ERROR:root:cannot pay\n\
                 Traceback (most recent call last):\n\
                 \x20 File \"a.py\", line 3, in pay\n\
                 \x20   raise ValueError(1)\n\
                 ValueError: 1\n\
                 \n\
                 During handling of the above exception, another exception occurred:\n\
                 \n\
                 Traceback (most recent call last):\n\
                 \x20 File \"a.py\", line 5, in <module>\n\
                 shop.errors.NoMoney: gone\n\
                 INFO:root:next",
                vec!["ERROR:root:cannot pay", "INFO:root:next"],
            ),
            (
                "go",
                "2026/11/23 10:00:00 start\n\
                 panic: runtime error: index out of range [5] with length 3\n\
                 \n\
                 goroutine 1 [running]:\n\
                 main.(*Shop).pay(0xc000012345, {0x1, 0x2})\n\
                 \t/src/main.go:12 +0x1d\n\
                 created by net/http.(*Server).Serve in goroutine 1\n\
                 \t/usr/local/go/src/net/http/server.go:3285 +0x4b4\n\
                 exit status 2\n\
                 2026/11/23 10:00:01 next",
                vec![
                    "2026/11/23 10:00:00 start",
                    "panic: runtime error: index out of range [5] with length 3",
                    "2026/11/23 10:00:01 next",
                ],
            ),
            (
                "node",
                "Error: cannot pay\n\
                 \x20   at pay (/app/shop.js:3:9)\n\
                 \x20   at async main (/app/shop.js:9:3) {\n\
                 \x20 [cause]: TypeError: x\n\
                 \x20     at y (node:internal/z:1:2)\n\
                 }\n\
                 \n\
                 Node.js v20.11.1\n\
                 listening on 3000",
                vec!["Error: cannot pay", "listening on 3000"],
            ),
            (
                "ruby",
                "shop.rb:3:in `pay': no money (RuntimeError)\n\
                 \tfrom shop.rb:7:in `block in <main>'\n\
                 app/models/shop.rb:12:in 'Shop#pay'\n\
                 I, [2026-11-23T10:00:00.000000 #1]  INFO -- : next",
                vec![
                    "shop.rb:3:in `pay': no money (RuntimeError)",
                    "I, [2026-11-23T10:00:00.000000 #1]  INFO -- : next",
                ],
            ),
            (
                "java",
                "2026-11-26 04:50:01.123 ERROR 1 --- [exec-1] o.a.c.c.C.[.[.[/] : threw exception with root cause\n\
                 \n\
                 org.postgresql.util.PSQLException: ERROR: duplicate key value violates unique constraint \"orders_pkey\"\n\
                 \x20 Detail: Key (id)=(7) already exists.\n\
                 \tat org.postgresql.core.v3.QueryExecutorImpl.execute(QueryExecutorImpl.java:2712) ~[postgresql-42.6.0.jar:42.6.0]\n\
                 ### Error updating database.  Cause: java.sql.SQLException\n\
                 ; bad SQL grammar []; nested exception is java.sql.SQLException\n\
                 \n\
                 \x20INFO [main] shop - padded levels begin\n\
                 Exception in thread \"main\" java.lang.NullPointerException: x\n\
                 \tat com.example.Main.main(Main.java:5)",
                vec![
                    "2026-11-26 04:50:01.123 ERROR 1 --- [exec-1] o.a.c.c.C.[.[.[/] : threw exception with root cause",
                    " INFO [main] shop - padded levels begin",
                    "Exception in thread \"main\" java.lang.NullPointerException: x",
                ],
            ),
            (
                "python",
                "2026-11-26 04:50:03,580 ERROR shop: db\n\
                 Traceback (most recent call last):\n\
                 \x20 File \"/srv/app.py\", line 3, in pay\n\
                 sqlalchemy.exc.IntegrityError: (psycopg2.errors.UniqueViolation) duplicate key value\n\
                 DETAIL:  Key (id)=(7) already exists.\n\
                 \n\
                 [SQL: INSERT INTO orders (id) VALUES (%(id)s)]\n\
                 [parameters: {'id': 7}]\n\
                 (Background on this error at: https://sqlalche.me/e/20/gkpj)\n\
                 2026-11-26 04:50:04,580 INFO shop: next",
                vec![
                    "2026-11-26 04:50:03,580 ERROR shop: db",
                    "2026-11-26 04:50:04,580 INFO shop: next",
                ],
            ),
            (
                "go",
                "2026/11/26 04:50:01 http: panic serving 127.0.0.1:54321: runtime error: nil pointer dereference\n\
                 goroutine 35 [running]:\n\
                 net/http.(*conn).serve.func1()\n\
                 \t/usr/local/go/src/net/http/server.go:1898 +0xbe\n\
                 panic({0x6a5f40?, 0x8f5d60?})\n\
                 \t/usr/local/go/src/runtime/panic.go:770 +0x132\n\
                 main.handler[...]({0x7a1b40, 0xc0001a4000}, 0xc0001a6000)\n\
                 \t/src/main.go:12 +0x1d\n\
                 \n\
                 fatal error: concurrent map writes\n\
                 \n\
                 goroutine 18 [running]:\n\
                 ...additional frames elided...",
                vec![
                    "2026/11/26 04:50:01 http: panic serving 127.0.0.1:54321: runtime error: nil pointer dereference",
                    "fatal error: concurrent map writes",
                ],
            ),
            (
                "node",
                "server started\n\
                 /srv/app/index.js:12\n\
                 \x20   throw new Error(\"cannot pay\");\n\
                 \x20   ^\n\
                 \n\
                 Error: cannot pay\n\
                 \x20   at pay (/srv/app/index.js:12:11)\n\
                 \n\
                 Node.js v20.11.1\n\
                 TypeError: on its own\n\
                 (Use `node --trace-warnings ...` to show where the warning was created)",
                vec![
                    "server started",
                    "/srv/app/index.js:12",
                    "TypeError: on its own",
                ],
            ),
            (
                "ruby",
                "F, [2026-11-26T04:50:01.123456 #1] FATAL -- : [8a1f-0] \n\
                 [8a1f-0] ActiveRecord::RecordNotFound (Couldn't find Order with 'id'=7):\n\
                 [8a1f-0]   \n\
                 [8a1f-0] app/controllers/orders_controller.rb:12:in `show'\n\
                 ActionView::Template::Error (undefined method `x' for nil):\n\
                 \x20   1: <h1>\n\
                 \x20 \n\
                 app/views/orders/show.html.erb:2:in `_show'\n\
                 I, [2026-11-26T04:50:02.000000 #1]  INFO -- : [8a1f-0] next",
                vec![
                    "F, [2026-11-26T04:50:01.123456 #1] FATAL -- : [8a1f-0] ",
                    "I, [2026-11-26T04:50:02.000000 #1]  INFO -- : [8a1f-0] next",
                ],
            ),
        ];
        for (preset, log, expected) in cases {
            assert_eq!(begins(preset, log), expected, "{preset}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (settings, part) in [
            ("{}", "either start, pattern or preset"),
            (
                r#"{"start":"a","pattern":"b"}"#,
                "either start, pattern or preset",
            ),
            (r#"{"pattern":"("}"#, "multiline pattern \"(\""),
            (r#"{"pattern":"a","lines_max":0}"#, "lines_max"),
        ] {
            let settings: Settings = serde_json::from_str(settings).unwrap();
            let problem = Multiline::compile(&settings).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
