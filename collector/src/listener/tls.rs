//! TLS for listeners, with rustls and aws-lc-rs: certificate and key from PEM files, clients checked if asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use tokio_rustls::TlsAcceptor;

/// `tls:` of a source that listens.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// PEM file: our certificate, then those that lead to its authority.
    pub certificate: PathBuf,
    /// PEM file: the certificate's private key (PKCS#8, PKCS#1 or SEC1), not encrypted.
    pub key: PathBuf,
    /// PEM file: authorities; a client must then show a certificate of one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

impl Settings {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read, holds none of what it should, or key and certificate do not belong together.
    pub fn acceptor(&self) -> Result<TlsAcceptor, String> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("cannot set up TLS: {error}"))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| {
                        format!("cannot use an authority in {}: {error}", path.display())
                    })?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|error| format!("cannot use {}: {error}", path.display()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder
            .with_single_cert(certificates(&self.certificate)?, private_key(&self.key)?)
            .map_err(|error| {
                format!(
                    "cannot use the certificate {} with the key {}: {error}",
                    self.certificate.display(),
                    self.key.display()
                )
            })?;
        // A sender that only writes never reads tickets; when it closes with them unread, its kernel resets the connection
        // and throws away what we have not taken yet.
        config.send_tls13_tickets = 0;
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(format!("{} holds no certificate in PEM", path.display()))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("cannot read {}: {error}", path.display())),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    // The error of a key file never shows what is in it.
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|_| {
        format!(
            "{} holds no private key in PEM that is not encrypted",
            path.display()
        )
    })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_names_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let ours = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        };
        let settings = Settings {
            certificate: write("ours.crt", &ours.cert.pem()),
            key: write("ours.key", &ours.signing_key.serialize_pem()),
            client_ca: None,
        };
        assert!(settings.acceptor().is_ok());
        let with_clients = Settings {
            client_ca: Some(settings.certificate.clone()),
            ..settings.clone()
        };
        assert!(with_clients.acceptor().is_ok());

        let other_key = write("other.key", &other.signing_key.serialize_pem());
        let empty = write("empty", "");
        let cases = [
            (other_key.clone(), settings.certificate.clone(), "other.key"),
            (empty.clone(), settings.certificate.clone(), "empty"),
            (other_key, empty, "empty holds no certificate"),
            (folder.path().join("gone"), settings.certificate, "gone"),
        ];
        for (key, certificate, part) in cases {
            let settings = Settings {
                certificate,
                key,
                client_ca: None,
            };
            let problem = settings.acceptor().err().unwrap();
            assert!(problem.contains(part), "{problem}");
        }
    }
}
