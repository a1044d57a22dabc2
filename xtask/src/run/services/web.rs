//! HTTP and HTTPS: nginx and curl.

use anyhow::Result;

use super::{Endpoint, Peer, Program, Service, Site, sized_files};

/// Sizes of the served files in bytes: icon, page, style sheet, picture, script bundle, archive.
const SIZES: [usize; 7] = [300, 2_000, 14_000, 60_000, 250_000, 1_500_000, 12_000_000];

/// Plain HTTP.
pub(super) const HTTP: Service = Service {
    name: "http",
    implementations: &["nginx", "curl"],
    packages: &["nginx-light", "curl"],
    endpoints: &[Endpoint::tcp(80, "HTTP")],
    servers: serve_http,
    exchange: |_, peer, round| requests(peer, round, "http"),
    interval: 0.8,
};

/// HTTP over TLS, versions 1.2 and 1.3, HTTP/1.1 and HTTP/2.
pub(super) const HTTPS: Service = Service {
    name: "https",
    implementations: &["nginx", "curl"],
    packages: &["nginx-light", "openssl", "curl"],
    endpoints: &[Endpoint::tcp(443, "TLS")],
    servers: serve_https,
    exchange: |_, peer, round| requests(peer, round, "https"),
    interval: 0.8,
};

fn serve_http(site: &Site) -> Result<Vec<Program>> {
    serve(site, "http", "listen 80; listen [::]:80;")
}

fn serve_https(site: &Site) -> Result<Vec<Program>> {
    site.folder("https")?;
    let (key, certificate) = (site.path("https", "key.pem"), site.path("https", "cert.pem"));
    site.prepare(
        "https",
        &Program::new("openssl req -x509 -nodes -days 2 -newkey rsa:2048")
            .arg("-subj")
            .arg("/CN=www.example.net")
            .arg("-addext")
            .arg("subjectAltName=DNS:www.example.net,DNS:static.example.net,DNS:api.example.net")
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate),
    )?;
    let listen = format!(
        "listen 443 ssl http2; listen [::]:443 ssl http2; \
         ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;"
    );
    serve(site, "https", &listen)
}

/// One nginx for each scheme: they share nothing but the program.
fn serve(site: &Site, name: &str, listen: &str) -> Result<Vec<Program>> {
    let folder = site.folder(name)?;
    sized_files(&folder.join("www"), &SIZES)?;
    let root = folder.display();
    let configuration = format!(
        "daemon off; user root; worker_processes 1; pid {root}/pid; error_log {root}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; default_type application/octet-stream; sendfile on; keepalive_timeout 20;
  client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
  uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi; client_max_body_size 8m;
  server {{
    {listen}
    root {root}/www;
    location /upload/ {{ dav_methods PUT; create_full_put_path on; }}
    location /old {{ return 301 /1; }}
  }}
}}
"
    );
    let file = site.write(name, "nginx.conf", configuration)?;
    Ok(vec![Program::new(format!("nginx -p {root} -e {root}/error.log -c {file}"))])
}

/// A page view, a request of an interface, a download, an upload, in turns.
fn requests(peer: &Peer, round: usize, scheme: &str) -> Vec<Program> {
    let host = ["www", "static", "api"][round % 3];
    let port = if scheme == "http" { 80 } else { 443 };
    let url = format!("{scheme}://{host}.example.net");
    let curl = |options: String| {
        Program::new(format!(
            "curl -{} --silent --show-error --insecure --max-time 9 --connect-to ::{}:{port} {options}",
            peer.version, peer.host
        ))
    };
    let tls = ["--tls-max 1.2", "--tlsv1.3", "--http1.1"][round % 3];
    let single = 1 + round % 5;
    let visit: Vec<_> = (1..=2 + round % 4).map(|file| format!("-o /dev/null {url}/{file}")).collect();
    let second = match round % 6 {
        0 => curl(format!("-o /dev/null {url}/6")),
        1 => curl(format!("-o /dev/null -T /etc/services {url}/upload/{round}")),
        2 => curl(format!("-o /dev/null -L {url}/old")),
        3 => curl(format!("-o /dev/null -I {url}/missing-{round}")),
        4 => curl(format!("-o /dev/null --limit-rate 4M {url}/7")),
        _ => curl(format!("-o /dev/null -r 0-999 {url}/5")),
    };
    vec![
        curl(format!("{tls} -A Mozilla/5.0 --compressed {}", visit.join(" "))),
        curl(format!("{tls} -o /dev/null {url}/{single}")),
        second,
    ]
}
