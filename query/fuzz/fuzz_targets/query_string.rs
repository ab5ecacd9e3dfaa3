//! Any text is a query or is refused with a reason; the parser neither panics nor recurses without bound, and what it
//! makes of a text is the same each time.

#![no_main]

use event::Timestamp;
use libfuzzer_sys::fuzz_target;
use query::elastic::language::dsl::{QueryContext, parse};
use serde_json::json;

fuzz_target!(|text: &str| {
    let context = QueryContext {
        now: Timestamp::from_nanos(0),
    };
    let fields = json!(["message", "host.*"]);
    for query in [
        json!({"query_string": {"query": text}}),
        json!({"query_string": {"query": text, "default_operator": "and", "fields": fields}}),
        json!({"simple_query_string": {"query": text}}),
        json!({"simple_query_string": {"query": text, "default_operator": "and", "fields": fields}}),
    ] {
        let parsed = parse(&query, &context);
        assert_eq!(parsed, parse(&query, &context));
        match parsed {
            Ok(filter) => {
                assert_eq!(filter.clone().negate().negate(), filter);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
