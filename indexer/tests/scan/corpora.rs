//! What is sent to an index, in which steps: events of one kind, with ids now and then, replaced and deleted, with
//! refreshes in between, so that there are several segments, or so many that they are merged.

use event::{Operation, Timestamp};

use super::odd::{self, quote};
use super::random::Random;
use super::templates::{TEMPLATES, fill, hex, host, ip, letters, name, path, uuid, word};

/// 2026-11-23T00:00:00Z.
const MIDNIGHT_MILLIS: i64 = 1_795_392_000_000;

/// A history of an index.
pub struct Corpus {
    pub kind: Kind,
    pub steps: Vec<Step>,
}

pub enum Step {
    Add(Vec<Sent>),
    Refresh,
}

/// One event as it is sent.
#[derive(Clone)]
pub struct Sent {
    pub operation: Operation,
    pub id: Id,
    pub timestamp: Timestamp,
    pub source: String,
}

#[derive(Clone, PartialEq, Eq)]
pub enum Id {
    /// The index makes one.
    None,
    Given(String),
    /// The one that the index made for the event at this position.
    Made(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What services print.
    Logs,
    /// Messages of random letters.
    Words,
    /// Messages of random numbers.
    Ids,
    /// No two messages are alike.
    Unique,
    /// Few documents, many times.
    Repeated,
    /// Some documents that are odd in every way.
    Odd,
}

const KINDS: [Kind; 12] = [
    Kind::Logs,
    Kind::Odd,
    Kind::Logs,
    Kind::Words,
    Kind::Logs,
    Kind::Odd,
    Kind::Ids,
    Kind::Logs,
    Kind::Odd,
    Kind::Unique,
    Kind::Logs,
    Kind::Repeated,
];

/// What holds for all documents of a corpus, because a name means one path in the whole of it.
struct Habits {
    trace_key: &'static str,
    has_keyword_field: bool,
}

impl Corpus {
    /// The corpus of a seed; the seeds go round the kinds.
    pub fn new(seed: u64, random: &mut Random) -> Corpus {
        let kind = KINDS[seed as usize % KINDS.len()];
        let count = match kind {
            Kind::Odd => random.between(1, 20),
            Kind::Unique | Kind::Words | Kind::Ids => random.between(30, 120),
            Kind::Logs | Kind::Repeated => random.between(60, 250),
        };
        let habits = Habits {
            trace_key: if random.percent(50) {
                "trace.id"
            } else {
                "trace_id"
            },
            has_keyword_field: random.percent(20),
        };
        let days = if random.percent(20) { 2 } else { 1 };
        let mut documents: Vec<(Timestamp, String)> = Vec::new();
        for number in 0..count {
            let repeats = kind == Kind::Repeated && documents.len() > 6 && random.percent(80);
            if repeats {
                documents.push(documents[random.below(6)].clone());
                continue;
            }
            let day_millis = 86_400_000 * random.below(days) as i64;
            let millis = MIDNIGHT_MILLIS + day_millis + 997 * number as i64;
            let timestamp = Timestamp::from_millis(millis).unwrap();
            let mut fields = document(random, kind, timestamp, &habits);
            if habits.has_keyword_field {
                fields.push(format!("\"label\":{{\"keyword\":\"{}\"}}", word(random)));
            }
            if random.percent(8) {
                let edge = odd::border_text(random);
                fields.push(format!("\"edge\":{}", quote(random, &edge)));
            }
            documents.push((timestamp, object(random, &fields)));
        }
        Corpus {
            kind,
            steps: steps(random, documents),
        }
    }
}

/// Sends the documents in batches, and does to some of them what clients do.
fn steps(random: &mut Random, documents: Vec<(Timestamp, String)>) -> Vec<Step> {
    let batch_max = random.pick(&[3, 20, 1000]);
    let refresh_percent = random.pick(&[0, 30, 90]);
    let id_percent = random.pick(&[0, 0, 20]);
    let mut steps = Vec::new();
    let mut sent: Vec<Sent> = Vec::new();
    let mut batch = Vec::new();
    for (timestamp, source) in documents {
        let has_id = random.percent(id_percent);
        let again = again(random, &sent, id_percent);
        let id = match has_id {
            true => Id::Given(format!(
                "{}-{}",
                random.pick(&["id", "ÄB", "x y", "0"]),
                sent.len()
            )),
            false => Id::None,
        };
        let operation = if has_id {
            Operation::Index
        } else {
            Operation::Create
        };
        let event = Sent {
            operation,
            id,
            timestamp,
            source,
        };
        for event in [Some(event), again].into_iter().flatten() {
            sent.push(event.clone());
            batch.push(event);
        }
        if batch.len() >= random.between(1, batch_max) {
            steps.push(Step::Add(std::mem::take(&mut batch)));
            if random.percent(refresh_percent) {
                steps.push(Step::Refresh);
            }
        }
    }
    steps.push(Step::Add(batch));
    steps
}

/// Replaces or deletes what was sent before, now and then. An id always has the same day: moving it to another is the
/// intake's business.
fn again(random: &mut Random, sent: &[Sent], id_percent: usize) -> Option<Sent> {
    let position = random.below(3 * sent.len() + 1);
    let earlier = sent.get(position).filter(|_| id_percent > 0)?;
    let id = match &earlier.id {
        Id::None => Id::Made(position as u64),
        given => given.clone(),
    };
    let is_deleted = id == Id::Made(position as u64) || random.percent(50);
    Some(match is_deleted || earlier.source.is_empty() {
        true => Sent {
            operation: Operation::Delete,
            id,
            timestamp: earlier.timestamp,
            source: String::new(),
        },
        false => Sent {
            operation: Operation::Index,
            id,
            timestamp: earlier.timestamp,
            source: format!("{{\"again\":{position},\"old\":{}}}", earlier.source),
        },
    })
}

fn object(random: &mut Random, fields: &[String]) -> String {
    match random.below(10) {
        0 => format!("{{ {} }}", fields.join(" , ")),
        1 => format!("{{\n  {}\n}}", fields.join(",\n  ")),
        _ => format!("{{{}}}", fields.join(",")),
    }
}

/// The fields of a document: `"key":value` each.
fn document(random: &mut Random, kind: Kind, timestamp: Timestamp, habits: &Habits) -> Vec<String> {
    let mut fields = match kind {
        Kind::Logs | Kind::Repeated => return logs(random, timestamp, habits),
        Kind::Odd => odd::fields(random),
        Kind::Words => {
            let words: Vec<String> = (0..random.between(1, 30))
                .map(|_| {
                    let count = random.between(1, 12);
                    letters(random, count)
                })
                .collect();
            let count = random.between(1, 4);
            vec![
                format!("\"message\":\"{}\"", words.join(" ")),
                format!("\"short\":\"{}\"", letters(random, count)),
            ]
        }
        Kind::Ids => {
            let ids: Vec<String> = (0..random.between(1, 5)).map(|_| hex(random, 16)).collect();
            vec![
                format!(
                    "\"message\":\"{}\"",
                    ids.join(random.pick(&[" ", "-", ","]))
                ),
                format!("\"id\":\"{}\"", hex(random, 16)),
                format!("\"number\":{}", random.next() >> 12),
            ]
        }
        Kind::Unique => {
            let mut message = String::new();
            for _ in 0..random.between(2, 40) {
                message.push_str(&word(random));
                message.push_str(random.pick(&[" ", " ", "=", ": ", "/", "\\n", "\\\"", "."]));
            }
            vec![format!("\"message\":\"{message}\"")]
        }
    };
    if random.percent(60) {
        fields.push(time_field(random, timestamp));
    }
    fields
}

fn time_field(random: &mut Random, timestamp: Timestamp) -> String {
    let text = timestamp.to_rfc3339();
    match random.below(6) {
        0 => format!("\"@timestamp\":\"{}\"", text.replace('Z', "+00:00")),
        1 => format!("\"@timestamp\":{}", timestamp.millis()),
        _ => format!("\"@timestamp\":\"{text}\""),
    }
}

/// One document of a service, in the shape that its shipper writes.
fn logs(random: &mut Random, timestamp: Timestamp, habits: &Habits) -> Vec<String> {
    let (service, level, template) = random.pick(&TEMPLATES);
    let message = fill(random, template, timestamp);
    let message = quote(random, &message);
    let user = name(random);
    let user = quote(random, &user);
    let status = random.pick(&[200, 200, 200, 404, 500]);
    let trace = format!("\"{}\":\"{}\"", habits.trace_key, hex(random, 32));
    let mut fields = match random.below(5) {
        0 => vec![
            time_field(random, timestamp),
            format!("\"message\":{message}"),
            format!(
                "\"log\":{{\"level\":\"{level}\",\"logger\":\"org.{}.{}\"}}",
                word(random),
                word(random)
            ),
            format!(
                "\"service\":{{\"name\":\"{service}\",\"node\":{{\"id\":{}}}}}",
                random.below(3)
            ),
            format!(
                "\"host\":{{\"name\":\"{}\",\"ip\":[\"{}\",\"{}\"]}}",
                host(random),
                ip(random),
                ip(random)
            ),
            trace,
            format!(
                "\"event\":{{\"duration\":{},\"dataset\":\"{service}.log\"}}",
                random.below(1_000_000_000)
            ),
            format!("\"tags\":[\"{}\",\"{level}\"]", word(random)),
        ],
        1 => vec![
            format!("\"ts\":\"{}\"", timestamp.to_rfc3339()),
            format!("\"level\":\"{}\"", level.to_uppercase()),
            format!("\"msg\":{message}"),
            format!("\"user\":{user}"),
            format!("\"status\":{status}"),
            format!(
                "\"duration_ms\":{}.{}",
                random.below(1000),
                random.below(100)
            ),
            format!("\"ok\":{}", status == 200),
        ],
        2 => vec![
            time_field(random, timestamp),
            format!("\"service.name\":\"{service}\""),
            format!("\"log.level\":\"{level}\""),
            format!("\"message\":{message}"),
            format!(
                "\"http.request.method\":\"{}\"",
                random.pick(&["GET", "POST"])
            ),
            format!(
                "\"http\":{{\"response\":{{\"status_code\":{status},\"bytes\":{}}}}}",
                random.below(100_000)
            ),
            format!("\"url.path\":\"{}\"", path(random)),
            format!("\"client.ip\":\"{}\"", ip(random)),
            trace,
        ],
        3 => vec![
            format!("\"log\":{message}"),
            format!("\"stream\":\"{}\"", random.pick(&["stdout", "stderr"])),
            format!("\"time\":\"{}\"", timestamp.to_rfc3339()),
            format!("\"container_id\":\"{}\"", hex(random, 64)),
        ],
        _ => vec![
            time_field(random, timestamp),
            format!("\"body\":{message}"),
            format!("\"severity_text\":\"{level}\""),
            format!(
                "\"attributes\":{{\"user.name\":{user},\"retry\":{},\"request\":\"{}\",\"took\":{}}}",
                random.below(4),
                uuid(random),
                random.pick(&["0.470", "1e3", "12", "3.0"])
            ),
            format!(
                "\"resource\":{{\"service.name\":\"{service}\",\"host.name\":\"{}\"}}",
                host(random)
            ),
            trace,
        ],
    };
    if level == "error" {
        let detail = fill(random, "{word} failed\n{stack}", timestamp);
        fields.push(format!(
            "\"error\":{{\"stack_trace\":{},\"code\":\"E{}\"}}",
            quote(random, &detail),
            random.below(50)
        ));
    }
    if random.percent(15) {
        let odd = odd::text(random);
        fields.push(format!("\"note\":{}", quote(random, &odd)));
    }
    if random.percent(5) {
        fields.extend(odd::fields(random));
    }
    fields
}
