//! Request bodies: read with a limit, decompressed with a limit, counted against a bound over all requests.
//!
//! First the whole body is taken from the wire, only then is it decompressed: a slow sender holds nothing but what
//! it has sent. Every route that takes events reads its body here and words [`BodyError`] in its own dialect.

mod decode;
mod in_flight;

use std::time::Duration;

use axum::body::Body as AxumBody;
use bytes::{Bytes, BytesMut};
use event::RetryAfter;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::cpu::CpuPermits;

pub use decode::{Encoding, Inflation, inflate_within};
pub use in_flight::{InFlight, Reservation};

/// A body that decompresses to more than this is measured to its end before memory is taken for the rest: a bomb
/// costs this much and a window, whatever the limit. Real shippers' batches are smaller and decoded once.
const KEEP_UNMEASURED_BYTES: usize = 8 * 1024 * 1024;

/// How many bytes over the limit are read and thrown away, so that the sender is done sending and reads our
/// answer. A sender of more finds its connection closed instead.
const DISCARD_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How long such bytes are waited for.
const DISCARD_TIME_MAX: Duration = Duration::from_secs(10);

/// What is reserved at once for a body that announces its length: an announcement alone must not cost memory.
const RESERVE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What a body must bring within [`Settings::idle_time_max`]. A sender of single bytes would otherwise hold what it
/// has sent, and its part of the bound over all requests, for as long as it likes.
pub const PROGRESS_BYTES_MIN: usize = 16 * 1024;

/// The densest block of snappy: copies of 64 bytes, three bytes each.
const SNAPPY_RATIO_MAX: usize = 22;

/// How bodies are bounded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The most bytes of one body, on the wire and decompressed: `limits.request`.
    pub bytes_max: usize,
    /// The most bytes of all bodies together, as long as their requests are worked on.
    pub in_flight_bytes_max: u64,
    /// How long a body may stand still, or drip: within this time it must end or bring
    /// [`PROGRESS_BYTES_MIN`] more.
    pub idle_time_max: Duration,
    /// How long a body may take from its first to its last byte.
    pub read_time_max: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            bytes_max: 64 * 1024 * 1024,
            in_flight_bytes_max: 256 * 1024 * 1024,
            idle_time_max: Duration::from_secs(30),
            read_time_max: Duration::from_secs(300),
        }
    }
}

/// Reads bodies. One for the whole process; cheap to clone.
#[derive(Debug, Clone)]
pub struct BodyReader {
    settings: Settings,
    in_flight: InFlight,
    cpu: CpuPermits,
}

/// A whole body, decompressed. Keep it until the request is answered: its bytes are counted until it is dropped.
#[derive(Debug)]
pub struct Body {
    /// The body.
    pub bytes: Bytes,
    /// What it holds of the bound over all requests. May be grown for what is made from the body.
    pub reservation: Reservation,
}

/// Why there is no body, cut by what the sender should do.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Send it in another encoding.
    #[error("content encoding [{encoding}] is not supported, send identity, gzip, deflate or zstd")]
    UnknownEncoding {
        /// As it was sent, at most 64 characters.
        encoding: String,
    },
    /// Send less at once.
    #[error(
        "the request is larger than {limit_bytes} bytes (limits.request), send smaller batches"
    )]
    TooLarge {
        /// The limit for one body, on the wire and decompressed.
        limit_bytes: usize,
    },
    /// Send fewer events at once.
    #[error(
        "the events of the request take more than {memory_bytes_max} bytes of memory, send smaller batches"
    )]
    TooManyEvents {
        /// The limit for what is made of one body.
        memory_bytes_max: usize,
    },
    /// Send it correctly.
    #[error("the request body is not valid {encoding}: {message}")]
    Malformed {
        /// The encoding it was sent in.
        encoding: &'static str,
        /// What the decoder says.
        message: String,
    },
    /// Send it faster.
    #[error("the request body did not arrive in time: {waited_seconds} seconds without its end")]
    TooSlow {
        /// How long we waited.
        waited_seconds: u64,
    },
    /// The sender is gone; nobody reads an answer.
    #[error("the request body broke off: {message}")]
    BrokenOff {
        /// What the connection says.
        message: String,
    },
    /// Send it again later.
    #[error(
        "requests in progress hold {in_flight_bytes_max} bytes, try again in {} seconds", retry_after.whole_seconds()
    )]
    Busy {
        /// The bound over all requests.
        in_flight_bytes_max: u64,
        /// When to try again.
        retry_after: RetryAfter,
    },
}

impl BodyError {
    /// The HTTP status that tells the sender what to do.
    pub fn status(&self) -> StatusCode {
        match self {
            BodyError::UnknownEncoding { .. } => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            BodyError::TooLarge { .. } | BodyError::TooManyEvents { .. } => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            BodyError::Malformed { .. } | BodyError::BrokenOff { .. } => StatusCode::BAD_REQUEST,
            BodyError::TooSlow { .. } => StatusCode::REQUEST_TIMEOUT,
            BodyError::Busy { .. } => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// What the ledger counts the request under.
    pub fn reason(&self) -> &'static str {
        match self {
            BodyError::UnknownEncoding { .. } => "unknown_encoding",
            BodyError::TooLarge { .. } | BodyError::TooManyEvents { .. } => "request_too_large",
            BodyError::Malformed { .. } => "malformed",
            BodyError::TooSlow { .. } => "too_slow",
            BodyError::BrokenOff { .. } => "broken_off",
            BodyError::Busy { .. } => "busy",
        }
    }
}

impl BodyReader {
    /// A reader with its own bound over all requests.
    pub fn new(settings: Settings, cpu: CpuPermits) -> BodyReader {
        BodyReader {
            in_flight: InFlight::new(settings.in_flight_bytes_max),
            settings,
            cpu,
        }
    }

    /// The most bytes of one body.
    pub fn bytes_max(&self) -> usize {
        self.settings.bytes_max
    }

    /// The bound over all requests, for a gauge.
    pub fn in_flight(&self) -> &InFlight {
        &self.in_flight
    }

    /// Takes a whole body and decodes it as its `Content-Encoding` says.
    ///
    /// # Errors
    /// See [`BodyError`].
    pub async fn read(&self, headers: &HeaderMap, body: AxumBody) -> Result<Body, BodyError> {
        let encoding =
            Encoding::of(headers).map_err(|encoding| BodyError::UnknownEncoding { encoding });
        let wire = self.read_wire(headers, body).await?;
        self.decode(encoding?, wire).await
    }

    /// Takes a whole body as it is on the wire.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`], [`BodyError::TooSlow`], [`BodyError::BrokenOff`], [`BodyError::Busy`].
    pub async fn read_wire(
        &self,
        headers: &HeaderMap,
        mut body: AxumBody,
    ) -> Result<Body, BodyError> {
        let outcome = self.collect(announced_bytes(headers), &mut body).await;
        let waits_for_us = headers.contains_key(EXPECT);
        match &outcome {
            Err(BodyError::TooLarge { .. } | BodyError::Busy { .. }) if !waits_for_us => {
                discard(body).await;
            }
            _ => {}
        }
        outcome
    }

    /// Decodes a body that was taken from the wire.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`], [`BodyError::Malformed`], [`BodyError::Busy`].
    pub async fn decode(&self, encoding: Encoding, wire: Body) -> Result<Body, BodyError> {
        if encoding == Encoding::Identity {
            return Ok(wire);
        }
        // Its cost is known only when it is done, so it never runs in place.
        let decoder = self.clone();
        self.cpu
            .run_elsewhere(move || decoder.decode_now(encoding, wire))
            .await
    }

    /// Decodes a body in snappy's block format, which names no encoding in the headers: Loki's and Prometheus' pushes.
    ///
    /// The size it announces is looked at before memory is taken: a block of so many bytes cannot hold more than
    /// [`SNAPPY_RATIO_MAX`] times as many.
    ///
    /// # Errors
    /// [`BodyError::TooLarge`], [`BodyError::Malformed`], [`BodyError::Busy`].
    pub async fn decode_snappy(&self, wire: Body) -> Result<Body, BodyError> {
        let decoder = self.clone();
        self.cpu
            .run_elsewhere(move || decoder.decode_snappy_now(wire))
            .await
    }

    fn decode_snappy_now(&self, wire: Body) -> Result<Body, BodyError> {
        let malformed = |message: String| BodyError::Malformed {
            encoding: "snappy",
            message,
        };
        let Body {
            bytes,
            mut reservation,
        } = wire;
        let announced = snap::raw::decompress_len(&bytes).map_err(|e| malformed(e.to_string()))?;
        if announced > self.settings.bytes_max {
            return Err(self.too_large());
        }
        if announced > bytes.len().saturating_mul(SNAPPY_RATIO_MAX) {
            return Err(malformed(format!(
                "{} bytes cannot hold the {announced} they announce",
                bytes.len()
            )));
        }
        if !reservation.grow(announced) {
            return Err(self.busy());
        }
        let mut decoded = vec![0; announced];
        let length = snap::raw::Decoder::new()
            .decompress(&bytes, &mut decoded)
            .map_err(|error| malformed(error.to_string()))?;
        decoded.truncate(length);
        reservation.shrink(bytes.len());
        Ok(Body {
            bytes: Bytes::from(decoded),
            reservation,
        })
    }

    async fn collect(
        &self,
        announced_bytes: Option<usize>,
        body: &mut AxumBody,
    ) -> Result<Body, BodyError> {
        let mut reservation = self.in_flight.reserve_nothing();
        let mut pace = Pace::begin(&self.settings);
        if announced_bytes.is_some_and(|bytes| bytes > self.settings.bytes_max) {
            return Err(self.too_large());
        }
        let mut first = Bytes::new();
        let mut joined = BytesMut::new();
        while let Some(piece) = next_piece(body, &mut pace).await? {
            if first.len() + joined.len() + piece.len() > self.settings.bytes_max {
                return Err(self.too_large());
            }
            if !reservation.grow(piece.len()) {
                return Err(self.busy());
            }
            // One piece is the body itself; more are copied together, because pieces of a few bytes each
            // would hold far more memory than they count.
            if joined.is_empty() && first.is_empty() {
                first = piece;
                continue;
            }
            if joined.is_empty() {
                joined.reserve(announced_bytes.unwrap_or(0).min(RESERVE_BYTES_MAX));
                joined.extend_from_slice(&std::mem::take(&mut first));
            }
            joined.extend_from_slice(&piece);
        }
        let bytes = if joined.is_empty() {
            first
        } else {
            joined.freeze()
        };
        Ok(Body { bytes, reservation })
    }

    fn decode_now(&self, encoding: Encoding, wire: Body) -> Result<Body, BodyError> {
        let Body {
            bytes,
            mut reservation,
        } = wire;
        let wire_bytes = bytes.len();
        let malformed = |error: std::io::Error| BodyError::Malformed {
            encoding: encoding.name(),
            message: error.to_string(),
        };

        let mut kept = Vec::new();
        let mut decoded_bytes = 0;
        let mut is_busy = false;
        decode::decode(encoding, &bytes, &mut |piece| {
            decoded_bytes += piece.len();
            if decoded_bytes > KEEP_UNMEASURED_BYTES {
                reservation.shrink(kept.len());
                kept = Vec::new();
            } else {
                is_busy = !reservation.grow(piece.len());
                kept.extend_from_slice(piece);
            }
            decoded_bytes <= self.settings.bytes_max && !is_busy
        })
        .map_err(malformed)?;
        if decoded_bytes > self.settings.bytes_max {
            return Err(self.too_large());
        }
        if is_busy || !reservation.grow(decoded_bytes - kept.len()) {
            return Err(self.busy());
        }
        if decoded_bytes > KEEP_UNMEASURED_BYTES {
            kept.reserve_exact(decoded_bytes);
            decode::decode(encoding, &bytes, &mut |piece| {
                kept.extend_from_slice(piece);
                true
            })
            .map_err(malformed)?;
        }
        drop(bytes);
        reservation.shrink(wire_bytes);
        Ok(Body {
            bytes: Bytes::from(kept),
            reservation,
        })
    }

    /// What to answer when the bound over all requests is reached.
    pub fn busy(&self) -> BodyError {
        BodyError::Busy {
            in_flight_bytes_max: self.settings.in_flight_bytes_max,
            retry_after: RetryAfter::ONE_SECOND,
        }
    }

    /// What to answer when one request is over its limit.
    pub fn too_large(&self) -> BodyError {
        BodyError::TooLarge {
            limit_bytes: self.settings.bytes_max,
        }
    }
}

/// When a body must have ended, and when it must have brought more.
struct Pace {
    idle_time_max: Duration,
    read_time_max: Duration,
    deadline: Instant,
    progress_deadline: Instant,
    progress_bytes: usize,
}

impl Pace {
    fn begin(settings: &Settings) -> Pace {
        let now = Instant::now();
        Pace {
            idle_time_max: settings.idle_time_max,
            read_time_max: settings.read_time_max,
            deadline: now + settings.read_time_max,
            progress_deadline: now + settings.idle_time_max,
            progress_bytes: 0,
        }
    }

    fn note(&mut self, bytes: usize) {
        self.progress_bytes += bytes;
        if self.progress_bytes >= PROGRESS_BYTES_MIN {
            self.progress_bytes = 0;
            self.progress_deadline = Instant::now() + self.idle_time_max;
        }
    }

    fn too_slow(&self) -> BodyError {
        let waited = match self.progress_deadline < self.deadline {
            true => self.idle_time_max,
            false => self.read_time_max,
        };
        BodyError::TooSlow {
            waited_seconds: waited.as_secs(),
        }
    }
}

/// The next bytes of the body; `None` at its end.
async fn next_piece(body: &mut AxumBody, pace: &mut Pace) -> Result<Option<Bytes>, BodyError> {
    loop {
        let deadline = pace.progress_deadline.min(pace.deadline);
        let frame = tokio::time::timeout_at(deadline, body.frame())
            .await
            .map_err(|_| pace.too_slow())?;
        let frame = match frame {
            None => return Ok(None),
            Some(frame) => frame.map_err(|error| BodyError::BrokenOff {
                message: error.to_string(),
            })?,
        };
        if let Some(piece) = frame.into_data().ok().filter(|piece| !piece.is_empty()) {
            pace.note(piece.len());
            return Ok(Some(piece));
        }
    }
}

fn announced_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Most clients read an answer only after they have sent everything.
async fn discard(mut body: AxumBody) {
    let read_to_the_end = async {
        let mut discarded_bytes = 0;
        while let Some(Ok(frame)) = body.frame().await {
            discarded_bytes += frame.data_ref().map_or(0, Bytes::len);
            if discarded_bytes > DISCARD_BYTES_MAX {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(DISCARD_TIME_MAX, read_to_the_end).await;
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures_util::{StreamExt, stream};

    use super::*;

    fn reader(settings: Settings) -> BodyReader {
        BodyReader::new(settings, CpuPermits::new(2))
    }

    fn small() -> Settings {
        Settings {
            bytes_max: 1000,
            in_flight_bytes_max: 5000,
            ..Settings::default()
        }
    }

    fn encoded_as(encoding: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_ENCODING_NAME, encoding.parse().unwrap());
        headers
    }

    const CONTENT_ENCODING_NAME: &str = "content-encoding";

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn in_pieces(pieces: Vec<&'static [u8]>) -> AxumBody {
        AxumBody::from_stream(
            stream::iter(pieces).map(|piece| Ok::<_, std::io::Error>(Bytes::from_static(piece))),
        )
    }

    #[tokio::test]
    async fn a_body_arrives_whole_in_every_encoding() {
        let reader = reader(small());
        let plain = reader
            .read(
                &HeaderMap::new(),
                in_pieces(vec![b"one ", b"", b"two ", b"three"]),
            )
            .await
            .unwrap();
        assert_eq!(plain.bytes, "one two three");
        for name in ["gzip", "GZIP", "x-gzip"] {
            let body = AxumBody::from(gzip(b"zipped"));
            let read = reader.read(&encoded_as(name), body).await.unwrap();
            assert_eq!(read.bytes, "zipped");
        }
        assert_eq!(
            reader.in_flight().used(),
            13,
            "only the first body is still held"
        );
        drop(plain);
        assert_eq!(reader.in_flight().used(), 0);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_told_apart() {
        let reader = reader(small());
        let cases = [
            ("br", b"x".to_vec(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
            ("gzip", b"no gzip".to_vec(), StatusCode::BAD_REQUEST),
            ("gzip", gzip(&[0; 1001]), StatusCode::PAYLOAD_TOO_LARGE),
            ("identity", vec![0; 1001], StatusCode::PAYLOAD_TOO_LARGE),
        ];
        for (encoding, wire, status) in cases {
            let error = reader
                .read(&encoded_as(encoding), AxumBody::from(wire))
                .await
                .unwrap_err();
            assert_eq!(error.status(), status, "{encoding}: {error}");
        }
        let fits = AxumBody::from(gzip(&[0; 1000]));
        let read = reader.read(&encoded_as("gzip"), fits).await.unwrap();
        assert_eq!(read.bytes.len(), 1000);
        drop(read);
        assert_eq!(reader.in_flight().used(), 0);
    }

    #[tokio::test]
    async fn requests_together_stay_under_the_common_bound() {
        let reader = reader(Settings {
            in_flight_bytes_max: 1500,
            ..small()
        });
        let first = reader
            .read(&HeaderMap::new(), AxumBody::from(vec![b'a'; 1000]))
            .await
            .unwrap();
        for (encoding, wire) in [
            ("identity", vec![b'b'; 1000]),
            ("gzip", gzip(&[b'b'; 1000])),
        ] {
            let refused = reader
                .read(&encoded_as(encoding), AxumBody::from(wire))
                .await
                .unwrap_err();
            assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        }
        drop(first);
        let again = AxumBody::from(vec![b'b'; 1000]);
        assert!(reader.read(&HeaderMap::new(), again).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_or_drips_is_given_up() {
        let reader = reader(Settings::default());
        let stuck = AxumBody::from_stream(
            stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"{"))])
                .chain(stream::pending()),
        );
        let error = reader.read(&HeaderMap::new(), stuck).await.unwrap_err();
        assert!(
            matches!(error, BodyError::TooSlow { waited_seconds: 30 }),
            "{error}"
        );

        for (piece_bytes, given_up_after) in [(1, 30), (PROGRESS_BYTES_MIN, 300)] {
            let piece = Bytes::from(vec![b'x'; piece_bytes]);
            let dripping = AxumBody::from_stream(stream::repeat(piece).then(|piece| async {
                tokio::time::sleep(Duration::from_secs(20)).await;
                Ok::<_, std::io::Error>(piece)
            }));
            let error = reader.read(&HeaderMap::new(), dripping).await.unwrap_err();
            assert!(
                matches!(error, BodyError::TooSlow { waited_seconds } if waited_seconds == given_up_after),
                "{error}"
            );
        }
        assert_eq!(reader.in_flight().used(), 0);
    }

    /// The bound over all requests counts what is kept, so a small bound is a measure of it.
    #[tokio::test]
    async fn a_bomb_is_refused_without_being_kept() {
        let reader = reader(Settings {
            bytes_max: 64 * 1024 * 1024,
            in_flight_bytes_max: (KEEP_UNMEASURED_BYTES + 1024 * 1024) as u64,
            ..Settings::default()
        });
        let plain = vec![0; 65 * 1024 * 1024];
        let mut another = reader.in_flight().reserve_nothing();
        assert!(another.grow(1), "a request that is alone is not bound");
        let bombs = [
            ("gzip", gzip(&plain)),
            ("zstd", zstd::encode_all(&plain[..], 1).unwrap()),
        ];
        for (encoding, bomb) in bombs {
            let error = reader
                .read(&encoded_as(encoding), AxumBody::from(bomb))
                .await
                .unwrap_err();
            assert!(
                matches!(error, BodyError::TooLarge { .. }),
                "{encoding}: {error}"
            );
        }
    }

    #[tokio::test]
    async fn a_large_body_below_the_limit_is_read_in_two_passes() {
        let reader = reader(Settings::default());
        let plain: Vec<u8> = (0..3 * KEEP_UNMEASURED_BYTES).map(|at| at as u8).collect();
        let body = AxumBody::from(gzip(&plain));
        let read = reader.read(&encoded_as("gzip"), body).await.unwrap();
        assert!(read.bytes == plain);
        assert_eq!(reader.in_flight().used(), plain.len() as u64);
    }
}
