//! Values that must not be shown: passwords, tokens.

use std::fmt;
use std::fs;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A text that prints as `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Reads a secret: the text itself, or the content of a file for `file:/run/secrets/token`.
    ///
    /// # Errors
    /// The file cannot be read or is empty.
    pub fn parse(text: &str) -> Result<Secret, String> {
        let Some(path) = text.strip_prefix("file:") else {
            return Ok(Secret(text.to_owned()));
        };
        let content = fs::read_to_string(path)
            .map_err(|error| format!("cannot read the secret in {path}: {error}"))?;
        match content.trim() {
            "" => Err(format!("the secret in {path} is empty")),
            secret => Ok(Secret(secret.to_owned())),
        }
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// As [`Secret::parse`] reads it.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Secret, D::Error> {
        let text = String::deserialize(deserializer)?;
        Secret::parse(&text).map_err(de::Error::custom)
    }
}

/// As `***`: settings are only written to be shown.
impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_its_file_and_never_printed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        fs::write(&path, "s3cr3t\n").unwrap();
        let secret = Secret::parse(&format!("file:{}", path.display())).unwrap();
        assert_eq!(secret.expose(), "s3cr3t");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(serde_json::to_string(&secret).unwrap(), r#""***""#);

        fs::write(&path, "\n").unwrap();
        assert!(Secret::parse(&format!("file:{}", path.display())).is_err());
        assert!(Secret::parse("file:/nonexistent/token").is_err());
    }
}
