//! TLS: rustls with two libraries of cryptography, of which graviola has hybrid key exchange (X25519MLKEM768). Certificates
//! are those of `traffic.chains`.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion,
    client::Resumption,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::WebPkiClientVerifier,
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::work::Work;

/// With fewer groups and suites where somebody took some away.
fn provider(work: &mut Work) -> Arc<CryptoProvider> {
    let graviola = work.happens(0.6);
    let mut provider =
        if graviola { rustls_graviola::default_provider() } else { rustls::crypto::ring::default_provider() };
    let (groups, suites) = (provider.kx_groups.len() as u32, provider.cipher_suites.len() as u32);
    if work.happens(0.3) {
        provider.kx_groups.truncate(work.int(2, groups) as usize);
    }
    if work.happens(0.3) {
        // Of TLS 1.3 there are three, then as many for keys on curves: some for RSA are left.
        provider.cipher_suites.truncate(work.int(7, suites) as usize);
    }
    Arc::new(provider)
}

/// The older one alone is what appliances have.
static VERSIONS: [&[&SupportedProtocolVersion]; 3] = [&[&TLS13, &TLS12], &[&TLS13, &TLS12], &[&TLS12]];

fn folder(work: &Work) -> Result<PathBuf> {
    Ok(work.more.first().context("which folder of certificates?")?.into())
}

fn identity(work: &Work, name: &str) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let folder = folder(work)?;
    let chain =
        CertificateDer::pem_file_iter(folder.join(format!("{name}.pem")))?.collect::<Result<_, _>>()?;
    Ok((chain, PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key")))?))
}

fn roots(work: &Work) -> Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder(work)?.join("root.pem"))?)?;
    Ok(Arc::new(roots))
}

/// The folder of certificates is after the name, and `mutual` where clients must have some.
pub fn acceptor(work: &mut Work, protocols: &[&[u8]]) -> Result<TlsAcceptor> {
    let provider = provider(work);
    let builder =
        ServerConfig::builder_with_provider(provider.clone()).with_protocol_versions(work.pick(VERSIONS))?;
    let builder = if work.more.iter().any(|word| word == "mutual") {
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(work)?, provider);
        builder.with_client_cert_verifier(verifier.build()?)
    } else if work.happens(0.2) {
        let verifier = WebPkiClientVerifier::builder_with_provider(roots(work)?, provider);
        builder.with_client_cert_verifier(verifier.allow_unauthenticated().build()?)
    } else {
        builder.with_no_client_auth()
    };
    let (chain, key) = identity(work, "server")?;
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    config.send_tls13_tickets = work.pick([0, 1, 2, 4]);
    if work.happens(0.5) {
        config.ticketer = rustls_graviola::Ticketer::new()?;
    }
    config.max_fragment_size = work.pick([None, None, None, Some(1_400), Some(4_096)]);
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// With a certificate of its own now and then.
pub fn client(work: &mut Work) -> Result<ClientConfig> {
    let builder =
        ClientConfig::builder_with_provider(provider(work)).with_protocol_versions(work.pick(VERSIONS))?;
    let builder = builder.with_root_certificates(roots(work)?);
    let mutual = work.more.iter().any(|word| word == "mutual");
    let mut config = if mutual || work.happens(0.3) {
        let (chain, key) = identity(work, "client")?;
        builder.with_client_auth_cert(chain, key)?
    } else {
        builder.with_no_client_auth()
    };
    if work.happens(0.2) {
        config.resumption = Resumption::disabled();
    }
    Ok(config)
}

/// Messages and answers of some protocol, as programs have them among each other.
pub async fn tls_server(mut work: Work) -> Result<()> {
    let acceptor = acceptor(&mut work, &[])?;
    let listener = TcpListener::bind(work.at).await?;
    let largest = work.pick([300, 3_000, 60_000]);
    let speaks_first = work.happens(0.3);
    for number in 1.. {
        let (socket, _) = listener.accept().await?;
        let (acceptor, mut work) = (acceptor.clone(), work.with(number));
        tokio::spawn(async move {
            let serve = async {
                let mut stream = acceptor.accept(socket).await?;
                if speaks_first {
                    stream.write_all(&work.bytes(10, 900)).await?;
                }
                let mut asked = vec![0; 65_536];
                while stream.read(&mut asked).await? > 0 {
                    stream.write_all(&work.bytes(5, largest)).await?;
                    stream.flush().await?;
                }
                stream.shutdown().await
            };
            if let Err(error) = serve.await {
                println!("{error}");
            }
        });
    }
    Ok(())
}

/// A connection or some, later ones resumed where the server allows it.
pub async fn tls_client(mut work: Work) -> Result<()> {
    let connector = TlsConnector::from(Arc::new(client(&mut work)?));
    let name = ServerName::try_from(format!("{}.example.net", work.word()))?;
    let largest = work.pick([200, 2_000, 30_000]);
    for _ in 0..work.few(4) {
        let mut stream = connector.connect(name.clone(), TcpStream::connect(work.at).await?).await?;
        let mut told = vec![0; 65_536];
        for _ in 0..work.count(0, 12) {
            stream.write_all(&work.bytes(3, largest)).await?;
            stream.flush().await?;
            let patience = work.pause(0.05, 1.0);
            let _ = timeout(patience, stream.read(&mut told)).await;
            sleep(work.pause(0.003, 0.6)).await;
        }
        // Some leave without a word.
        if work.happens(0.8) {
            stream.shutdown().await?;
        }
    }
    Ok(())
}
