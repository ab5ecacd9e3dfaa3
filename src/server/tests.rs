//! A real server on a free port, met by clients that behave and clients that do not.

use std::net::SocketAddr;

use axum::body::Bytes;
use axum::routing::{get, post};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Notify;

use super::*;

struct Fixture {
    server: Server,
    address: SocketAddr,
    metrics: Metrics,
}

fn start(router: Router, admission: Admission) -> Fixture {
    start_with(router, admission, HEAD_TIMEOUT)
}

fn start_with(router: Router, admission: Admission, head_timeout: Duration) -> Fixture {
    let metrics = Metrics::new(Arc::default()).unwrap();
    let listener = Listener::bind(Service::Http, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.address();
    let routes: Routes = Arc::new(ArcSwap::from_pointee(router));
    let server = Server::start_with(vec![(listener, routes)], admission, &metrics, head_timeout);
    Fixture {
        server,
        address,
        metrics,
    }
}

fn roomy() -> Admission {
    Admission::new(10_000, 10_000)
}

fn url(address: SocketAddr, path: &str) -> String {
    format!("http://{address}{path}")
}

async fn connect(address: SocketAddr, beginning: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(beginning).await.unwrap();
    stream
}

#[tokio::test]
async fn both_versions_of_http_are_spoken_and_ports_are_told() {
    let fixture = start(Router::new().route("/", get(|| async { "hello" })), roomy());
    assert_ne!(fixture.address.port(), 0);
    let plain = reqwest::get(url(fixture.address, "/")).await.unwrap();
    assert!(plain.headers().contains_key("x-request-id"));
    assert_eq!(plain.text().await.unwrap(), "hello");

    // RFC 9113, section 3.4: both sides begin with a SETTINGS frame (type 4 on stream 0).
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let mut http2 = connect(fixture.address, preface).await;
    let mut frame = [0; 9];
    http2.read_exact(&mut frame).await.unwrap();
    assert_eq!((frame[3], &frame[5..]), (4, &[0; 4][..]));
}

#[tokio::test]
async fn a_senders_request_id_comes_back() {
    let fixture = start(Router::new(), roomy());
    let request = reqwest::Client::new()
        .get(url(fixture.address, "/nothing"))
        .header("x-request-id", "mine");
    let reply = request.send().await.unwrap();
    assert_eq!(reply.status(), 404);
    assert_eq!(reply.headers()["x-request-id"], "mine");
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_next_request_is_answered() {
    async fn broken() -> &'static str {
        panic!("this test's handler is broken")
    }
    let router = Router::new()
        .route("/broken", get(broken))
        .route("/", get(|| async { "fine" }));
    let fixture = start(router, roomy());
    let client = reqwest::Client::new();
    let reply = client
        .get(url(fixture.address, "/broken"))
        .send()
        .await
        .unwrap();
    assert_eq!(reply.status(), 500);
    assert!(reply.text().await.unwrap().contains("internal_error"));
    let reply = client.get(url(fixture.address, "/")).send().await.unwrap();
    assert_eq!(reply.text().await.unwrap(), "fine");
    assert_eq!(fixture.metrics.request_panics.get(), 1);
    assert_eq!(fixture.metrics.requests_in_flight.get(), 0);
}

#[tokio::test]
async fn stalled_clients_do_not_slow_a_healthy_one() {
    let router = Router::new().route("/", post(|body: Bytes| async move { body }));
    let fixture = start(router, roomy());
    let mut stalled = Vec::new();
    for _ in 0..100 {
        // Nothing at all; half of HTTP/2's first line; a head that never ends; a body that never comes.
        stalled.push(connect(fixture.address, b"").await);
        stalled.push(connect(fixture.address, b"PRI * HT").await);
        stalled.push(connect(fixture.address, b"POST / HTTP/1.1\r\nhost: x\r\nx: ").await);
        let body = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n123";
        stalled.push(connect(fixture.address, body).await);
    }
    let client = reqwest::Client::new();
    for _ in 0..20 {
        let sending = client.post(url(fixture.address, "/")).body("ping").send();
        let reply = timeout(Duration::from_secs(5), sending)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(reply.text().await.unwrap(), "ping");
    }
    drop(stalled);
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up() {
    let fixture = start_with(Router::new(), roomy(), Duration::from_millis(20));
    for beginning in [&b""[..], b"PRI * HT", b"GET / HTTP/1.1\r\nx: "] {
        let mut stream = connect(fixture.address, beginning).await;
        let mut reply = Vec::new();
        let reading = stream.read_to_end(&mut reply);
        let ended = timeout(Duration::from_secs(10), reading).await;
        assert!(ended.is_ok(), "{beginning:?} was never given up");
    }
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let fixture = start(Router::new().route("/", get(|| async { "hello" })), roomy());
    let large = "x".repeat(HTTP1_BUFFER_BYTES + 1);
    let head = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {large}\r\n\r\n");
    let mut stream = TcpStream::connect(fixture.address).await.unwrap();
    // The server may close before it has taken everything.
    let _ = stream.write_all(head.as_bytes()).await;
    let mut reply = vec![0; 12];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(reply, b"HTTP/1.1 431");
}

#[tokio::test]
async fn connections_above_the_limit_are_told_and_a_closed_one_makes_room() {
    let router = Router::new().route("/", get(|| async { "hello" }));
    let fixture = start(router, Admission::new(2, 2));
    let first = connect(fixture.address, b"").await;
    let _second = connect(fixture.address, b"").await;
    let mut third = connect(fixture.address, b"").await;
    let mut reply = Vec::new();
    third.read_to_end(&mut reply).await.unwrap();
    assert!(reply.starts_with(b"HTTP/1.1 503"));
    let refused = fixture
        .metrics
        .connections_refused
        .with_label_values(&["http", "too_many"]);
    assert_eq!(refused.get(), 1);

    drop(first);
    let until_there_is_room = async {
        loop {
            let reply = reqwest::get(url(fixture.address, "/")).await;
            if reply.is_ok_and(|reply| reply.status() == 200) {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(10), until_there_is_room)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_stop_lets_requests_under_way_end() {
    let (begun, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (handler_begun, handler_may_end) = (Arc::clone(&begun), Arc::clone(&may_end));
    let slow = move || async move {
        handler_begun.notify_one();
        handler_may_end.notified().await;
        "done"
    };
    let fixture = start(Router::new().route("/", get(slow)), roomy());
    let _idle = connect(fixture.address, b"").await;
    let address = fixture.address;
    let asking = tokio::spawn(async move { reqwest::get(url(address, "/")).await.unwrap() });
    begun.notified().await;
    let stopping = tokio::spawn(fixture.server.stop(Duration::from_secs(30)));
    // Once nothing is accepted any more, the stop has begun.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    may_end.notify_one();
    assert_eq!(asking.await.unwrap().text().await.unwrap(), "done");
    timeout(Duration::from_secs(10), stopping)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_stop_cuts_off_what_does_not_end() {
    let begun = Arc::new(Notify::new());
    let handler_begun = Arc::clone(&begun);
    let endless = move || async move {
        handler_begun.notify_one();
        std::future::pending::<()>().await;
    };
    let fixture = start(Router::new().route("/", get(endless)), roomy());
    let asking = tokio::spawn(reqwest::get(url(fixture.address, "/")));
    begun.notified().await;
    let stopping = fixture.server.stop(Duration::from_millis(10));
    timeout(Duration::from_secs(10), stopping).await.unwrap();
    assert!(asking.await.unwrap().is_err());
}

#[tokio::test]
async fn routes_can_be_replaced_under_open_connections() {
    let metrics = Metrics::new(Arc::default()).unwrap();
    let listener = Listener::bind(Service::Http, SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    let address = listener.address();
    let routes: Routes = Arc::new(ArcSwap::from_pointee(Router::new()));
    let _server = Server::start(vec![(listener, Arc::clone(&routes))], roomy(), &metrics);
    let client = reqwest::Client::new();
    assert_eq!(
        client.get(url(address, "/")).send().await.unwrap().status(),
        404
    );
    routes.store(Arc::new(
        Router::new().route("/", get(|| async { "hello" })),
    ));
    assert_eq!(
        client.get(url(address, "/")).send().await.unwrap().status(),
        200
    );
}
