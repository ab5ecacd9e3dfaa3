//! The form of `_cat`: a table as text, or a list of objects whose values are texts.

use axum::response::{IntoResponse, Response};
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};

use super::error::ElasticError;
use super::params::Params;
use super::target::Pattern;

/// One column: its name, its short names, how it is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    pub(super) name: &'static str,
    pub(super) aliases: &'static [&'static str],
    pub(super) is_number: bool,
    /// Shown when the client does not choose.
    pub(super) is_default: bool,
}

/// A column of texts, shown by default.
pub(super) const fn text(name: &'static str, aliases: &'static [&'static str]) -> Column {
    Column {
        name,
        aliases,
        is_number: false,
        is_default: true,
    }
}

/// A column of numbers, shown by default and at the right edge.
pub(super) const fn number(name: &'static str, aliases: &'static [&'static str]) -> Column {
    Column {
        is_number: true,
        ..text(name, aliases)
    }
}

/// The same, shown only when it is asked for.
pub(super) const fn hidden(column: Column) -> Column {
    Column {
        is_default: false,
        ..column
    }
}

/// A value of a table.
#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub(super) enum Cell {
    /// Nothing: empty in text, null in JSON.
    Empty,
    Text(String),
    Number(u64),
    /// Bytes, written as the parameter `bytes` says.
    Bytes(u64),
}

/// A table whose rows have one cell per column.
pub(super) struct Table {
    pub(super) columns: &'static [Column],
    pub(super) rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Answers as the client asks: `format=json` or `Accept`, `h` columns, `s` order, `v` with a header, `bytes`
    /// as the unit, `help`.
    ///
    /// # Errors
    /// 400 for a flag, unit or order that does not exist.
    pub(super) fn into_reply(
        mut self,
        params: &Params,
        headers: &HeaderMap,
    ) -> Result<Response, ElasticError> {
        if params.flag("help", false)? {
            return Ok(plain_text(self.help()));
        }
        self.sort(params)?;
        let unit = Unit::of(params)?;
        let shown = self.shown_columns(params);
        if wants_json(params, headers) {
            return Ok(axum::Json(self.objects(&shown, unit)).into_response());
        }
        let has_header = params.flag("v", false)?;
        Ok(plain_text(self.lines(&shown, unit, has_header)))
    }

    fn column(&self, name: &str) -> Option<usize> {
        let mut columns = self.columns.iter();
        columns.position(|column| column.name == name || column.aliases.contains(&name))
    }

    /// The columns to show, in order. Names that fit none are left out, as Elasticsearch does.
    fn shown_columns(&self, params: &Params) -> Vec<usize> {
        let Some(names) = params.list("h") else {
            let defaults = (0..self.columns.len()).filter(|at| self.columns[*at].is_default);
            return defaults.collect();
        };
        let mut shown = Vec::new();
        for name in names {
            if Pattern::is_wildcard(name) {
                let pattern = Pattern::new(name);
                let all = self.columns.iter().enumerate();
                let fitting = all.filter(|(_, column)| pattern.matches(column.name));
                shown.extend(fitting.map(|(at, _)| at));
            } else {
                shown.extend(self.column(name));
            }
        }
        shown
    }

    fn sort(&mut self, params: &Params) -> Result<(), ElasticError> {
        let Some(keys) = params.list("s") else {
            return Ok(());
        };
        // The last key first: each sort keeps the order of equals.
        for key in keys.iter().rev() {
            let (name, order) = key.rsplit_once(':').unwrap_or((key, "asc"));
            let is_descending = match order {
                "asc" => false,
                "desc" => true,
                _ => {
                    return Err(ElasticError::illegal_argument(format!(
                        "unknown order [{order}] of column [{name}], expected asc or desc"
                    )));
                }
            };
            let Some(at) = self.column(name) else {
                return Err(ElasticError::illegal_argument(format!(
                    "Unable to sort by unknown sort key `{name}`"
                )));
            };
            self.rows.sort_by(|a, b| {
                let order = a[at]
                    .partial_cmp(&b[at])
                    .unwrap_or(std::cmp::Ordering::Equal);
                if is_descending {
                    order.reverse()
                } else {
                    order
                }
            });
        }
        Ok(())
    }

    fn objects(&self, shown: &[usize], unit: Unit) -> Value {
        let objects = self.rows.iter().map(|row| {
            let fields = shown.iter().map(|at| {
                let value = match &row[*at] {
                    Cell::Empty => Value::Null,
                    cell => Value::String(unit.write(cell)),
                };
                (self.columns[*at].name.to_owned(), value)
            });
            Value::Object(fields.collect::<Map<_, _>>())
        });
        Value::Array(objects.collect())
    }

    fn lines(&self, shown: &[usize], unit: Unit, has_header: bool) -> String {
        let header = shown.iter().map(|at| self.columns[*at].name.to_owned());
        let mut lines: Vec<Vec<String>> = Vec::with_capacity(self.rows.len() + 1);
        lines.extend(has_header.then(|| header.collect()));
        for row in &self.rows {
            lines.push(shown.iter().map(|at| unit.write(&row[*at])).collect());
        }
        let width = |column: usize| {
            let widths = lines.iter().map(|line| line[column].chars().count());
            widths.max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..shown.len()).map(width).collect();
        let mut text = String::new();
        for line in &lines {
            for (column, value) in line.iter().enumerate() {
                let width = widths[column];
                let is_last = column + 1 == shown.len();
                match self.columns[shown[column]].is_number {
                    true => text.push_str(&format!("{value:>width$}")),
                    false if is_last => text.push_str(value),
                    false => text.push_str(&format!("{value:<width$}")),
                }
                text.push(if is_last { '\n' } else { ' ' });
            }
        }
        text
    }

    fn help(&self) -> String {
        let lines = self
            .columns
            .iter()
            .map(|column| format!("{} | {}\n", column.name, column.aliases.join(",")));
        lines.collect()
    }
}

fn plain_text(text: String) -> Response {
    let content_type = HeaderValue::from_static("text/plain; charset=UTF-8");
    ([(CONTENT_TYPE, content_type)], text).into_response()
}

fn wants_json(params: &Params, headers: &HeaderMap) -> bool {
    if let Some(format) = params.text("format") {
        return format == "json";
    }
    let accepted = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    accepted.is_some_and(|accepted| {
        accepted.starts_with("application/json")
            || accepted.starts_with("application/vnd.elasticsearch+json")
    })
}

/// How bytes are written.
#[derive(Debug, Clone, Copy)]
enum Unit {
    /// With the largest unit that fits and one digit behind the point: `1.2kb`.
    Human,
    /// Whole multiples of so many bytes, without a unit.
    Of(u64),
}

impl Unit {
    fn of(params: &Params) -> Result<Unit, ElasticError> {
        let Some(name) = params.text("bytes") else {
            return Ok(Unit::Human);
        };
        let exponent = match name.trim_end_matches('b') {
            "" => 0,
            "k" => 1,
            "m" => 2,
            "g" => 3,
            "t" => 4,
            "p" => 5,
            _ => {
                return Err(ElasticError::illegal_argument(format!(
                    "unknown unit [{name}] of [bytes], expected b, kb, mb, gb, tb or pb"
                )));
            }
        };
        Ok(Unit::Of(1024u64.pow(exponent)))
    }

    fn write(self, cell: &Cell) -> String {
        match (cell, self) {
            (Cell::Empty, _) => String::new(),
            (Cell::Text(text), _) => text.clone(),
            (Cell::Number(number), _) => number.to_string(),
            (Cell::Bytes(bytes), Unit::Of(unit)) => (bytes / unit).to_string(),
            (Cell::Bytes(bytes), Unit::Human) => human_bytes(*bytes),
        }
    }
}

/// `0b`, `512b`, `1.5kb`, `12kb`: one digit behind the point, cut, and none when it is 0.
pub(super) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kb", "mb", "gb", "tb", "pb"];
    if bytes < 1024 {
        return format!("{bytes}b");
    }
    let mut unit_bytes = 1024u64;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if bytes / unit_bytes < 1024 {
            break;
        }
        unit_bytes *= 1024;
        unit = next;
    }
    let whole = bytes / unit_bytes;
    let tenth = (bytes % unit_bytes) * 10 / unit_bytes;
    match tenth {
        0 => format!("{whole}{unit}"),
        tenth => format!("{whole}.{tenth}{unit}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[
        text("index", &["i", "idx"]),
        number("docs.count", &["dc"]),
        number("store.size", &["ss"]),
        hidden(text("note", &[])),
    ];

    fn reply(query: &str) -> String {
        let cell = |text: &str| Cell::Text(text.to_owned());
        let table = Table {
            columns: COLUMNS,
            rows: vec![
                vec![
                    cell("logs"),
                    Cell::Number(9),
                    Cell::Bytes(1536),
                    Cell::Empty,
                ],
                vec![
                    cell("a"),
                    Cell::Number(120),
                    Cell::Bytes(12 * 1024),
                    cell("n"),
                ],
            ],
        };
        let params = Params::of(&format!("/?{query}").parse().unwrap());
        let shown = table.shown_columns(&params);
        let mut table = table;
        table.sort(&params).unwrap();
        let unit = Unit::of(&params).unwrap();
        match wants_json(&params, &HeaderMap::new()) {
            true => table.objects(&shown, unit).to_string(),
            false => table.lines(&shown, unit, params.flag("v", false).unwrap()),
        }
    }

    #[test]
    fn columns_rows_and_units_are_chosen() {
        let cases = [
            ("", "logs   9 1.5kb\na    120  12kb\n"),
            (
                "v",
                "index docs.count store.size\nlogs           9      1.5kb\na            120       12kb\n",
            ),
            ("h=idx", "logs\na\n"),
            ("h=d*,i&bytes=b", "  9 logs\n120 a\n"),
            ("h=ss&bytes=kb", " 1\n12\n"),
            ("h=index,dc&s=dc:desc", "a    120\nlogs   9\n"),
            ("h=i&s=index", "a\nlogs\n"),
            ("h=nothing", ""),
            (
                "format=json&h=index,dc,note",
                r#"[{"index":"logs","docs.count":"9","note":null},{"index":"a","docs.count":"120","note":"n"}]"#,
            ),
        ];
        for (query, expected) in cases {
            assert_eq!(reply(query), expected, "{query}");
        }
    }

    #[test]
    fn bytes_are_written_as_elasticsearch_does() {
        let cases = [
            (0, "0b"),
            (1023, "1023b"),
            (1024, "1kb"),
            (1536, "1.5kb"),
            (1024 * 1024 - 1, "1023.9kb"),
            (5 * 1024 * 1024 * 1024, "5gb"),
            (u64::MAX, "16383.9pb"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(human_bytes(bytes), expected);
        }
    }
}
