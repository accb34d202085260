//! A certificate that nobody signed, made for these tests and used nowhere else.

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub fn certificate() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/services/tls/cert.pem")
}

pub fn server(stream: TcpStream) -> rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    let certificate = CertificateDer::from_pem_file(certificate()).unwrap();
    let key = PrivateKeyDer::from_pem_file(certificate_key()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
    rustls::StreamOwned::new(connection, stream)
}

fn certificate_key() -> PathBuf {
    certificate().with_file_name("key.pem")
}
