//! Trust in the certificates of `https://` servers.
//!
//! A server's certificate has to be signed by the given CA, else by one that the system trusts. No
//! option turns the check off.

use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::report::hinted;

/// Returns the configuration for a server, which trusts the certificates in `ca` (PEM) alone, if
/// they are given.
pub(crate) fn config(ca: Option<&str>) -> anyhow::Result<TlsConfig> {
    let roots = roots(ca)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .unversioned_rustls_crypto_provider(provider)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .build())
}

/// Returns the same for connections without `ureq`.
pub(crate) fn client_config(ca: Option<&str>) -> anyhow::Result<ClientConfig> {
    let mut store = RootCertStore::empty();
    let roots = roots(ca)?;
    // Some systems trust certificates that rustls doesn't support.
    let (added, _) =
        store.add_parsable_certificates(roots.iter().map(|root| CertificateDer::from(root.der())));
    ensure!(added > 0, "no certificate of the CA is supported");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(store).with_no_client_auth())
}

/// Returns the certificates to trust.
fn roots(ca: Option<&str>) -> anyhow::Result<Vec<Certificate<'static>>> {
    match ca {
        Some(pem) => certificates(pem),
        None => of_the_system(),
    }
}

/// Returns the certificates in a PEM text, which has at least one.
pub(crate) fn certificates(pem: &str) -> anyhow::Result<Vec<Certificate<'static>>> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        if let PemItem::Certificate(certificate) = item.context("the CA is not in PEM")? {
            certificates.push(certificate);
        }
    }
    ensure!(!certificates.is_empty(), "the CA has no certificate in PEM");
    Ok(certificates)
}

/// Returns the certificates that the system trusts: those that `SSL_CERT_FILE` and `SSL_CERT_DIR`
/// name, else those of its store.
fn of_the_system() -> anyhow::Result<Vec<Certificate<'static>>> {
    let found = rustls_native_certs::load_native_certs();
    let certificates: Vec<_> =
        found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    if certificates.is_empty() {
        let hint = "install the package `ca-certificates`, or give the server's CA with `--ca`";
        return Err(hinted("the system trusts no certificate", hint).into());
    }
    Ok(certificates)
}
