//! No event is refused for its shape: all of them and all their neighbours are stored, found, and given back as they were sent.

use std::fs;

use serde_json::json;

use crate::harness::{Daybook, Home, until};

const NDJSON: &str = "application/x-ndjson";

/// Stands for a query on the id, for a document that has nothing else to be found by.
const BY_ID: &str = "_id";

/// A document as it is sent, and a query in Lucene's syntax that finds it alone.
struct Shape {
    source: String,
    query: String,
}

fn shape(source: impl Into<String>, query: &str) -> Shape {
    Shape {
        source: source.into(),
        query: query.to_owned(),
    }
}

/// One field in every type JSON has.
fn mixed_types() -> Vec<Shape> {
    vec![
        shape(r#"{"v":"text"}"#, "v:text"),
        shape(r#"{"v":42}"#, "v:42"),
        shape(r#"{"v":-7.25}"#, r"v:\-7.25"),
        shape(r#"{"v":{"inner":"deep"}}"#, "v.inner:deep"),
        shape(r#"{"v":[1,"listed",{"inner":2}]}"#, "v:listed"),
        shape(r#"{"v":[[["nested"]]]}"#, "v:nested"),
        shape(r#"{"v":true}"#, "v:true"),
        shape(r#"{"v":null,"other":"nothing"}"#, "other:nothing"),
        shape(
            r#"{"v":"2026-11-23T10:00:00Z"}"#,
            r#"v:"2026-11-23T10:00:00Z""#,
        ),
    ]
}

fn odd_numbers() -> Vec<Shape> {
    vec![
        shape(
            r#"{"is":"infinite","huge":1e999,"rest":"boundless"}"#,
            "is:infinite AND rest:boundless",
        ),
        shape(r#"{"huge":[-1E+999],"is":"abyss"}"#, "is:abyss"),
        shape(
            r#"{"huge":12345678901234567890}"#,
            "huge:12345678901234567890",
        ),
        shape(r#"{"huge":99999999999999999999,"is":"wide"}"#, "is:wide"),
        shape(r#"{"price":0.470}"#, "price:0.47"),
        shape(r#"{"zero":-0,"e":1E2,"is":"minus"}"#, "is:minus"),
    ]
}

fn odd_keys_and_texts() -> Vec<Shape> {
    vec![
        shape(r#"{"twice":"heads","twice":"tails"}"#, "twice:tails"),
        shape(r#"{"":"nameless"}"#, "nameless"),
        shape(r#"{"":{"":{"":"namelessness"}}}"#, "namelessness"),
        shape(r#"{" ":"blank",".":"dot","a..b":"dots"}"#, "blank"),
        shape(r#"{"a.b":"dotted","a":{"b":"branched"}}"#, "a.b:branched"),
        shape(
            r#"{"s":"\ud800 high","is":"surrogate"}"#,
            "s:high AND is:surrogate",
        ),
        shape(r#"{"\udc00":"surrogatekey"}"#, "surrogatekey"),
        shape(r#"{"s":"zero\u0000byte"}"#, "zero*byte OR s:byte"),
        shape(
            "{ \"spaced\" :\t[ 1 ,\r2 ] , \"is\" : \"roomy\" }",
            "is:roomy",
        ),
        shape(r#"{"escaped":"\u0041\/\n","is":"escaped"}"#, "is:escaped"),
        shape(r#"{"ümläut":"größe"}"#, "ümläut:größe"),
        shape("{}", BY_ID),
    ]
}

fn large_ones() -> Vec<Shape> {
    let fields: Vec<String> = (0..10_000)
        .map(|number| format!("\"field{number}\":\"value{number}\""))
        .collect();
    let words = "lorem ipsum dolor ".repeat(50_000);
    let deep = format!("{}\"bottom\"{}", "{\"d\":".repeat(200), "}".repeat(200));
    let lists = format!("{{\"l\":{}\"floor\"{}}}", "[".repeat(200), "]".repeat(200));
    vec![
        shape(format!("{{{}}}", fields.join(",")), "field9999:value9999"),
        shape(
            format!("{{\"message\":\"{words}haystackend\"}}"),
            "message:haystackend",
        ),
        shape(
            format!(
                "{{\"blob\":\"{}\",\"is\":\"oneword\"}}",
                "x".repeat(900_000)
            ),
            "is:oneword",
        ),
        shape(deep, "bottom"),
        shape(lists, "floor"),
    ]
}

fn neighbour(number: usize) -> String {
    format!("{{\"neighbour\":{number},\"v\":\"beside{number}\"}}")
}

/// Each shape between two ordinary events, in one request.
fn bulk_body(shapes: &[Shape]) -> String {
    let items = shapes.iter().enumerate().map(|(number, shape)| {
        format!(
            "{{\"create\":{{\"_id\":\"shape{number}\"}}}}\n{}\n{{\"create\":{{\"_id\":\"beside{number}\"}}}}\n{}\n",
            shape.source,
            neighbour(number)
        )
    });
    items.collect()
}

async fn assert_given_back(daybook: &Daybook, id: &str, source: &str) {
    let given_back = format!("\"_source\":{source}");
    let shown = |text: &str| text.chars().take(600).collect::<String>();
    let question = json!({ "query": { "ids": { "values": [id] } } }).to_string();
    let searched = daybook.search("shapes", &question).await;
    assert!(
        searched.text.contains(&given_back),
        "{id} by _search: {}\nwas sent: {}",
        shown(&searched.text),
        shown(source)
    );
    let fetched = daybook.get(&format!("/shapes/_doc/{id}")).await;
    assert!(
        fetched.text.contains(&given_back),
        "{id} by _doc: {}\nwas sent: {}",
        shown(&fetched.text),
        shown(source)
    );
}

#[tokio::test]
async fn events_of_any_shape_are_stored_found_and_given_back_byte_for_byte() {
    let daybook = Daybook::start().await;
    let mut shapes = mixed_types();
    shapes.extend(odd_numbers());
    shapes.extend(odd_keys_and_texts());
    shapes.extend(large_ones());

    let reply = daybook
        .post("/shapes/_bulk", NDJSON, bulk_body(&shapes))
        .await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let reply = reply.json();
    for (at, item) in reply["items"].as_array().unwrap().iter().enumerate() {
        assert_eq!(item["create"]["status"], json!(201), "item {at}: {item}");
    }
    daybook.refresh().await;

    let all = 2 * shapes.len() as u64;
    assert_eq!(daybook.count("shapes", "*").await, all);
    // As Grafana asks, whatever stands before or instead of a time in the document.
    let recent = "@timestamp:[now-1d TO now+1d]";
    assert_eq!(daybook.count("shapes", recent).await, all);
    let mut missed = Vec::new();
    for (number, shape) in shapes.iter().enumerate() {
        let (id, beside) = (format!("shape{number}"), format!("beside{number}"));
        assert_given_back(&daybook, &id, &shape.source).await;
        assert_given_back(&daybook, &beside, &neighbour(number)).await;
        assert_eq!(daybook.count("shapes", &format!("v:{beside}")).await, 1);
        let query = match shape.query.as_str() {
            BY_ID => format!("_id:{id}"),
            query => query.to_owned(),
        };
        let question = json!({ "query": { "query_string": { "query": query } }, "_source": false });
        let found = daybook.search("shapes", &question.to_string()).await;
        let found = found.json();
        let hits = found["hits"]["hits"].as_array().unwrap();
        let ids: Vec<&str> = hits
            .iter()
            .map(|hit| hit["_id"].as_str().unwrap())
            .collect();
        if ids != [id.as_str()] {
            missed.push(format!("{query} finds {ids:?} and not {id}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[tokio::test]
async fn one_type_of_a_field_does_not_hide_the_others() {
    let daybook = Daybook::start().await;
    let shapes = mixed_types();
    let reply = daybook
        .post("/shapes/_bulk", NDJSON, bulk_body(&shapes))
        .await;
    assert_eq!(reply.json()["errors"], json!(false), "{}", reply.text);
    daybook.refresh().await;

    // The neighbours have the field too, as a text.
    let neighbours = shapes.len() as u64;
    for (query, expected) in [
        ("v:[40 TO 50]", 1),
        ("v:<0", 1),
        ("v.inner:2", 1),
        ("v.inner:*", 2),
        ("v:beside*", neighbours),
        ("NOT neighbour:*", shapes.len() as u64),
        ("other:nothing AND NOT v:*", 1),
    ] {
        assert_eq!(daybook.count("shapes", query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_line_that_is_no_utf8_is_refused_for_itself_alone() {
    let daybook = Daybook::start().await;
    let lines: [&[u8]; 6] = [
        b"{\"create\":{}}",
        b"{\"message\":\"former\"}",
        b"{\"create\":{}}",
        b"{\"message\":\"bad \xff\xfe bytes\"}",
        b"{\"create\":{}}",
        b"{\"message\":\"latter\"}",
    ];
    let mut body = lines.join(&b'\n');
    body.push(b'\n');
    let reply = daybook.post("/shapes/_bulk", NDJSON, body).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    let reply = reply.json();
    let statuses: Vec<u64> = (0..3)
        .map(|at| reply["items"][at]["create"]["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [201, 400, 201], "{reply}");
    let reason = &reply["items"][1]["create"]["error"]["reason"];
    assert!(
        reason.as_str().is_some_and(|text| !text.is_empty()),
        "{reply}"
    );

    daybook.refresh().await;
    assert_eq!(daybook.count("shapes", "*").await, 2);
    assert_eq!(daybook.count("shapes", "former").await, 1);
    assert_eq!(daybook.count("shapes", "latter").await, 1);
}

#[tokio::test]
async fn a_file_with_bytes_that_are_no_utf8_is_read_whole() {
    let inputs = tempfile::tempdir().unwrap();
    let followed = inputs.path().join("input.log");
    fs::write(
        &followed,
        b"former line\nbroken \xff\xfe middle \x80\nzero \x00 inside\nlatter line\n",
    )
    .unwrap();
    let home = Home::new();
    home.write_sources(&format!(
        "sources:\n  lines: {{ type: file, include: [\"{}\"] }}\n",
        followed.display()
    ));
    let daybook = Daybook::start_at(home).await;
    until("all lines are found", async || {
        let found = daybook.get("/logs/_search?ignore_unavailable=true").await;
        (found.json()["hits"]["total"]["value"] == json!(4)).then_some(())
    })
    .await;
    for query in ["former", "broken AND middle", "zero AND inside", "latter"] {
        assert_eq!(daybook.count("logs", query).await, 1, "{query}");
    }
    let found = daybook
        .search("logs", r#"{"query":{"query_string":{"query":"broken"}}}"#)
        .await;
    let message = found.json()["hits"]["hits"][0]["_source"]["message"].clone();
    assert_eq!(message, json!("broken \u{fffd}\u{fffd} middle \u{fffd}"));
}
