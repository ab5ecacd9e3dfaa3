//! Any line through the steps that read lines: no panic, the event stays one JSON object, and detection leaves the
//! line as it came.

#![no_main]

use std::sync::LazyLock;

use collector::pipeline::Pipeline;
use event::{Document, IndexName, Timestamp};
use libfuzzer_sys::fuzz_target;

static PIPELINES: LazyLock<Vec<Pipeline>> = LazyLock::new(|| {
    let steps = [
        r#"{"logfmt":{}}"#,
        r#"{"kv":{"pair_separator":"; ","key_separator":":"}}"#,
        r#"{"csv":{"columns":["a","b:int","c:float"]}}"#,
        r#"{"json":{}},{"redact":{"presets":["credit_card","email","bearer_token","api_key","ip_address"]}}"#,
        r#"{"grok":{"pattern":"%{COMBINEDAPACHELOG}"}}"#,
        r#"{"json":{}},{"convert":{"a":"int","b":"float","c":"bool","o.n":"string"}},{"rename":{"a.b":"c"}},{"remove":["d.e","f.*"]},{"level":{}}"#,
    ];
    let compiled = steps.iter().map(|steps| {
        let settings = serde_json::from_str(&format!("{{\"steps\":[{steps}]}}")).expect("right");
        Pipeline::compile("fuzz", &settings).expect("right")
    });
    compiled.chain([Pipeline::automatic()]).collect()
});

fuzz_target!(|line: &[u8]| {
    let line = String::from_utf8_lossy(line);
    let arrived = Timestamp::from_nanos(1_795_428_000_000_000_000);
    for pipeline in PIPELINES.iter() {
        let mut document = Document::new();
        document.set_str("@timestamp", &arrived.to_rfc3339());
        document.set_str("message", &line);
        let event = pipeline.event(&mut document, &IndexName::default_index(), arrived).expect("kept");
        assert!(serde_json::from_slice::<&serde_json::value::RawValue>(&event.source).is_ok());
        if pipeline.name() == "auto" {
            assert_eq!(document.get_str("message").as_deref(), Some(&*line));
        }
    }
});
