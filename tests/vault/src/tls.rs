//! Certificates: an authority of our own, kept in the vault's directory so
//! that it is the same after a restart, and a certificate that nobody trusts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::file;

/// The servers that clients may meet.
pub(crate) struct Tls {
    /// With a certificate of the authority in `ca.pem`.
    pub(crate) trusted: TlsAcceptor,
    /// With one that signed itself.
    pub(crate) untrusted: TlsAcceptor,
    /// With one of the authority, of 2001.
    pub(crate) expired: TlsAcceptor,
    /// With one of the authority, of 2999.
    pub(crate) early: TlsAcceptor,
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
        let of_the_year = |year| {
            acceptor(|mut params, key| {
                params.not_before = date_time_ymd(year, 1, 1);
                params.not_after = date_time_ymd(year, 12, 31);
                params.signed_by(key, &issuer)
            })
        };
        let (expired, early) = (of_the_year(2001)?, of_the_year(2999)?);
        let untrusted = acceptor(|params, key| params.self_signed(key))?;
        Ok(Self { trusted, untrusted, expired, early, ca_file })
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
