//! Server certificates from PEM, the lowest TLS version, and certificates asked of clients.

use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::server_name;

const NEWEST: [&SupportedProtocolVersion; 1] = [&rustls::version::TLS13];
const BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(list) if !list.is_empty() => Ok(list),
        Ok(_) => Err("no certificate in the PEM text".to_owned()),
        Err(error) => Err(format!("certificate: {error}")),
    }
}

/// `least`: `1.2` or `1.3`; `client_ca`: clients must show a certificate of one of these authorities.
pub fn config(
    chain: &[u8],
    key: &[u8],
    least: &str,
    client_ca: Option<&[u8]>,
) -> Result<Arc<ServerConfig>, String> {
    let provider = Arc::new(server_name::provider());
    let versions: &[&SupportedProtocolVersion] = match least {
        "1.2" => &BOTH,
        "1.3" => &NEWEST,
        other => return Err(format!("TLS version {other} is not known; 1.2 and 1.3 are")),
    };
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?;
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(pem) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(pem)? {
                roots.add(certificate).map_err(|error| error.to_string())?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| error.to_string())?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("private key: {error}"))?;
    let mut config = builder
        .with_single_cert(certificates(chain)?, key)
        .map_err(|error| error.to_string())?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}
