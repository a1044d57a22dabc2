//! SMTP: aiosmtpd. POP3: Dovecot. Both with curl.

use anyhow::Result;

use super::{Endpoint, Peer, Program, Service, Site, noise};

/// Mail sent.
pub(super) const SMTP: Service = Service {
    name: "smtp",
    implementations: &["aiosmtpd", "curl"],
    packages: &["python3", "python3-aiosmtpd", "curl"],
    endpoints: &[Endpoint::tcp(25, "SMTP")],
    servers: serve_smtp,
    exchange: send,
    interval: 2.0,
};

/// Mail fetched.
pub(super) const POP3: Service = Service {
    name: "pop3",
    implementations: &["dovecot", "curl"],
    packages: &["dovecot-core", "dovecot-pop3d", "curl"],
    endpoints: &[Endpoint::tcp(110, "POP3")],
    servers: serve_pop3,
    exchange: fetch,
    interval: 2.5,
};

/// A mail with a text of so many lines of 76 characters.
fn mail(lines: usize) -> String {
    let mut text = String::from(
        "From: Alice <alice@example.net>\r\nTo: Bob <bob@example.net>\r\nSubject: Figures of the week\r\n\
         Message-ID: <1@example.net>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n",
    );
    for line in noise(lines * 76).chunks(76) {
        text.extend(line.iter().map(|byte| char::from(b'a' + byte % 26)));
        text += "\r\n";
    }
    text
}

fn serve_smtp(site: &Site) -> Result<Vec<Program>> {
    for (name, lines) in [("note", 5), ("letter", 60), ("attachment", 4000)] {
        site.write("smtp", name, mail(lines))?;
    }
    let server = |address: &str| {
        Program::new(format!("/usr/bin/python3 -m aiosmtpd -n -l {address}:25 -c aiosmtpd.handlers.Sink"))
    };
    Ok(vec![server("198.51.100.2"), server("2001:db8:2::2")])
}

fn send(site: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    let file = site.path("smtp", ["note", "letter", "attachment"][round % 3]);
    let to = if round.is_multiple_of(2) {
        "--mail-rcpt bob@example.net"
    } else {
        "--mail-rcpt bob@example.net --mail-rcpt carol@example.net"
    };
    vec![Program::new(format!(
        "curl -sS --max-time 9 --mail-from alice@example.net {to} -T {file} smtp://{}/client.example.net",
        peer.host
    ))]
}

fn serve_pop3(site: &Site) -> Result<Vec<Program>> {
    for (number, lines) in [3, 40, 500].into_iter().enumerate() {
        site.write(
            "pop3",
            &format!("mail/bob/Maildir/cur/{}.M1P1.server:2,S", 1_700_000_000 + number),
            mail(lines),
        )?;
    }
    for folder in ["new", "tmp"] {
        std::fs::create_dir_all(site.dir.join("pop3/mail/bob/Maildir").join(folder))?;
    }
    site.prepare("pop3", &Program::new(format!("chown -R nobody {}", site.path("pop3", "mail"))))?;
    let root = site.path("pop3", "");
    let users = site.write("pop3", "users", "bob:{PLAIN}secret\n")?;
    let configuration = format!(
        "protocols = pop3
base_dir = /run/dovecot
state_dir = /run/dovecot/state
log_path = /dev/stderr
listen = *, ::
ssl = no
disable_plaintext_auth = no
mail_location = maildir:~/Maildir
passdb {{
  driver = passwd-file
  args = {users}
}}
userdb {{
  driver = static
  args = uid=nobody gid=nobody home={root}mail/%u
}}
service pop3-login {{
  inet_listener pop3s {{
    port = 0
  }}
}}
"
    );
    let file = site.write("pop3", "dovecot.conf", configuration)?;
    Ok(vec![Program::new(format!("dovecot -F -c {file}"))])
}

fn fetch(_: &Site, peer: &Peer, round: usize) -> Vec<Program> {
    let message = ["", "1", "2", "3"][round % 4];
    vec![Program::new(format!("curl -sS --max-time 9 -u bob:secret pop3://{}/{message}", peer.host))]
}
