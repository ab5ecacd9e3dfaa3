//! The handshake of Fluentd's forward protocol: both sides show that they know the shared key, and a sender may show a
//! user's password.
//!
//! ```text
//! we    ["HELO", {nonce, auth, keepalive}]
//! they  ["PING", host, salt, sha512(salt + host + nonce + key), user, sha512(auth + user + password)]
//! we    ["PONG", granted, reason, our host, sha512(salt + our host + nonce + key)]
//! ```

use std::collections::BTreeMap;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA512};
use aws_lc_rs::rand;

use super::msgpack::{Head, MsgpackError, Reader};
use crate::secret::Secret;

const RANDOM_BYTES: usize = 16;

/// Who may send.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Known to all senders.
    pub shared_key: Secret,
    /// Passwords by user; without one nobody is asked.
    pub users: BTreeMap<String, Secret>,
    /// Our name.
    pub host: String,
}

/// One handshake: what was said in it.
pub struct Handshake {
    nonce: [u8; RANDOM_BYTES],
    auth: [u8; RANDOM_BYTES],
}

/// How a handshake ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The sender may send.
    pub is_granted: bool,
    /// What it is told.
    pub pong: Vec<u8>,
}

impl Handshake {
    /// Begins a handshake.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn new() -> Result<Handshake, &'static str> {
        let mut handshake = Handshake {
            nonce: [0; RANDOM_BYTES],
            auth: [0; RANDOM_BYTES],
        };
        let filled =
            rand::fill(&mut handshake.nonce).and_then(|()| rand::fill(&mut handshake.auth));
        filled.map_err(|_| "the system has no random numbers")?;
        Ok(handshake)
    }

    /// What we say first.
    pub fn helo(&self, keys: &Keys) -> Vec<u8> {
        let mut out = vec![0x92];
        push_text(&mut out, "HELO");
        out.push(0x83);
        push_text(&mut out, "nonce");
        push_binary(&mut out, &self.nonce);
        push_text(&mut out, "auth");
        match keys.users.is_empty() {
            true => push_binary(&mut out, b""),
            false => push_binary(&mut out, &self.auth),
        }
        push_text(&mut out, "keepalive");
        out.push(0xc3);
        out
    }

    /// Judges what they answer.
    ///
    /// # Errors
    /// It is no PING.
    pub fn judge(&self, ping: &[u8], keys: &Keys) -> Result<Verdict, MsgpackError> {
        let mut reader = Reader { rest: ping };
        if reader.head()? != Head::Array(6) || reader.bytes()? != b"PING" {
            return Err(MsgpackError::Wrong("expected a PING"));
        }
        let (host, salt, digest) = (reader.bytes()?, reader.bytes()?, reader.bytes()?);
        let (user, password_digest) = (reader.bytes()?, reader.bytes()?);
        let key = keys.shared_key.expose().as_bytes();
        let expected = hex_digest(&[salt, host, &self.nonce, key]);
        let reason = if !is_same(digest, &expected) {
            "shared_key mismatch"
        } else if !self.is_known(user, password_digest, keys) {
            "username/password mismatch"
        } else {
            ""
        };
        let is_granted = reason.is_empty();
        let mut pong = vec![0x95];
        push_text(&mut pong, "PONG");
        pong.push(if is_granted { 0xc3 } else { 0xc2 });
        push_text(&mut pong, reason);
        push_text(&mut pong, &keys.host);
        let ours = match is_granted {
            true => hex_digest(&[salt, keys.host.as_bytes(), &self.nonce, key]),
            false => String::new(),
        };
        push_text(&mut pong, &ours);
        Ok(Verdict { is_granted, pong })
    }

    fn is_known(&self, user: &[u8], password_digest: &[u8], keys: &Keys) -> bool {
        if keys.users.is_empty() {
            return true;
        }
        let name = String::from_utf8_lossy(user);
        let Some(password) = keys.users.get(name.as_ref()) else {
            return false;
        };
        let expected = hex_digest(&[&self.auth, user, password.expose().as_bytes()]);
        is_same(password_digest, &expected)
    }
}

/// Compares without telling by the time it takes how much is right.
fn is_same(sent: &[u8], expected: &str) -> bool {
    verify_slices_are_equal(sent, expected.as_bytes()).is_ok()
}

fn hex_digest(parts: &[&[u8]]) -> String {
    let mut context = Context::new(&SHA512);
    parts.iter().for_each(|part| context.update(part));
    let digest = context.finish();
    digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Writes a text of at most 65,535 bytes; what is longer is cut.
pub fn push_text(out: &mut Vec<u8>, text: &str) {
    let text = &text[..text.floor_char_boundary(usize::from(u16::MAX))];
    out.push(0xda);
    out.extend_from_slice(&(text.len() as u16).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn push_binary(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&[0xc4, bytes.len() as u8]);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(users: &[(&str, &str)]) -> Keys {
        let users = users
            .iter()
            .map(|(user, password)| ((*user).to_owned(), Secret::parse(password).unwrap()));
        Keys {
            shared_key: Secret::parse("k3y").unwrap(),
            users: users.collect(),
            host: "us".to_owned(),
        }
    }

    /// What a sender answers that believes in this key and this password.
    fn ping(handshake: &Handshake, key: &str, user: &str, password: &str) -> Vec<u8> {
        let mut out = vec![0x96];
        push_text(&mut out, "PING");
        push_text(&mut out, "them");
        push_text(&mut out, "salt");
        push_text(
            &mut out,
            &hex_digest(&[b"salt", b"them", &handshake.nonce, key.as_bytes()]),
        );
        push_text(&mut out, user);
        push_text(
            &mut out,
            &hex_digest(&[&handshake.auth, user.as_bytes(), password.as_bytes()]),
        );
        out
    }

    #[test]
    fn only_who_knows_the_key_and_a_password_may_send() {
        for (users, key, user, password, granted) in [
            (&[][..], "k3y", "", "", true),
            (&[], "other", "", "", false),
            (&[("ann", "pw")], "k3y", "ann", "pw", true),
            (&[("ann", "pw")], "k3y", "ann", "no", false),
            (&[("ann", "pw")], "k3y", "bob", "pw", false),
        ] {
            let handshake = Handshake::new().unwrap();
            let keys = keys(users);
            let verdict = handshake
                .judge(&ping(&handshake, key, user, password), &keys)
                .unwrap();
            assert_eq!(verdict.is_granted, granted, "{key} {user} {password}");
            let other = Handshake::new().unwrap();
            let stolen = other
                .judge(&ping(&handshake, key, user, password), &keys)
                .unwrap();
            assert!(!stolen.is_granted, "an answer is good for one nonce");
        }
        assert!(
            Handshake::new()
                .unwrap()
                .judge(b"\x91\xc0", &keys(&[]))
                .is_err()
        );
    }

    #[test]
    fn we_show_that_we_know_the_key_too() {
        let handshake = Handshake::new().unwrap();
        let verdict = handshake
            .judge(&ping(&handshake, "k3y", "", ""), &keys(&[]))
            .unwrap();
        let ours = hex_digest(&[b"salt", b"us", &handshake.nonce, b"k3y"]);
        assert!(String::from_utf8_lossy(&verdict.pong).ends_with(&ours));
        let helo = handshake.helo(&keys(&[]));
        let mut out = Vec::new();
        Reader { rest: &helo }.write_json(&mut out, 0).unwrap();
        assert!(
            String::from_utf8(out)
                .unwrap()
                .starts_with(r#"["HELO",{"nonce":""#)
        );
    }
}
