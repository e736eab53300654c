//! Certificates: an authority of our own, kept in the vault's directory so
//! that it is the same after a restart, and a certificate that nobody trusts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::file;

/// The two servers that clients may meet.
pub(crate) struct Tls {
    /// With a certificate of the authority in `ca.pem`.
    pub(crate) trusted: TlsAcceptor,
    /// With one that signed itself.
    pub(crate) untrusted: TlsAcceptor,
    /// Where `ca.pem` is.
    pub(crate) ca_file: PathBuf,
}

impl Tls {
    /// Reads or makes the authority in a directory.
    pub(crate) fn open(dir: &Path) -> Result<Self> {
        let (ca_file, key_file) = (dir.join("ca.pem"), dir.join("ca-key.pem"));
        let key = match fs::read_to_string(&key_file) {
            Ok(pem) => KeyPair::from_pem(&pem).context("reading ca-key.pem")?,
            Err(_) => create_authority(&ca_file, &key_file)?,
        };
        let issuer = Issuer::new(authority(), key);
        let trusted = acceptor(|params, key| params.signed_by(key, &issuer))?;
        let untrusted = acceptor(|params, key| params.self_signed(key))?;
        Ok(Self { trusted, untrusted, ca_file })
    }
}

fn create_authority(ca_file: &Path, key_file: &Path) -> Result<KeyPair> {
    let key = KeyPair::generate()?;
    let certificate = authority().self_signed(&key)?;
    file::write(ca_file, file::PUBLIC, &certificate.pem())?;
    file::write(key_file, file::PRIVATE, &key.serialize_pem())?;
    Ok(key)
}

fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "colibri-test-vault, for tests only");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
}

/// A server for localhost whose certificate `sign` makes.
fn acceptor(
    sign: impl Fn(CertificateParams, &KeyPair) -> Result<Certificate, rcgen::Error>,
) -> Result<TlsAcceptor> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(["localhost", "127.0.0.1"].map(str::to_owned))?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    let certificate = sign(params, &key)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
