//! TLS: certificate and key from their files, which are read again when they change.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum_server::tls_rustls::RustlsConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};

use super::followed::Followed;
use super::noted::Noted;
use crate::config::TlsFiles;
use crate::telemetry::Event;
use crate::telemetry::events::{TlsRead, TlsRefused};

/// Bytes of each file: a chain of certificates is some kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Why TLS cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("[tls] {what} {path}: {error}", path = path.display())]
    Io {
        /// The key of the configuration.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file is not what it should be.
    #[error("[tls] {what} {path} {why}", path = path.display())]
    Malformed {
        /// The key of the configuration.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The two do not belong together.
    #[error(
        "[tls] key {key} is not the key of the first certificate in {certificate}: the host's own certificate must come \
         first, and its key beside it",
        key = .0.key.display(), certificate = .0.certificate.display()
    )]
    Mismatch(TlsFiles),
}

/// What connections are secured with.
pub(super) struct Tls {
    files: TlsFiles,
    config: RustlsConfig,
    followed: Followed<(Vec<u8>, Vec<u8>)>,
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    /// They cannot be read, hold no certificate or key, or do not belong together.
    pub(super) fn load(files: &TlsFiles, noted: Noted) -> Result<Self, TlsError> {
        let bytes = read(files)?;
        let config = RustlsConfig::from_config(Arc::new(parse(files, &bytes)?));
        Ok(Self {
            files: files.clone(),
            config,
            followed: Followed::new(bytes, "tls", "TLS still uses the certificate of before", noted),
        })
    }

    /// What a server takes; it follows when the files change.
    pub(super) fn config(&self) -> RustlsConfig {
        self.config.clone()
    }

    /// Looks at the files again; new connections use what is there.
    pub(super) fn look(&self) {
        let refused = self.followed.look(
            || read(&self.files),
            |bytes| parse(&self.files, bytes),
            |config| {
                self.config.reload_from_config(Arc::new(config));
                TlsRead {
                    certificate: &self.files.certificate.display().to_string(),
                }
                .emit();
            },
        );
        if let Some(error) = refused {
            TlsRefused { error: &error }.emit();
        }
    }
}

fn read(files: &TlsFiles) -> Result<(Vec<u8>, Vec<u8>), TlsError> {
    let one = |what, path: &Path| {
        let failed = |error| TlsError::Io {
            what,
            path: path.to_owned(),
            error,
        };
        if std::fs::metadata(path).map_err(failed)?.len() > FILE_BYTES_MAX {
            let why = format!("is larger than {FILE_BYTES_MAX} bytes");
            return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, why)));
        }
        std::fs::read(path).map_err(failed)
    };
    Ok((one("certificate", &files.certificate)?, one("key", &files.key)?))
}

fn parse(files: &TlsFiles, (certificate, key): &(Vec<u8>, Vec<u8>)) -> Result<ServerConfig, TlsError> {
    let malformed = |what, path: &Path, why: String| TlsError::Malformed {
        what,
        path: path.to_owned(),
        why,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificate)
        .collect::<Result<_, _>>()
        .map_err(|error| {
            malformed(
                "certificate",
                &files.certificate,
                format!("is not in PEM form: {error}"),
            )
        })?;
    if chain.is_empty() {
        let why = "holds no certificate in PEM form (-----BEGIN CERTIFICATE-----)".to_owned();
        return Err(malformed("certificate", &files.certificate, why));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
        let why = format!("holds no private key in PEM form (-----BEGIN PRIVATE KEY-----): {error}");
        malformed("key", &files.key, why)
    })?;
    // Said here, and not left to what the process happens to have installed.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                TlsError::Mismatch(files.clone())
            }
            error => malformed(
                "certificate",
                &files.certificate,
                format!("cannot be used: {error}"),
            ),
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Bench {
        folder: tempfile::TempDir,
        noted: Noted,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().expect("a folder"),
                noted: Noted::default(),
            }
        }

        fn files(&self) -> TlsFiles {
            TlsFiles {
                certificate: self.folder.path().join("cert.pem"),
                key: self.folder.path().join("key.pem"),
            }
        }

        fn write(&self, certificate: &str, key: &str) {
            fs::write(self.files().certificate, certificate).expect("written");
            fs::write(self.files().key, key).expect("written");
        }

        fn load(&self) -> Result<Tls, String> {
            Tls::load(&self.files(), self.noted.clone()).map_err(|error| error.to_string())
        }
    }

    fn made() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said() {
        let bench = Bench::new();
        let refused = |words: &str| {
            let Err(error) = bench.load() else { panic!("taken") };
            assert!(error.contains(words), "{error}");
        };
        refused("cert.pem: No such file");
        let ((certificate, key), (_, other)) = (made(), made());
        bench.write("nothing", &key);
        refused("holds no certificate");
        bench.write(&certificate, "nothing");
        refused("holds no private key");
        bench.write(&certificate, &other);
        refused("is not the key of the first certificate");
        bench.write(&certificate, &key);
        assert!(bench.load().is_ok());
    }

    #[test]
    fn files_that_change_are_read_again_and_bad_ones_are_told() {
        let bench = Bench::new();
        let (certificate, key) = made();
        bench.write(&certificate, &key);
        let tls = bench.load().expect("loaded");
        let first = tls.config().get_inner();
        tls.look();
        assert!(
            Arc::ptr_eq(&first, &tls.config().get_inner()),
            "nothing has changed"
        );
        let (other, its_key) = made();
        bench.write(&other, &key);
        tls.look();
        assert!(bench.noted.all().is_empty(), "the key may be about to follow");
        tls.look();
        assert!(bench.noted.all().join("").contains("certificate of before"));
        assert!(Arc::ptr_eq(&first, &tls.config().get_inner()));
        bench.write(&other, &its_key);
        tls.look();
        assert!(bench.noted.all().is_empty());
        assert!(!Arc::ptr_eq(&first, &tls.config().get_inner()));
    }
}
