//! Content encodings, decoded piece by piece so that a bomb is noticed before it fills memory.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// What a decoder hands on at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// A message that decompresses to no more than this is decompressed once.
const UNMEASURED_BYTES: usize = 4 << 20;

/// The largest window a zstd frame may ask for, as a power of two: 8 MiB, the bound of RFC 9659 for HTTP.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// How a body is encoded on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As it is.
    Identity,
    /// gzip, RFC 1952, one member or several.
    Gzip,
    /// HTTP's `deflate`: zlib, RFC 1950; bare deflate, RFC 1951, is taken too because clients send it.
    Deflate,
    /// zstd, RFC 8878, one frame or several.
    Zstd,
}

impl Encoding {
    /// Reads a `Content-Encoding` or `grpc-encoding`; `None` for one we do not have.
    pub fn parse(name: &str) -> Option<Encoding> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Encoding::Identity),
            "gzip" | "x-gzip" => Some(Encoding::Gzip),
            "deflate" => Some(Encoding::Deflate),
            "zstd" => Some(Encoding::Zstd),
            _ => None,
        }
    }

    /// The encoding the headers name.
    ///
    /// # Errors
    /// The name as it was sent, when we do not have it or when there are several.
    pub fn of(headers: &HeaderMap) -> Result<Encoding, String> {
        let mut values = headers.get_all(CONTENT_ENCODING).iter();
        let Some(first) = values.next() else {
            return Ok(Encoding::Identity);
        };
        let name = String::from_utf8_lossy(first.as_bytes());
        match (Encoding::parse(&name), values.next()) {
            (Some(encoding), None) => Ok(encoding),
            _ => Err(name.chars().take(64).collect()),
        }
    }

    /// The name in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
            Encoding::Zstd => "zstd",
        }
    }
}

/// Decodes all of `wire` and hands the pieces to `take`, which ends the work with `false`.
///
/// # Errors
/// The bytes are not of this encoding, are damaged, or end early.
pub fn decode(
    encoding: Encoding,
    wire: &[u8],
    take: &mut dyn FnMut(&[u8]) -> bool,
) -> io::Result<()> {
    match encoding {
        Encoding::Identity => {
            take(wire);
            Ok(())
        }
        Encoding::Gzip => drain(MultiGzDecoder::new(wire), take),
        Encoding::Deflate => inflate(wire, take),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(wire)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            drain(decoder, take)
        }
    }
}

/// Why a message is not decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inflation {
    /// It is damaged or ends early.
    Broken,
    /// It is larger than is allowed.
    TooLarge,
}

/// Decompresses a message to at most `bytes_max`. A large one is measured first, so that a bomb costs some megabytes, and that
/// memory is taken for just what there is.
///
/// # Errors
/// See [`Inflation`].
pub fn inflate_within(
    encoding: Encoding,
    wire: &[u8],
    bytes_max: usize,
) -> Result<Vec<u8>, Inflation> {
    let (mut inflated, mut length) = (Vec::new(), 0);
    let decoded = decode(encoding, wire, &mut |piece| {
        length += piece.len();
        match length <= UNMEASURED_BYTES {
            true => inflated.extend_from_slice(piece),
            false => inflated = Vec::new(),
        }
        length <= bytes_max
    });
    if length > bytes_max {
        return Err(Inflation::TooLarge);
    }
    decoded.map_err(|_| Inflation::Broken)?;
    if length > UNMEASURED_BYTES {
        inflated.reserve_exact(length);
        decode(encoding, wire, &mut |piece| {
            inflated.extend_from_slice(piece);
            true
        })
        .map_err(|_| Inflation::Broken)?;
    }
    Ok(inflated)
}

fn drain(mut decoder: impl Read, take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match decoder.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => {
                if !take(&piece[..length]) {
                    return Ok(());
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Not with flate2's reader: that one takes a stream that ends early for a whole one.
fn inflate(mut wire: &[u8], take: &mut dyn FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut inflater = Decompress::new(has_zlib_header(wire));
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let (read_before, written_before) = (inflater.total_in(), inflater.total_out());
        let status = inflater
            .decompress(wire, &mut piece, FlushDecompress::None)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let read = (inflater.total_in() - read_before) as usize;
        let written = (inflater.total_out() - written_before) as usize;
        wire.consume(read);
        if !take(&piece[..written]) || status == Status::StreamEnd {
            return Ok(());
        }
        if read == 0 && written == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the deflate stream ends early",
            ));
        }
    }
}

fn has_zlib_header(wire: &[u8]) -> bool {
    match wire {
        [first, second, ..] => {
            first & 0x0f == 8 && (u16::from(*first) << 8 | u16::from(*second)).is_multiple_of(31)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use proptest::prelude::*;

    use super::*;

    fn decoded(encoding: Encoding, wire: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        decode(encoding, wire, &mut |piece| {
            out.extend_from_slice(piece);
            true
        })?;
        Ok(out)
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn bare_deflate(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    /// 300 KB that compress well but not to nothing: several pieces, several blocks.
    fn sample() -> Vec<u8> {
        (0..30_000u32)
            .flat_map(|n| format!("{:08x} \n", n.wrapping_mul(2_654_435_761)).into_bytes())
            .collect()
    }

    #[test]
    fn a_message_is_decompressed_within_its_limit_and_takes_no_more_than_it_is() {
        for plain in [sample(), vec![7; UNMEASURED_BYTES + 1]] {
            for (encoding, wire) in [
                (Encoding::Gzip, gzip(&plain)),
                (Encoding::Deflate, zlib(&plain)),
            ] {
                let inflated = inflate_within(encoding, &wire, plain.len()).unwrap();
                assert_eq!(inflated, plain);
                assert!(inflated.capacity() <= 2 * UNMEASURED_BYTES);
                let within = |wire, bytes_max| inflate_within(encoding, wire, bytes_max);
                assert_eq!(within(&wire, plain.len() - 1), Err(Inflation::TooLarge));
                let early = &wire[..wire.len() / 2];
                assert_eq!(within(early, plain.len()), Err(Inflation::Broken));
            }
        }
    }

    #[test]
    fn every_encoding_is_read_back_and_an_early_end_is_noticed() {
        let plain = sample();
        let wires = [
            (Encoding::Gzip, gzip(&plain)),
            (Encoding::Deflate, zlib(&plain)),
            (Encoding::Deflate, bare_deflate(&plain)),
            (Encoding::Zstd, zstd::encode_all(&plain[..], 3).unwrap()),
        ];
        for (encoding, wire) in wires {
            assert_eq!(decoded(encoding, &wire).unwrap(), plain, "{encoding:?}");
            for cut in [1, 4, 9, wire.len() / 2] {
                let early = &wire[..wire.len() - cut];
                // The zlib checksum is the only part whose loss leaves all data in place.
                let cut_is_told = decoded(encoding, early).is_err();
                assert!(cut_is_told, "{encoding:?} without its last {cut} bytes");
            }
        }
    }

    #[test]
    fn several_members_and_frames_are_one_body() {
        let gzipped = [gzip(b"one "), gzip(b"two "), gzip(b"three")].concat();
        assert_eq!(decoded(Encoding::Gzip, &gzipped).unwrap(), b"one two three");
        let frames = [
            zstd::encode_all(&b"one "[..], 1).unwrap(),
            zstd::encode_all(&b"two"[..], 1).unwrap(),
        ]
        .concat();
        assert_eq!(decoded(Encoding::Zstd, &frames).unwrap(), b"one two");
    }

    #[test]
    fn a_zstd_frame_with_a_huge_window_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(&sample()).unwrap();
        let wire = encoder.finish().unwrap();
        assert!(decoded(Encoding::Zstd, &wire).is_err());
    }

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!(Encoding::parse("GZip"), Some(Encoding::Gzip));
        assert_eq!(Encoding::parse(" zstd "), Some(Encoding::Zstd));
        assert_eq!(Encoding::parse("br"), None);
        assert_eq!(Encoding::parse("gzip, gzip"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(wire in proptest::collection::vec(any::<u8>(), 0..300)) {
            for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
                let _ = decoded(encoding, &wire);
                let framed = [&gzip(b"x")[..10], &wire[..]].concat();
                let _ = decoded(encoding, &framed);
            }
        }
    }
}
