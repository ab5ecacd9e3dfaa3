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
    // One operator per text: compiling expressions is slow here.
    let operator = match text.len() % 2 {
        0 => "or",
        _ => "and",
    };
    for query in [
        json!({"query_string": {"query": text, "default_operator": operator}}),
        json!({"simple_query_string": {"query": text, "default_operator": operator, "fields": ["message", "host.*"]}}),
    ] {
        match parse(&query, &context) {
            Ok(filter) => {
                assert_eq!(filter.clone().negate().negate(), filter);
                assert_eq!(parse(&query, &context), Ok(filter));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
});
