//! What texts mean, drawn as short formulas.

use event::Timestamp;
use indexer::logs::{Leaf, Scalar};
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::super::date_format::{DateFormat, parse_time_zone};
use super::super::date_math::DateContext;
use super::*;
use crate::logs::filter::TimeRange;

fn parse_with(
    query: &str,
    operator: Operator,
    fields: Fields,
    zone: &TimeZone,
) -> Result<Filter, QueryError> {
    let format = DateFormat::default_format();
    QueryString {
        default_fields: fields,
        default_operator: operator,
        phrase_slop: 0,
        minimum_should_match: None,
        text: TextContext {
            dates: DateContext {
                format: &format,
                zone,
                now: Timestamp::parse_iso("2026-11-23T10:00:00Z").unwrap(),
            },
            has_date_format: false,
        },
    }
    .parse(query)
}

fn formula(query: &str) -> String {
    draw(&parse_with(query, Operator::Or, Fields::Any, &TimeZone::UTC).unwrap())
}

/// `w(f,x)` words, `e(f,x)` equals, `p(f,x)` word pattern, `v(f,x)` value pattern, `r(f,lower,upper)` range.
pub(crate) fn draw(filter: &Filter) -> String {
    let join = |of: &[Filter], with: &str| of.iter().map(draw).collect::<Vec<_>>().join(with);
    match filter {
        Filter::All => "all".to_owned(),
        Filter::None => "none".to_owned(),
        Filter::And(of) => format!("({})", join(of, " & ")),
        Filter::AtLeast { minimum: 1, of } => format!("({})", join(of, " | ")),
        Filter::AtLeast { minimum, of } => format!("{minimum} of ({})", join(of, ", ")),
        Filter::Not(inner) => format!("!{}", draw(inner)),
        Filter::During(TimeRange { first, last }) => {
            let end = |timestamp: Timestamp| match timestamp {
                Timestamp::MIN | Timestamp::MAX => "*".to_owned(),
                other => other.to_rfc3339(),
            };
            format!("during({}..{})", end(*first), end(*last))
        }
        Filter::Index(pattern) => format!("index({})", draw_pattern(pattern)),
        Filter::AnyField { paths, of } => format!("fields({}: {})", paths.join(","), draw(of)),
        Filter::Leaf(leaf) => draw_leaf(leaf),
    }
}

fn draw_leaf(leaf: &Leaf) -> String {
    let field = |field: &Field| match field {
        Field::Any => "*".to_owned(),
        Field::Named(path) => path.clone(),
    };
    let bound = |bound: &Bound<Scalar>| match bound {
        Bound::Unbounded => "*".to_owned(),
        Bound::Included(value) => format!("={}", draw_scalar(value)),
        Bound::Excluded(value) => draw_scalar(value),
    };
    match leaf {
        Leaf::Words(f, text) => format!("w({},{text})", field(f)),
        Leaf::Equals(f, value) => format!("e({},{})", field(f), draw_scalar(value)),
        Leaf::WordPattern(f, pattern) => format!("p({},{})", field(f), draw_pattern(pattern)),
        Leaf::ValuePattern(f, pattern) => format!("v({},{})", field(f), draw_pattern(pattern)),
        Leaf::Range(f, lower, upper) => {
            format!("r({},{},{})", field(f), bound(lower), bound(upper))
        }
        Leaf::Exists(path) => format!("exists({path})"),
        Leaf::Ids(ids) => format!("ids({})", ids.join(",")),
    }
}

fn draw_scalar(value: &Scalar) -> String {
    match value {
        Scalar::Text(text) => format!("'{text}'"),
        Scalar::Integer(number) => number.to_string(),
        Scalar::Unsigned(number) => number.to_string(),
        Scalar::Float(number) => number.to_string(),
        Scalar::Bool(truth) => truth.to_string(),
        Scalar::Time(timestamp) => match *timestamp {
            Timestamp::MIN | Timestamp::MAX => "*".to_owned(),
            other => other.to_rfc3339(),
        },
    }
}

fn draw_pattern(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Prefix(prefix) => format!("{prefix}…"),
        Pattern::Wildcard(wildcard) => wildcard.clone(),
        Pattern::Regex(regex) => format!("/{regex}/"),
        Pattern::Fuzzy(text, edits) => format!("{text}~{edits}"),
    }
}

#[test]
fn booleans_follow_lucenes_classic_rule() {
    let cases = [
        ("a b", "(w(*,a) | w(*,b))"),
        ("a OR b AND c", "(w(*,b) & w(*,c))"),
        ("a AND b OR c", "(w(*,a) & w(*,b))"),
        ("a AND b", "(w(*,a) & w(*,b))"),
        ("a OR b", "(w(*,a) | w(*,b))"),
        ("NOT x", "!w(*,x)"),
        ("-k:\"v\"", "!w(k,v)"),
        ("a -b", "(!w(*,b) & w(*,a))"),
        ("a AND -k:\"v\"", "(w(*,a) & !w(k,v))"),
        ("a OR NOT b", "(!w(*,b) & w(*,a))"),
        ("NOT a AND b", "(!w(*,a) & w(*,b))"),
        ("+a b", "w(*,a)"),
        ("a AND (b OR c)", "(w(*,a) & (w(*,b) | w(*,c)))"),
        ("a AND (NOT b)", "(w(*,a) & !w(*,b))"),
        ("f:(a OR b) c", "((w(f,a) | w(f,b)) | w(*,c))"),
        ("", "none"),
        ("  ", "none"),
    ];
    for (query, expected) in cases {
        assert_eq!(formula(query), expected, "{query}");
    }
}

#[test]
fn with_and_as_default_or_turns_the_clause_before_it() {
    let cases = [
        ("a b", "(w(*,a) & w(*,b))"),
        ("a OR b", "(w(*,a) | w(*,b))"),
        ("a b OR c", "w(*,a)"),
        ("a -b", "(w(*,a) & !w(*,b))"),
    ];
    for (query, expected) in cases {
        let filter = parse_with(query, Operator::And, Fields::Any, &TimeZone::UTC).unwrap();
        assert_eq!(draw(&filter), expected, "{query}");
    }
}

#[test]
fn terms_mean_what_users_of_elasticsearch_expect() {
    let cases = [
        ("*", "all"),
        ("*:*", "all"),
        ("f:*", "exists(f)"),
        ("_exists_:f", "exists(f)"),
        ("NOT _exists_:f", "!exists(f)"),
        ("_exists_:k8s.\\*", "fields(k8s.*: exists())"),
        ("k8s.\\*:x", "fields(k8s.*: w(*,x))"),
        ("web-1", "w(*,web-1)"),
        ("f.keyword:\"a b\"", "e(f.keyword,'a b')"),
        ("f:\"-\"", "e(f,'-')"),
        ("\"a b\"~2", "(w(*,a) & w(*,b))"),
        ("te?t*", "p(*,te?t*)"),
        ("f.keyword:te*", "v(f.keyword,te*)"),
        (
            "f:/jo(hn|e)/",
            "(p(f,/(?s)jo(hn|e)/) | v(f,/(?s)jo(hn|e)/))",
        ),
        ("quikc~", "p(*,quikc~1)"),
        ("_id:abc", "ids(abc)"),
        ("_index:logs-*", "index(logs-*)"),
        ("_index:\"logs-1\"", "index(logs-1)"),
        ("status:>=500", "(r(status,=500,*) | r(status,='500',':'))"),
        (
            "status:[400 TO 499]",
            "(r(status,=400,=499) | r(status,='400',='499'))",
        ),
        ("status:<400", "(r(status,*,400) | r(status,='0','400'))"),
        ("name:[a TO b}", "r(name,='a','b')"),
        ("f:[1 TO *}", "(r(f,=1,*) | r(f,='1',':'))"),
        ("f:[* TO *]", "exists(f)"),
        (
            "due:[2026-11-01 TO 2026-11-30]",
            "(r(due,=2026-11-01T00:00:00.000Z,=2026-11-30T23:59:59.999999999Z) | r(due,='2026-11-01',='2026-11-30'))",
        ),
        (
            "@timestamp:[2026-11-01 TO 2026-11-30}",
            "during(2026-11-01T00:00:00.000Z..2026-11-29T23:59:59.999999999Z)",
        ),
        (
            "@timestamp:<2026-11",
            "during(*..2026-10-31T23:59:59.999999999Z)",
        ),
        (
            "@timestamp:>now-1h",
            "during(2026-11-23T09:00:00.000000001Z..*)",
        ),
        (
            "@timestamp:\"2026-11-23\"",
            "during(2026-11-23T00:00:00.000Z..2026-11-23T23:59:59.999999999Z)",
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(formula(query), expected, "{query}");
    }
}

#[test]
fn several_default_fields_are_asked_term_by_term() {
    let fields = Fields::parse(["message^2", "log.*"]);
    let filter = parse_with("a AND b", Operator::Or, fields, &TimeZone::UTC).unwrap();
    assert_eq!(
        draw(&filter),
        "((w(message,a) | fields(log.*: w(*,a))) & (w(message,b) | fields(log.*: w(*,b))))"
    );
}

#[test]
fn dates_without_a_zone_are_read_in_the_zone_of_the_request() {
    let berlin = parse_time_zone("Europe/Berlin").unwrap();
    let filter = parse_with(
        "@timestamp:>=2026-11-23",
        Operator::Or,
        Fields::Any,
        &berlin,
    )
    .unwrap();
    assert_eq!(draw(&filter), "during(2026-11-22T23:00:00.000Z..*)");
}

#[test]
fn mistakes_name_the_query_and_the_place() {
    let problem = |query: &str| {
        parse_with(query, Operator::Or, Fields::Any, &TimeZone::UTC)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        problem("a AND"),
        "Failed to parse query [a AND]: Encountered \"<EOF>\" at line 1, column 5. \
         Was expecting a term, a phrase or \"(\""
    );
    assert!(problem("f:/a(/").contains("invalid regular expression /a(/: unclosed group"));
    assert!(problem("@timestamp:>tomorrow").contains("failed to parse date field [tomorrow]"));
}

#[test]
fn a_text_that_asks_without_bound_is_refused() {
    let many_fields = Fields::parse(["a", "b"].repeat(5_000));
    for (fields, query, problem) in [
        (
            Fields::Any,
            "/\\w{20}/ ".repeat(10_000),
            "regular expressions",
        ),
        (Fields::Any, "a ".repeat(50_000), "terms"),
        (
            Fields::Any,
            format!("\"{}\"~2", "a ".repeat(50_000)),
            "terms",
        ),
        (many_fields, "a ".repeat(100), "fields"),
    ] {
        let error = parse_with(&query, Operator::Or, fields, &TimeZone::UTC).unwrap_err();
        let QueryError::Syntax { problem: told, .. } = error else {
            panic!("{error}")
        };
        assert!(told.contains(problem), "{told:.200}");
    }
}

#[test]
fn fuzziness_is_bounded_by_length_and_by_two() {
    let cases = [
        ("ab", None, 0),
        ("abc", None, 1),
        ("abcdef", None, 2),
        ("abcdef", Some(1.0), 1),
        ("abcdef", Some(9.0), 2),
        ("abcdef", Some(0.8), 1),
        ("abcdef", Some(0.0), 0),
    ];
    for (word, asked, expected) in cases {
        assert_eq!(fuzzy_edits(word, asked), expected, "{word} {asked:?}");
    }
}

proptest! {
    #[test]
    fn any_text_means_something_or_is_refused(query in "[a-z@:\"()/\\[\\]{}*?~^+!&|<>=\\\\ ANDORT0-9-]{0,40}") {
        let _ = parse_with(&query, Operator::And, Fields::Any, &TimeZone::UTC);
    }
}
